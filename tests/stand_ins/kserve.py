"""A stand-in for Triton that fails on purpose: a KServe v2 server whose answers a test chooses.

It speaks the real protocol through tritonclient's own service definition, for faults that a healthy Triton will not
show: slow, dead in mid-call, wrong shape, NaN, another space. What a healthy Triton does is tested on the real one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from ra_guard.models.space import Space
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

Tensors = dict[str, np.ndarray[Any, Any]]
Answer = Callable[[str, int], Tensors]
"""Model name and batch size to outputs. May sleep or raise `Abort`."""

DATATYPES = {"float32": "FP32", "float64": "FP64", "int32": "INT32"}


class Abort(Exception):
    """Ends the call with this status instead of an answer."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def healthy(space: Space) -> Answer:
    """What the model contract says, with one box of label 0 for every image."""

    def answer(model: str, items: int) -> Tensors:
        unit = np.zeros((items, space.dim), np.float32)
        unit[:, 0] = 1.0
        if model == "clip_text":
            return {"text_embeds": unit}
        if model == "clip_image":
            return {"image_embeds": unit}
        labels = np.full((items, 32), -1, np.int32)
        labels[:, 0] = 0
        scores = np.zeros((items, 32), np.float32)
        scores[:, 0] = 0.75
        boxes = np.zeros((items, 32, 4), np.float32)
        boxes[:, 0] = (0.25, 0.25, 0.5, 0.75)
        return {"labels": labels, "scores": scores, "boxes": boxes}

    return answer


@dataclass
class Seen:
    """What the client sent with its last inference, and how many there were."""

    inferences: int = 0
    timeout_us: int | None = None
    time_remaining_s: float | None = None
    headers: dict[str, str] = field(default_factory=dict)


class StandIn(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Set ``answer``, ``fingerprint`` or ``labels_digest`` to misbehave."""

    def __init__(self, space: Space) -> None:
        self.answer = healthy(space)
        self.fingerprint = space.fingerprint
        self.labels_digest = space.labels_digest
        self.seen = Seen()
        self.url = ""

    def ModelReady(self, _request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802 - the protocol's name
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelConfig(self, request: Any, _context: grpc.ServicerContext) -> Any:  # noqa: N802
        detector = request.name == "detector"
        key, value = ("labels_digest", self.labels_digest) if detector else ("space", self.fingerprint)
        config = model_config_pb2.ModelConfig(name=request.name)
        config.parameters[key].string_value = value
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self.seen = Seen(
            self.seen.inferences + 1,
            request.parameters["timeout"].int64_param,
            context.time_remaining(),
            {key: value for key, value in context.invocation_metadata() if isinstance(value, str)},
        )
        try:
            tensors = self.answer(request.model_name, request.inputs[0].shape[0])
        except Abort as abort:
            context.abort(abort.code, str(abort))
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for name, values in tensors.items():
            datatype = DATATYPES[values.dtype.name]
            response.outputs.add(name=name, datatype=datatype, shape=values.shape)
            response.raw_output_contents.append(values.tobytes())
        return response


@contextmanager
def serving(space: Space) -> Iterator[StandIn]:
    """A stand-in on a free port of the loopback address."""
    stand_in = StandIn(space)
    server = grpc.server(ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(stand_in, server)
    stand_in.url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield stand_in
    finally:
        server.stop(0).wait()
