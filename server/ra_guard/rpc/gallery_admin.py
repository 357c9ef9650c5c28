"""GalleryAdmin: what this replica serves, and the swap to a generation that lies complete in the gallery folder.

Upsert and Delete are not registered yet and answer UNIMPLEMENTED: images come in through `ra-guard gallery ingest`.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc
from google.protobuf import message_factory
from google.protobuf.message import Message

from ra_guard._core import Generation
from ra_guard.v1 import gallery_pb2 as wire

SERVICE: Final = "ra_guard.v1.GalleryAdmin"


class Serving(Protocol):
    """The part of `_core.Engine` that this service asks."""

    def generation(self) -> Generation | None: ...


class GalleryAdmin:
    """Answers GalleryAdmin's messages.

    ``load`` opens a generation by number (None: the one that CURRENT names), warms it and swaps it in; it returns the
    new number and the previous one, as `serving.generation_watch.GenerationLoader.load` does.
    """

    def __init__(self, serving: Serving, load: Callable[[int | None], tuple[int, int]]) -> None:
        self._serving = serving
        self._load = load

    def describe(self, request: wire.DescribeRequest) -> wire.DescribeResponse:  # noqa: ARG002  (has no fields)
        """The generation in force; all zero when none is loaded."""
        generation = self._serving.generation()
        if generation is None:
            return wire.DescribeResponse()
        resident = generation.resident()
        return wire.DescribeResponse(
            generation=generation.number,
            space=generation.space,
            rows=generation.rows,
            dim=generation.dim,
            dtype=generation.dtype,
            # Residency is measured over the whole generation: one number for all of its shards.
            shards=[
                wire.ShardSummary(file=file, rows=rows, bytes=size, resident=resident)
                for file, rows, size in generation.shards
            ],
            domains=generation.domains,
            licences=generation.licences,
            labels=generation.labels,
        )

    def publish(self, request: wire.PublishRequest) -> wire.PublishResponse:
        """Swaps a generation in on this replica; calls in flight finish on the old one."""
        number, previous = self._load(request.generation or None)
        return wire.PublishResponse(generation=number, previous=previous)


def gallery_admin_handlers(service: GalleryAdmin) -> grpc.GenericRpcHandler:
    """The service's RPCs; they raise, and `rpc.interceptors.ErrorBoundary` answers with what an error is worth."""
    descriptor = wire.DESCRIPTOR.services_by_name["GalleryAdmin"]
    answers: dict[str, Callable[[Any], Message]] = {"Describe": service.describe, "Publish": service.publish}
    methods = {
        method.name: grpc.unary_unary_rpc_method_handler(
            _without_context(answers[method.name]),
            request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
            response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
        )
        for method in descriptor.methods
        if method.name in answers
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _without_context(answer: Callable[[Any], Message]) -> Callable[[Any, grpc.ServicerContext], Message]:
    def handle(request: Any, _: grpc.ServicerContext) -> Message:
        return answer(request)

    return handle
