"""Requests of every kind that a candidate log has to hold: what is scored, what lacks something, what falls back.

A thousand requests are made beforehand, without request id and user; those are appended to each call's copy, which
protobuf allows in any order.
"""

from collections.abc import Callable

import numpy as np
from ra_guard.v1 import rerank_pb2

from bench import small

TEMPLATES = 1000
USERS = 20_000
CANDIDATES = 24
WIDE = 190
"""Candidates of a request that leaves room for few others: see `CAPACITY`."""
CAPACITY = 200
"""Candidates that a worker has in hand at a time: wide requests beside others find it full, and get OVERLOAD."""
POOL = 20

Draw = np.random.Generator
Request = rerank_pb2.RerankRequest


class Mix:
    """Requests by number: the same number is the same request, and no two share a request id."""

    def __init__(self) -> None:
        rng = np.random.default_rng(6)
        kinds, weights = zip(*KINDS, strict=True)
        chosen = rng.choice(len(kinds), TEMPLATES, p=np.array(weights) / sum(weights))
        self._templates: list[bytes] = [kinds[kind](rng).SerializeToString() for kind in chosen]

    def message(self, number: int) -> bytes:
        """The serialised request of a number."""
        user = b"user-%d" % (number * 7919 % USERS)
        return self._templates[number % TEMPLATES] + _text_field(1, request_id(number)) + _text_field(2, user)


def request_id(number: int) -> bytes:
    """Of the request of that number."""
    return b"call-%d" % number


def number_of(request_id: str) -> int | None:
    """The number behind a request id; None for one that no request of the mix has."""
    head, _, digits = request_id.partition("-")
    return int(digits) if head == "call" and digits.isdecimal() else None


def _plain(rng: Draw) -> Request:
    return _ask(rng, rng.choice(small.ROWS, CANDIDATES, replace=False))


def _with_scores(rng: Draw) -> Request:
    request = _plain(rng)
    request.baseline_scores.extend(np.sort(rng.uniform(0, 1, CANDIDATES))[::-1].tolist())
    request.domain = str(rng.choice(small.DOMAINS))
    return request


def _with_labels(rng: Draw) -> Request:
    request = _plain(rng)
    required, forbidden = rng.choice(small.LABELS, 2, replace=False)
    request.required_labels.append(str(required))
    request.forbidden_labels.append(str(forbidden))
    return request


def _with_licences(rng: Draw) -> Request:
    request = _plain(rng)
    request.allowed_licences.append(str(rng.choice(small.LICENCES)))
    return request


def _explained_top(rng: Draw) -> Request:
    request = _plain(rng)
    request.top_k = int(rng.integers(1, 2 * CANDIDATES))
    request.explain = True
    return request


def _some_unknown(rng: Draw) -> Request:
    return _ask(rng, rng.choice(2 * small.ROWS, CANDIDATES, replace=False))


def _all_unknown(rng: Draw) -> Request:
    return _ask(rng, small.ROWS + rng.choice(small.ROWS, CANDIDATES, replace=False))


def _one(rng: Draw) -> Request:
    return _ask(rng, rng.choice(small.ROWS, 1))


def _wide(rng: Draw) -> Request:
    return _ask(rng, rng.choice(small.ROWS, WIDE, replace=False))


def _pool(rng: Draw) -> Request:
    request = _ask(rng, np.array([], np.int64))
    request.pool_size = POOL
    return request


def _other_space(rng: Draw) -> Request:
    request = _plain(rng)
    request.embedding.space = "0" * 32
    return request


def _cold_text(rng: Draw) -> Request:
    """No model is there to embed it."""
    request = _plain(rng)
    request.text = f"{rng.choice(small.LABELS)} on a beach"
    return request


KINDS: tuple[tuple[Callable[[Draw], Request], int], ...] = (
    (_plain, 40),
    (_with_scores, 10),
    (_with_labels, 10),
    (_with_licences, 5),
    (_explained_top, 5),
    (_some_unknown, 8),
    (_all_unknown, 4),
    (_one, 3),
    (_wide, 3),
    (_pool, 4),
    (_other_space, 4),
    (_cold_text, 4),
)
"""Kinds of requests and their weights."""


def _ask(rng: Draw, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Request:
    query = small.vectors(1, seed=int(rng.integers(1 << 31)))[0]
    return Request(embedding=small.embedding(query), candidate_ids=[small.image_id(int(row)) for row in rows])


def _text_field(number: int, text: bytes) -> bytes:
    """A short string field in protobuf's wire form."""
    return bytes((number << 3 | 2, len(text))) + text
