"""Query texts without an embedding: asked of the text tower within the caller's deadline, cached by the core."""

import threading
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from ra_guard._core import Engine, RequestError
from ra_guard.errors import RaGuardError, TritonTimeout
from ra_guard.serving.deadline import budget_ns
from ra_guard.v1.rerank_pb2 import (
    REASON_DEADLINE,
    REASON_MODEL_MISMATCH,
    REASON_NO_FEATURES,
    REASON_OVERLOAD,
    REASON_UNSPECIFIED,
)

USED_UP: Final = 0.25
"""A wait that leaves less of its budget was ended by the caller's deadline and says nothing about Triton."""


class TextTower(Protocol):
    """Turns query texts into unit vectors of one embedding space."""

    @property
    def space(self) -> str:
        """The space's fingerprint."""

    def embed_text(self, text: str, timeout_s: float) -> npt.NDArray[np.float32]:
        """``(dim,) float32``. Raises the Triton errors of errors.py."""


class ColdTexts:
    """Warms texts. Thread-safe.

    ``waits``: calls that may wait for the tower at a time, so that some threads are always free for warm texts.
    """

    def __init__(
        self, core: Engine, tower: TextTower | None, *, waits: int, report: Callable[[BaseException], None]
    ) -> None:
        self._core = core
        self._tower = tower
        self._waits = threading.BoundedSemaphore(waits)
        self._report = report

    def warm(self, text: str, deadline_ns: int | None) -> int:
        """Has a text embedded and cached. Returns the Reason why not, or REASON_UNSPECIFIED."""
        if self._tower is None:
            return REASON_NO_FEATURES
        budget = budget_ns(deadline_ns)
        if budget <= 0:
            return REASON_DEADLINE
        if not self._waits.acquire(blocking=False):
            return REASON_OVERLOAD
        try:
            vector = self._tower.embed_text(text, budget / 1e9)
            self._core.put_query(text, self._tower.space, np.ascontiguousarray(vector, "<f4").tobytes())
        except TritonTimeout as failure:
            if budget_ns(deadline_ns) < budget * USED_UP:  # it was the caller who had no more time
                return REASON_DEADLINE
            self._report(failure)
            return REASON_NO_FEATURES
        except RaGuardError as failure:
            self._report(failure)
            return REASON_NO_FEATURES
        except RequestError as failure:  # the model's fault, not the caller's
            self._report(failure)
            return REASON_MODEL_MISMATCH if failure.variant == "Space" else REASON_NO_FEATURES
        finally:
            self._waits.release()
        return REASON_UNSPECIFIED
