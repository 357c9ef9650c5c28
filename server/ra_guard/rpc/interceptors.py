"""What stands between gRPC and the handlers of the admin services: errors become statuses, failures are reported.

Wrapped once a method, when it is first called, so that the Reranker service next door pays nothing for it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from ra_guard.errors import Code, status_of

Behaviour = Callable[[Any, grpc.ServicerContext], Any]


class ErrorBoundary(grpc.GenericRpcHandler):
    """Serves what another generic handler serves. Handlers raise; this answers with the status the error is worth."""

    def __init__(self, inner: grpc.GenericRpcHandler, report: Callable[[BaseException], None]) -> None:
        self._inner = inner
        self._report = report
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The wrapped handler of a method; None for methods of others."""
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = self._inner.service(handler_call_details)
            if handler is None:
                return None
            self._wrapped[method] = self._wrap(handler)
        return self._wrapped[method]

    def _wrap(self, handler: "grpc.RpcMethodHandler[Any, Any]") -> "grpc.RpcMethodHandler[Any, Any]":
        coders = (handler.request_deserializer, handler.response_serializer)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(self._answering(handler.unary_unary), *coders)
        if handler.stream_unary is not None:
            return grpc.stream_unary_rpc_method_handler(self._answering(handler.stream_unary), *coders)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._streaming(handler.unary_stream), *coders)
        if handler.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._streaming(handler.stream_stream), *coders)
        raise TypeError(f"{handler!r}: found no behaviour, wanted one of the four arities")

    def _answering(self, behaviour: Behaviour) -> Behaviour:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return behaviour(request, context)
            except BaseException as error:  # noqa: BLE001 (a panic of the core is no Exception)
                self._end(error, context)

        return answer

    def _streaming(self, behaviour: Behaviour) -> Behaviour:
        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            try:
                yield from behaviour(request, context)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001
                self._end(error, context)

        return stream

    def _end(self, error: BaseException, context: grpc.ServicerContext) -> None:
        if context.code() is not None:  # type: ignore[attr-defined]  # the handler has aborted by itself
            raise error
        code = status_of(error)
        if code is Code.INTERNAL:
            self._report(error)
        context.abort(grpc.StatusCode[code], str(error))
