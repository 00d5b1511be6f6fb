"""The gRPC half: KServe's service with our checks, error form, metrics and log line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent import futures
from functools import partial
from typing import Any

import grpc
from grpc import aio
from grpc_interceptor.server import AsyncServerInterceptor
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer

from predictor import infer_body, metrics
from predictor.context import RequestContext, begin_trace, check_time, open_request
from predictor.errors import InvalidRequest, NerError, NoVersions
from predictor.guard import translate
from predictor.keys import Keys, open_call
from predictor.logs import log_request


class Servicer(InferenceServicer):  # type: ignore[misc]
    """KServe's gRPC service, with V2 REST's checks before protobuf is taken apart."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer one inference request."""
        _refuse_version(request.model_version)
        await self._data_plane.model_ready(request.model_name, True)
        infer_body.check_message(request)
        return await super().ModelInfer(request, context)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Say whether the model takes predictions."""
        _refuse_version(request.version)
        return await super().ModelReady(request, context)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Say what the model takes and gives."""
        _refuse_version(request.version)
        return await super().ModelMetadata(request, context)


def _refuse_version(version: str) -> None:
    if version:
        raise NoVersions


class Edge(AsyncServerInterceptor):
    """The outermost layer of a gRPC call: context, key, error form, metrics and the log line.

    Args:
        keys: who may ask; None lets everybody.
    """

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Hand what cannot be read on to `intercept`, as the error that it is: the library would
        answer UNKNOWN with the name of a Python class, and log the rest."""
        handler = await super().intercept_service(continuation, details)  # type: ignore[no-untyped-call]
        if not handler:
            return None
        read, name = handler.request_deserializer, details.method.rpartition("/")[2]
        return handler._replace(request_deserializer=partial(_read, read, name))

    async def intercept(self, method: Any, request: Any, context: Any, method_name: str) -> Any:
        """Run one call."""
        headers = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        opened = open_request(headers, timeout=context.time_remaining())
        opened.protocol, opened.endpoint = "grpc", method_name.rpartition("/")[2]
        if opened.endpoint != "ModelInfer":
            opened.protocol = "ops"
        begin_trace(opened, headers)
        status = "OK"
        try:
            await context.send_initial_metadata((("x-request-id", opened.request_id),))
            if self._keys and not open_call(opened.endpoint):
                opened.caller = self._keys.caller(headers)
            check_time(opened, headers)
            if isinstance(request, NerError):
                raise request
            answer = await method(request, context)
            context.set_trailing_metadata(_answered_by(opened))
            return answer
        except asyncio.CancelledError:
            status = opened.error = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 -- nothing is behind this to catch it
            ours = translate(error)
            status, opened.error = ours.grpc, ours.kind
            retry = (("retry-after", str(ours.retry_after)),) if ours.retry_after else ()
            context.set_trailing_metadata((*retry, *_answered_by(opened)))
        finally:
            log_request(opened, status, metrics.count_request(opened, status))
            if opened.spans:
                opened.spans.end(opened, status)
        # Last, as an answer is: whoever has the error finds it counted and logged already.
        return await context.abort(grpc.StatusCode[ours.grpc], str(ours))


def _read(read: Callable[[bytes], Any], name: str, message: bytes) -> Any:
    try:
        return read(message)
    except Exception:  # noqa: BLE001 -- protobuf's implementations raise different ones
        return InvalidRequest(f"the message is not valid protobuf; {name} takes a {name}Request")


def _answered_by(opened: RequestContext) -> tuple[tuple[str, str], ...]:
    return tuple(opened.model.headers().items()) if opened.model else ()


class GrpcServer(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server with our service and interceptor, and a limit on messages."""

    def __init__(
        self, *args: Any, max_message_bytes: int, keys: Keys | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, kwargs={}, **kwargs)
        self._keys = keys
        self._max_message_bytes = max_message_bytes

    async def start(self, max_workers: int) -> None:
        """Serve until stopped."""
        self._server = aio.server(
            futures.ThreadPoolExecutor(max_workers=max_workers),
            interceptors=(Edge(self._keys),),
            options=[
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", -1),
            ],
        )
        services.add_GRPCInferenceServiceServicer_to_server(
            Servicer(self._data_plane, self._model_repository_extension), self._server
        )
        self._server.add_insecure_port(f"[::]:{self._port}")
        await self._server.start()
        await self._server.wait_for_termination()

    async def stop(self, seconds: float) -> None:
        """Shut the door. Calls that are left have so many seconds."""
        server: Any = self._server
        if server:  # a signal may come before it has started
            await server.stop(grace=seconds)
