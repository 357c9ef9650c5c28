"""The models behind Triton: texts and images in, unit embeddings and detections out. The only importer of tritonclient.

A call costs at most its timeout: Triton is told a shorter one, so that it drops what nobody waits for; more than
``max_in_flight`` calls are refused, not queued; and a circuit breaker refuses at once while Triton is failing. What
comes back is checked before anyone sees it: names, types, shapes, finite, unit length, and that the models make
vectors of our space. One channel serves all threads.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from ra_guard.errors import (
    SpaceMismatch,
    TritonBusy,
    TritonRejected,
    TritonTimeout,
    TritonUnavailable,
    TritonWrongShape,
)
from ra_guard.models.space import Space
from ra_guard.serving.breaker import CircuitBreaker, Outcome

Vectors = NDArray[np.float32]
Result = TypeVar("Result")

MAX_BATCH: Final = 16
"""Items a request may carry; the models' max_batch_size."""
PLACES: Final = 32
"""Boxes that the detector reports for an image, the unused ones with label -1."""
UNIT_LENGTH_TOLERANCE: Final = 1e-3
_QUEUE_SHARE: Final = 0.9
"""Share of the client's timeout after which Triton drops a request that is still queued."""

_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", 1 << 30),
    ("grpc.max_receive_message_length", 1 << 26),
    # A restarted Triton is found within a second; retries are the breaker's business, not the channel's.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Detection:
    """One box: label as a position in the space's labels, confidence 0..1, corners as fractions x0, y0, x1, y1."""

    label: int
    confidence: float
    corners: tuple[float, float, float, float]


class TritonModels:
    """The three models of one space. Thread-safe.

    Every call may raise TritonUnavailable, TritonTimeout, TritonBusy, TritonWrongShape, TritonRejected (an input that
    the model will not take, such as a broken image) or SpaceMismatch.
    """

    def __init__(
        self, url: str, *, space: Space, timeout_s: float, max_in_flight: int, breaker: CircuitBreaker
    ) -> None:
        self._space = space
        self._timeout_s = timeout_s
        self._breaker = breaker
        self._permits = threading.BoundedSemaphore(max_in_flight)
        self._max_in_flight = max_in_flight
        self._client = InferenceServerClient(url, channel_args=list(_CHANNEL_OPTIONS))
        self._space_checked = False

    def embed_text(self, text: str, timeout_s: float) -> Vectors:
        """``(dim,) float32``, unit length."""
        deadline = time.monotonic() + timeout_s

        def read(answer: _Answer) -> Vectors:
            return answer.unit_vectors("text_embeds", self._space.dim)

        vectors = self._call("clip_text", "text", [text.encode()], ("text_embeds",), read, deadline)
        return vectors.reshape(self._space.dim)

    def embed_images(self, images: Sequence[bytes], timeout_s: float) -> Vectors:
        """Encoded images to ``(n, dim) float32`` of unit length, in order. ``timeout_s`` is for all of them."""
        deadline = time.monotonic() + timeout_s

        def read(answer: _Answer) -> Vectors:
            return answer.unit_vectors("image_embeds", self._space.dim)

        parts = [self._call("clip_image", "image", b, ("image_embeds",), read, deadline) for b in _batches(images)]
        return np.concatenate([np.empty((0, self._space.dim), np.float32), *parts])

    def detect(self, images: Sequence[bytes], timeout_s: float) -> list[list[Detection]]:
        """What is in each encoded image, best first; at most 32 boxes. ``timeout_s`` is for all of them."""
        deadline = time.monotonic() + timeout_s
        outputs = ("labels", "scores", "boxes")
        parts = [self._call("detector", "image", b, outputs, self._detections, deadline) for b in _batches(images)]
        return list(chain.from_iterable(parts))

    def ready(self) -> bool:
        """Whether Triton answers and has loaded all three models."""
        try:
            models = ("clip_text", "clip_image", "detector")
            return all(bool(self._client.is_model_ready(model, client_timeout=self._timeout_s)) for model in models)
        except InferenceServerException:
            return False

    def check_space(self) -> None:
        """Compares what the loaded models say they make with our space. Raises SpaceMismatch, TritonUnavailable.

        Done by itself before the first inference and before the next one after a failure.
        """
        self._check_space(self._timeout_s)

    def close(self) -> None:
        """Closes the channel; calls under way fail."""
        self._client.close()

    def _check_space(self, timeout_s: float) -> None:
        wanted = {
            "clip_text": ("space", self._space.fingerprint),
            "clip_image": ("space", self._space.fingerprint),
            "detector": ("labels_digest", self._space.labels_digest),
        }
        for model, (key, ours) in wanted.items():
            try:
                answer = self._client.get_model_config(model, client_timeout=timeout_s)
            except InferenceServerException as error:
                raise TritonUnavailable(f"{model} has no configuration to show: {error.message()}") from error
            theirs = answer.config.parameters[key].string_value
            if theirs != ours:
                raise SpaceMismatch(
                    f"found {model} with {key} {theirs or 'not set'}, wanted {ours} ({self._space.name}); "
                    "serve that space's repository or configure triton.space"
                )
        self._space_checked = True

    def _call(
        self,
        model: str,
        input_name: str,
        items: Sequence[bytes],
        outputs: Sequence[str],
        read: Callable[["_Answer"], Result],
        deadline: float,
    ) -> Result:
        """One request, under a permit and the breaker's eye; ``read`` checks the answer while both are held."""
        with self._permit():
            budget_s = min(self._timeout_s, deadline - time.monotonic())
            if budget_s <= 0:
                raise TritonTimeout(f"no time left to ask {model}; give the call a longer deadline")
            with self._watched(model, budget_s):
                if not self._space_checked:
                    self._check_space(budget_s)
                return read(_Answer(model, len(items), self._ask(model, input_name, items, outputs, budget_s)))

    @contextmanager
    def _permit(self) -> Iterator[None]:
        if not self._permits.acquire(blocking=False):
            raise TritonBusy(f"{self._max_in_flight} inferences are under way already; raise triton.max_in_flight")
        try:
            yield
        finally:
            self._permits.release()

    @contextmanager
    def _watched(self, model: str, budget_s: float) -> Iterator[None]:
        """Asks the breaker first and tells it afterwards what the call said about Triton's health."""
        if not self._breaker.admit():
            raise TritonUnavailable(f"{model} is not asked: Triton failed repeatedly and is left alone for a while")
        outcome = Outcome.UNKNOWN
        try:
            yield
            outcome = Outcome.ALIVE
        except (TritonRejected, SpaceMismatch):
            outcome = Outcome.ALIVE
            raise
        except TritonTimeout:
            # A caller who had less time than Triton is granted learned nothing about Triton.
            outcome = Outcome.FAILED if budget_s >= self._timeout_s else Outcome.UNKNOWN
            raise
        except (TritonUnavailable, TritonWrongShape):
            # Whoever answers next may be another Triton.
            outcome, self._space_checked = Outcome.FAILED, False
            raise
        finally:
            self._breaker.record(outcome)

    def _ask(
        self, model: str, input_name: str, items: Sequence[bytes], outputs: Sequence[str], budget_s: float
    ) -> InferResult:
        queue_s = budget_s * _QUEUE_SHARE
        asked = time.monotonic()
        try:
            return self._client.infer(
                model,
                [_bytes_input(input_name, items)],
                outputs=[InferRequestedOutput(output) for output in outputs],
                headers=_trace_headers(),
                timeout=int(queue_s * 1e6),
                client_timeout=budget_s,
            )
        except InferenceServerException as error:
            status = str(error.status()).removeprefix("StatusCode.")
            if status == "INVALID_ARGUMENT":
                raise TritonRejected(f"{model} refuses the input: {error.message()}") from error
            # Triton calls a request that it dropped from its queue unavailable, as it does one that it cannot serve.
            if status == "DEADLINE_EXCEEDED" or (status == "UNAVAILABLE" and time.monotonic() - asked >= queue_s):
                raise TritonTimeout(f"{model} did not answer within {budget_s:.3f} s") from error
            raise TritonUnavailable(f"{model} does not answer: {status}: {error.message()}") from error

    def _detections(self, answer: "_Answer") -> list[list[Detection]]:
        labels = answer.tensor("labels", np.int32, (PLACES,))
        scores = answer.floats("scores", (PLACES,))
        boxes = answer.floats("boxes", (PLACES, 4))
        used = labels >= 0
        seen = boxes[used]
        if (labels >= len(self._space.labels)).any():
            raise answer.breach("labels", f"positions in the space's {len(self._space.labels)} labels")
        if (scores < 0).any() or (scores > 1).any():
            raise answer.breach("scores", "values in 0..1")
        if (seen < 0).any() or (seen > 1).any() or (seen[:, :2] >= seen[:, 2:]).any():
            raise answer.breach("boxes", "x0 < x1 and y0 < y1, all in 0..1")
        return [
            [_detection(labels[row, place], scores[row, place], boxes[row, place]) for place in np.flatnonzero(places)]
            for row, places in enumerate(used)
        ]


class _Answer:
    """An answer that nobody has believed yet: every look at it checks what the model contract says."""

    def __init__(self, model: str, items: int, result: InferResult) -> None:
        self._model = model
        self._items = items
        self._result = result

    def tensor(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        """An output of ``(items, *shape)``. Raises TritonWrongShape."""
        wanted = (self._items, *shape)
        try:
            values: NDArray[Any] | None = self._result.as_numpy(name)
        except (ValueError, TypeError, InferenceServerException) as error:
            raise self.breach(name, f"{wanted} values, found bytes that are not: {error}") from error
        if values is None:
            raise self.breach(name, "an output of that name")
        if values.dtype != dtype or values.shape != wanted:
            found = f"{values.dtype.name} {values.shape}"
            raise self.breach(name, f"{np.dtype(dtype).name} {wanted}, found {found}")
        return values

    def floats(self, name: str, shape: tuple[int, ...]) -> Vectors:
        """The same for float32, and finite."""
        values: Vectors = self.tensor(name, np.float32, shape)
        if not np.isfinite(values).all():
            raise self.breach(name, "finite values")
        return values

    def unit_vectors(self, name: str, dim: int) -> Vectors:
        """``(items, dim) float32`` of unit length."""
        values = self.floats(name, (dim,))
        lengths = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
        if not np.allclose(lengths, 1, rtol=0, atol=UNIT_LENGTH_TOLERANCE):
            raise self.breach(name, f"length 1, found {lengths}")
        return values

    def breach(self, name: str, wanted: str) -> TritonWrongShape:
        """The error that says which output breaks the contract, and how."""
        message = f"{self._model}: output {name} breaks the model contract, wanted {wanted}"
        return TritonWrongShape(f"{message}; see triton_models/README.md")


def _detection(label: np.int32, score: np.float32, box: Vectors) -> Detection:
    x0, y0, x1, y1 = box.tolist()
    return Detection(int(label), float(score), (x0, y0, x1, y1))


def _batches(images: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (images[start : start + MAX_BATCH] for start in range(0, len(images), MAX_BATCH))


def _bytes_input(name: str, items: Sequence[bytes]) -> InferInput:
    tensor = InferInput(name, [len(items), 1], "BYTES")
    tensor.set_data_from_numpy(np.array(items, dtype=object).reshape(-1, 1))
    return tensor


def _trace_headers() -> dict[str, str]:
    """The caller's trace context if it is sampled: Triton would trace every context it is given, sampled or not."""
    headers: dict[str, str] = {}
    if trace.get_current_span().get_span_context().trace_flags.sampled:
        TraceContextTextMapPropagator().inject(headers)
    return headers
