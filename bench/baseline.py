"""The rival: the same call as a careful Python service would make it, with protobuf, a dict and numpy.

It assigns the user, looks ids up in a dict, gathers rows of a float32 matrix, multiplies, adds what the detections
say, sorts, answers and logs. Its tables are laid out for it: rows in huge pages where numpy gets them, presence one
column a label. It leaves out everything that the product does beyond that: bounds, cold rows, licences, deadlines.
"""

from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from ra_guard.v1 import rerank_pb2
from ra_guard.v1.rerank_pb2 import RerankRequest, RerankResponse

from bench import synth, workload
from bench.reference import LABELS_EXPECTED, SIMILARITY_FLOOR, cosine_range

BUCKETS = 10_000
FNV_OFFSET, FNV_PRIME, WORD = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


def bucket(seed: str, unit: str) -> int:
    """GrowthBook hash version 2, as its Python library spells it."""
    return _fnv1a(str(_fnv1a(seed + unit))) % BUCKETS


def _fnv1a(text: str) -> int:
    value = FNV_OFFSET
    for byte in text.encode():
        value = (value ^ byte) * FNV_PRIME & WORD
    return value


class NumpyReranker:
    """Answers RerankRequests over the first ``rows`` rows of the synthetic gallery, all held in memory."""

    def __init__(self, rows: int, space: str, log: BinaryIO) -> None:
        """Builds the tables: about 2.4 KB a row. ``log`` receives a record a call."""
        names = workload.ids_of(np.arange(rows))
        self._rows = {name.decode(): row for row, name in enumerate(names)}
        self._matrix = synth.matrix(rows)
        self._presence = synth.presence_matrix(rows)
        self._labels = workload.label_embeddings()
        self._space = space
        self._log = log
        self._low, high = (np.float32(bound) for bound in cosine_range())
        self._stretch = np.float32(1) / (high - self._low)
        self._weights = {name: np.float32(weight) for name, weight in workload.WEIGHTS.items()}
        self._priors: dict[int, npt.NDArray[np.float32]] = {}

    def __call__(self, message: bytes) -> bytes:
        """Request bytes in, response bytes out."""
        answer: bytes = self.answer(RerankRequest.FromString(message)).SerializeToString()
        return answer

    def answer(self, request: RerankRequest) -> RerankResponse:
        """The same on messages, for a server that parses and serialises itself."""
        arm = self._assign(request.user_id)
        scores = self._score(request)
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self._record(request, scores, order)
        return RerankResponse(
            request_id=request.request_id,
            assigned_arm=arm,
            served_arm=arm,
            status=rerank_pb2.STATUS_RERANKED,
            experiment_key=workload.EXPERIMENT,
            plan_revision=1,
            generation=1,
            space=self._space,
            ranking=order.tolist(),
            scores=ranked.tolist(),
            counts=rerank_pb2.Counts(candidates=len(order), scored=len(order)),
        )

    def _assign(self, user: str) -> rerank_pb2.Arm:
        place = bucket(workload.EXPERIMENT, user)
        if place < workload.RAMP_BP:
            return rerank_pb2.ARM_TREATMENT
        in_control = BUCKETS // 2 <= place < BUCKETS // 2 + workload.RAMP_BP
        return rerank_pb2.ARM_CONTROL if in_control else rerank_pb2.ARM_NOT_ENROLLED

    def _score(self, request: RerankRequest) -> npt.NDArray[np.float32]:
        ids = request.candidate_ids
        rows = np.fromiter(map(self._rows.__getitem__, ids), np.int64, len(ids))
        query = np.frombuffer(request.embedding.values, "<f4")
        cosines = self._matrix.take(rows, axis=0) @ query
        weights = self._weights
        return np.asarray(
            weights["cosine"] * ((cosines - self._low) * self._stretch)
            + weights["consistency"] * self._consistency(query, rows)
            + weights["prior"] * self._prior(len(rows)),
            np.float32,
        )

    def _consistency(self, query: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        similar = self._labels @ query
        nearest = np.argpartition(similar, -LABELS_EXPECTED)[-LABELS_EXPECTED:]
        expected = nearest[similar[nearest] > SIMILARITY_FLOOR]
        consistency = np.zeros(len(rows), np.float32)
        if len(expected) == 0:
            return consistency
        above = similar[expected] - np.float32(SIMILARITY_FLOOR)
        for label, weight in zip(expected.tolist(), above / (above.sum() * np.float32(65535)), strict=True):
            consistency += weight * self._presence[label].take(rows)
        return consistency

    def _prior(self, count: int) -> npt.NDArray[np.float32]:
        if count not in self._priors:
            self._priors[count] = (1 - np.arange(count) / count).astype(np.float32)
        return self._priors[count]

    def _record(self, request: RerankRequest, scores: npt.NDArray[np.float32], order: npt.NDArray[np.intp]) -> None:
        head = f"{request.request_id}\0{request.user_id}\0".encode()
        self._log.write(b"".join((head, scores.tobytes(), order.astype(np.uint16).tobytes())))
