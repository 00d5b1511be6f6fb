"""KServe's server with what it lacks: one error form, request ids, limits and a drain.

KServe's `ModelServer` is kept whole; its REST and gRPC halves are subclassed where they offer
a method to override. What each override is for stands beside it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import kserve
from fastapi import FastAPI
from grpc import aio
from grpc_interceptor.server import AsyncServerInterceptor
from kserve import model_server
from kserve.model_server import ModelServer
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer

from predictor import __version__, metrics, protocol
from predictor.context import open_request
from predictor.errors import (
    Forbidden,
    InvalidRequest,
    NotServing,
    StartupError,
    UnknownModel,
)
from predictor.guard import translate
from predictor.logs import OURS, log_request
from predictor.model import GlinerModel

log = logging.getLogger(OURS)

_CLOSED = (
    "loading and unloading models over the network is shut on this server; "
    "change the InferenceService instead"
)


class ClosedRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """Refuses to load and unload: KServe would let any caller remove the model for good."""

    async def load(self, model_name: str) -> None:
        """Refuse."""
        raise Forbidden(_CLOSED)

    async def unload(self, model_name: str) -> None:
        """Refuse."""
        raise Forbidden(_CLOSED)


class GlinerDataPlane(DataPlane):  # type: ignore[misc]
    """KServe's data plane with strict JSON and our errors.

    Args:
        model_registry: KServe's registry.
        model: the one model that is served.
    """

    def __init__(self, model_registry: kserve.ModelRepository, model: GlinerModel) -> None:
        super().__init__(model_registry)
        self._server_name = "gliner-kserve"
        self._server_version = __version__
        self._model = model

    def metadata(self) -> dict[str, Any]:
        """The server's name and version; no extensions, for the repository is shut."""
        return {**super().metadata(), "extensions": []}

    def get_model_from_registry(self, name: str) -> Any:
        """The model, whatever the state of the server.

        Raises:
            UnknownModel: another name.
        """
        if name != self._model.name:
            raise UnknownModel(name, self._model.name)
        return self._model

    async def get_model(self, name: str) -> Any:
        """As above. KServe would load a model that is not ready, here in mid-drain."""
        return self.get_model_from_registry(name)

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        """Whether predictions are taken.

        Raises:
            UnknownModel: another name.
            NotServing: the server is stopping.
        """
        ready = bool(self.get_model_from_registry(model_name).ready)
        if not ready and disable_predictor_health_check:  # asked before a prediction
            raise NotServing
        return ready

    def decode(
        self, body: Any, headers: Any, protocol_version: str = "v1", model_name: str | None = None
    ) -> Any:
        """Parse a V1 body as JSON whatever parameters its content type has."""
        if not isinstance(body, bytes) or "ce-type" in (headers or {}):  # a CloudEvent
            return super().decode(body, headers, protocol_version, model_name)
        protocol.check_content_type((headers or {}).get("content-type", ""))
        return self.decode_cloudevent(protocol.load_json(body))


class RestServer(RESTServer):  # type: ignore[misc]
    """KServe's REST server, with our routes before its own.

    Args:
        install: adds routes, handlers and middleware to the application.
    """

    def __init__(self, *args: Any, install: Callable[[FastAPI], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._install = install

    def _register_endpoints(self, app: FastAPI) -> None:
        # Routes match in order: ours shadow those of KServe's that fall short.
        self._install(app)
        super()._register_endpoints(app)

    def _add_exception_handlers(self, app: FastAPI) -> None:
        """None of KServe's: `guard` turns every exception into our one form, and these would
        log its text first."""

    def _add_middlewares(self, app: FastAPI) -> None:
        """None of KServe's: it times each request into a log of its own."""

    @property
    def uvicorn(self) -> Any:
        """The uvicorn server, for its signal handler and its exit flag."""
        return self._server


class Servicer(InferenceServicer):  # type: ignore[misc]
    """KServe's gRPC service, with V2 REST's checks before protobuf is taken apart."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Answer one inference request."""
        self._data_plane.get_model_from_registry(request.model_name)
        for tensor in request.inputs:
            if tensor.datatype != "BYTES":
                raise InvalidRequest(
                    f"must have the datatype BYTES, got {tensor.datatype[:40]!r}",
                    field=tensor.name,
                )
        try:
            return await super().ModelInfer(request, context)
        except kserve.errors.InvalidInput as error:
            raise InvalidRequest(error.reason) from None


class Edge(AsyncServerInterceptor):
    """The outermost layer of a gRPC call: context, error form, metrics and the log line."""

    async def intercept(self, method: Any, request: Any, context: Any, method_name: str) -> Any:
        """Run one call."""
        headers = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        opened = open_request(headers, timeout=context.time_remaining())
        opened.protocol, opened.endpoint = "grpc", method_name.rpartition("/")[2]
        if opened.endpoint != "ModelInfer":
            opened.protocol = "ops"
        status = "OK"
        try:
            await context.send_initial_metadata((("x-request-id", opened.request_id),))
            return await method(request, context)
        except asyncio.CancelledError:
            status = opened.error = "CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 -- nothing is behind this to catch it
            ours = translate(error)
            status, opened.error = ours.grpc, ours.kind
            if ours.retry_after:
                context.set_trailing_metadata((("retry-after", str(ours.retry_after)),))
            await context.abort(grpc.StatusCode[ours.grpc], str(ours))
        finally:
            log_request(opened, status, metrics.count_request(opened, status))


class GrpcServer(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server with our service and interceptor, and a limit on messages."""

    def __init__(self, *args: Any, max_message_bytes: int, **kwargs: Any) -> None:
        super().__init__(*args, kwargs={}, **kwargs)
        self._max_message_bytes = max_message_bytes

    async def start(self, max_workers: int) -> None:
        """Serve until stopped."""
        self._server = aio.server(
            futures.ThreadPoolExecutor(max_workers=max_workers),
            interceptors=(Edge(),),
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


class Server(ModelServer):  # type: ignore[misc]
    """Serves one model over REST and gRPC, and drains before it stops.

    Args:
        model: loaded and checked.
        install: adds our routes to the application.
        drain_seconds: how long requests in flight may take once a signal came.
        max_message_bytes: largest gRPC message.
        options: KServe's own options.
    """

    def __init__(
        self,
        model: GlinerModel,
        install: Callable[[FastAPI, DataPlane], None],
        *,
        drain_seconds: float,
        max_message_bytes: int,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._model = model
        self._drain_seconds = drain_seconds
        self._max_message_bytes = max_message_bytes
        self.dataplane = GlinerDataPlane(self.registered_models, model)
        self.model_repository_extension = ClosedRepository(self.registered_models)
        self._install = lambda app: install(app, self.dataplane)
        self._stopping: asyncio.Task[None] | None = None

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and return."""
        self._register_and_check_atleast_one_model_is_ready([self._model])
        self._rest_server = RestServer(
            model_server.FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            access_log_format=self.access_log_format,
            grace_period=max(1, round(self._drain_seconds)),
            event_loop=self.event_loop,
            timeout_keep_alive=self.timeout_keep_alive,
            ssl_certfile=self.ssl_certfile,
            ssl_keyfile=self.ssl_keyfile,
            install=self._install,
        )
        # uvicorn would close the door at once: callers that still come would meet a refused
        # connection in place of a 503 that sends them to another replica.
        self._rest_server.uvicorn.handle_exit = self._on_signal
        self.servers.append(self._rest_server.start())
        if self.enable_grpc:
            self._grpc_server = GrpcServer(
                self.grpc_port,
                self.dataplane,
                self.model_repository_extension,
                grace_period=self._drain_seconds,
                max_message_bytes=self._max_message_bytes,
            )
            self.servers.append(self._grpc_server.start(self.max_threads))
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._serve()
        if self._stopping:
            await self._stopping

    def _on_signal(self, signum: int, _frame: object) -> None:
        if self._model.draining:  # a second signal: somebody is impatient
            self._rest_server.uvicorn.force_exit = True
            self._rest_server.uvicorn.should_exit = True
            return
        self._model.stop()
        log.info(
            "draining",
            extra={
                "fields": {"signal": signal.Signals(signum).name, "seconds": self._drain_seconds}
            },
        )
        self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._stopping = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        started = time.monotonic()
        finished = await self._model.queue.drained(self._drain_seconds)
        self._rest_server.uvicorn.should_exit = True
        if self.enable_grpc:
            await self._grpc_server.stop()
        log.info(
            "stopped",
            extra={
                "fields": {"drained": finished, "seconds": round(time.monotonic() - started, 2)}
            },
        )


def check_ports(*ports: int) -> None:
    """Make sure that ports are free before minutes go into loading a model.

    Raises:
        StartupError: one is taken, or is not this user's to take.
    """
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError as error:
                raise StartupError(
                    f"port {port} cannot be used ({error.strerror}); stop what uses it or choose "
                    "others with --http_port and --grpc_port"
                ) from error
