"""KServe's server with what it lacks: our routes, and a drain before it stops.

`ModelServer`, its REST half here, its gRPC half in `grpc_server` and its data plane in
`dataplane` are subclassed where they offer a method to override. What each override is for
stands beside it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from kserve import model_server
from kserve.model_server import ModelServer
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import RESTServer

from predictor.dataplane import ClosedRepository, GlinerDataPlane
from predictor.errors import StartupError
from predictor.grpc_server import GrpcServer
from predictor.keys import Keys
from predictor.logs import OURS
from predictor.model import GlinerModel

log = logging.getLogger(OURS)

_LAST_SECONDS = 1.0
"""For answers on their way when all else is over."""


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
        """The uvicorn server, for its signal handler and its event loop."""
        return self._server

    def shut(self, seconds: float) -> None:
        """Shut the door. Requests that are left have so many seconds."""
        self._server.config.timeout_graceful_shutdown = seconds
        self._server.should_exit = True

    def cut(self) -> None:
        """End the requests that are left: `guard` answers them 503."""
        self._server.force_exit = True
        for task in self._server.server_state.tasks:
            task.cancel()


class Server(ModelServer):  # type: ignore[misc]
    """Serves one model over REST and gRPC, and drains before it stops.

    Args:
        model: loaded and checked.
        install: adds our routes to the application.
        drain_seconds: how long requests in flight may take once a signal came, in the model and
            on their way in and out together.
        linger_seconds: how long the doors stay open at least once SIGTERM came.
        max_message_bytes: largest gRPC message.
        keys: who may ask over gRPC; None lets everybody.
        options: KServe's own options.
    """

    def __init__(
        self,
        model: GlinerModel,
        install: Callable[[FastAPI, DataPlane], None],
        *,
        drain_seconds: float,
        linger_seconds: float,
        max_message_bytes: int,
        keys: Keys | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._model = model
        self._drain_seconds = drain_seconds
        self._linger_seconds = linger_seconds
        self._max_message_bytes = max_message_bytes
        self._keys = keys
        self.dataplane = GlinerDataPlane(self.registered_models, model)
        self.model_repository_extension = ClosedRepository(self.registered_models)
        self._install = lambda app: install(app, self.dataplane)
        self._signalled = 0.0
        self._stopping: asyncio.Task[None] | None = None
        self._drained = False

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and return."""
        self._register_and_check_atleast_one_model_is_ready([self._model])
        self._rest_server = RestServer(
            model_server.FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            access_log_format=self.access_log_format,
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
                max_message_bytes=self._max_message_bytes,
                keys=self._keys,
            )
            self.servers.append(self._grpc_server.start(self.max_threads))
        # KServe hands its `--event_loop` to uvicorn, which has no say in a loop that runs already.
        factory = self._rest_server.uvicorn.config.get_loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await super()._serve()
        if self._stopping:
            await asyncio.wait([self._stopping])
            seconds = round(time.monotonic() - self._signalled, 2)
            log.info("stopped", extra={"fields": {"drained": self._drained, "seconds": seconds}})

    def _on_signal(self, signum: int, _frame: object) -> None:
        if self._model.draining:  # a second signal: somebody is impatient
            self._loop.call_soon_threadsafe(self._hurry)
            return
        self._model.stop()
        self._signalled = time.monotonic()
        log.info(
            "draining",
            extra={
                "fields": {"signal": signal.Signals(signum).name, "seconds": self._drain_seconds}
            },
        )
        # SIGINT is somebody at a terminal: nobody sends callers here who do not know.
        linger = self._linger_seconds if signum == signal.SIGTERM else 0.0
        self._loop.call_soon_threadsafe(self._begin_drain, linger)

    def _begin_drain(self, linger: float) -> None:
        self._stopping = asyncio.ensure_future(self._drain(linger))

    async def _drain(self, linger: float) -> None:
        self._drained = await self._model.queue.drained(self._left(self._drain_seconds))
        self._model.queue.end()
        await asyncio.sleep(self._left(linger))
        await self._shut(max(_LAST_SECONDS, self._left(self._drain_seconds)))

    def _left(self, seconds: float) -> float:
        return max(0.0, self._signalled + seconds - time.monotonic())

    def _hurry(self) -> None:
        if self._stopping:
            self._stopping.cancel()
        self._drained = False
        self._model.queue.end()
        self._rest_server.cut()
        self._stopping = asyncio.ensure_future(self._shut(_LAST_SECONDS))

    async def _shut(self, seconds: float) -> None:
        """Shut both doors. What is left has so many seconds."""
        self._rest_server.shut(seconds)
        if self.enable_grpc:
            await self._grpc_server.stop(seconds)


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
