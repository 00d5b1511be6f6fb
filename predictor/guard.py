"""The outermost layer of HTTP: ids, limits, one form for every error, one log line.

Plain ASGI, so that it sees what every route does and streams stay streams.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import kserve
import orjson
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from predictor.context import RequestContext, begin_trace, check_time, open_request
from predictor.errors import (
    Internal,
    InvalidRequest,
    MethodNotAllowed,
    NerError,
    NotFound,
    NotServing,
    SlowBody,
    TooLarge,
    Unauthenticated,
    Unsupported,
    quote,
)
from predictor.keys import Keys, open_to_all
from predictor.logs import log_failure, log_request
from predictor.metrics import count_request

_ROUTES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), protocol, endpoint)
    for pattern, protocol, endpoint in (
        (r"^/v1/models/[^/]+:predict$", "v1", "predict"),
        (r"^/v2/models/[^/]+(/versions/[^/]+)?/infer$", "v2", "infer"),
        (r"^/predict$", "web", "/predict"),
        (r"^/api/v1/predict$", "web", "/api/v1/predict"),
        (r"^/$|^/page/", "web", "page"),
        (r"^/api/", "web", "docs"),
        (r"^/metrics$", "ops", "metrics"),
        (r"^/v[12](/|$)", "ops", "protocol"),
    )
)
_CLIENT_GONE = 499


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        max_body_bytes: largest body that is read.
        timeout_seconds: longest time for a body that comes with no deadline.
        draining: whether the server is about to stop.
        keys: who may ask; None lets everybody.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        timeout_seconds: float,
        draining: Callable[[], bool],
        keys: Keys | None = None,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._timeout = timeout_seconds
        self._draining = draining
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Later headers of a name win, as in a dict of them; none of ours is a list.
        headers = {
            key.decode("latin-1").lower(): value.decode("latin-1")
            for key, value in scope["headers"]
        }
        context = open_request(headers)
        context.protocol, context.endpoint = _classify(scope["path"])
        begin_trace(context, headers, scope["method"])
        status, finished, gone = 0, False, False
        read = asyncio.Event()
        task = asyncio.current_task()
        if scope["method"] == "HEAD":  # uvicorn leaves the body out
            scope = {**scope, "method": "GET"}

        async def send_marked(message: Message) -> None:
            nonlocal status, finished
            if message["type"] == "http.response.start":
                status = message["status"]
                self._mark(MutableHeaders(scope=message), context)
            else:
                finished = not message.get("more_body", False)
            await send(message)

        async def cancel_when_gone() -> None:
            nonlocal gone
            await read.wait()
            while (await receive())["type"] != "http.disconnect":
                pass
            if task and not finished:
                gone = True
                task.cancel()

        watch = asyncio.ensure_future(cancel_when_gone())
        try:
            if self._keys and not open_to_all(scope["path"]):
                context.caller = self._keys.caller(headers)
            check_time(context, headers)
            self._check_headers(headers)
            await self._app(scope, self._limited(receive, read, context), send_marked)
        except (ClientDisconnect, asyncio.CancelledError) as error:
            if isinstance(error, ClientDisconnect) or gone:
                # Nobody is left to answer; the status is for the log, in nginx's word for it.
                status, context.error = _CLIENT_GONE, "cancelled"
            else:  # by the server, at the end of the drain, which may end `watch` first
                context.error = NotServing.kind
                if status:
                    raise
                await _send_error(NotServing(), context, send_marked)
        except Exception as error:
            failure = translate(error)
            context.error = failure.kind
            if status:  # the answer is on its way: all that is left is to cut it off
                raise
            await _send_error(failure, context, send_marked)
        finally:
            watch.cancel()
            log_request(context, status, count_request(context, status))
            if context.spans:
                context.spans.end(context, status)

    def _mark(self, headers: MutableHeaders, context: RequestContext) -> None:
        headers["x-request-id"] = context.request_id
        headers["x-content-type-options"] = "nosniff"
        if context.model:
            headers.update(context.model.headers())
        if self._draining():
            headers["connection"] = "close"

    def _check_headers(self, headers: Mapping[str, str]) -> None:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > self._max_body_bytes:
            raise TooLarge(self._max_body_bytes)
        encoding = headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise InvalidRequest(
                f"{quote(encoding)} is not taken; send the body as it is", field="content-encoding"
            )

    def _limited(self, receive: Receive, read: asyncio.Event, context: RequestContext) -> Receive:
        """Count a body that does not declare its length, and wait no longer for it than its
        request may take; say when it has been read."""
        seen = 0
        ends = context.ends(self._timeout)

        async def limited() -> Message:
            nonlocal seen
            if read.is_set():
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), ends - time.monotonic())
            except asyncio.TimeoutError:
                raise SlowBody(round(ends - context.started, 3)) from None
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                raise TooLarge(self._max_body_bytes)
            if not message.get("more_body", False):
                read.set()
            return message

        return limited


def _classify(path: str) -> tuple[str, str]:
    for pattern, protocol, endpoint in _ROUTES:
        if pattern.match(path):
            return protocol, endpoint
    return "web", "other"


async def _send_error(error: NerError, context: RequestContext, send: Send) -> None:
    body = orjson.dumps({"error": str(error), "code": error.kind, "request_id": context.request_id})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if error.retry_after:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, (TooLarge, SlowBody)):  # what is left of the body is not read
        headers.append((b"connection", b"close"))
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowed) and error.allow:
        headers.append((b"allow", error.allow.encode()))
    await send({"type": "http.response.start", "status": error.http, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def translate(error: BaseException) -> NerError:
    """Any exception as one of ours. What is nobody's mistake but ours is logged here.

    Without its traceback: its caller's own frame is in there, and whoever holds both would keep
    each other, with the body that was refused, until Python looks for garbage.
    """
    return _ours(error).with_traceback(None)


def _ours(error: BaseException) -> NerError:
    match error:
        case NerError():
            return error
        case kserve.errors.InvalidInput():
            return InvalidRequest(error.reason)
        case kserve.errors.ModelNotReady() | kserve.errors.ServerNotReady():
            return NotServing("the model is not ready")
        case NotImplementedError():
            return Unsupported(str(error) or "not supported")
        case RequestValidationError():
            return _from_validation(error)
        case HTTPException():
            return _from_http(error)
    log_failure(error)
    return Internal()


def _from_validation(error: RequestValidationError) -> InvalidRequest:
    first: dict[str, Any] = error.errors()[0]
    path = [str(part) for part in first["loc"] if part != "body"]
    return InvalidRequest(str(first["msg"]), ".".join(path) or None)


def _from_http(error: HTTPException) -> NerError:
    if error.status_code == 404:
        return NotFound("no such address; / is the page, /api/docs lists the others")
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(allow)
    if error.status_code < 500:
        return InvalidRequest(str(error.detail))
    return Internal()


def reraise(_request: Any, error: Exception) -> Any:
    """A handler that leaves an exception to the guard."""
    raise error
