"""The service that MLflow calls when a tag was set, so that a review is noticed at once.

It answers as soon as a delivery has been checked; the deciding happens on a thread of its own,
which looks at all open reviews when it starts and every few minutes after. A delivery that was
lost, or was taken by a process that then died, is so made up for.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from pipeline import review
from pipeline.errors import PipelineError, SettingsError
from pipeline.progress import say
from pipeline.registry import Registry, Tag
from pipeline.review.deliveries import Deliveries, Rejected, check
from pipeline.review.worker import Worker

if TYPE_CHECKING:
    from pipeline.review import Launch
    from pipeline.settings import Settings

PATH = "/mlflow"
"""Where MLflow delivers to."""
EVENT = "model_version_tag.set"
BODY_LIMIT = 64 * 1024
BODY_SECONDS = 10.0
POLL_SECONDS = 300.0
"""How often all open reviews are looked at, besides what MLflow delivers."""


def app(
    settings: Settings,
    registry: Registry | None = None,
    launch: Launch | None = None,
    *,
    poll_seconds: float = POLL_SECONDS,
) -> FastAPI:
    """The service.

    Args:
        launch: starts a rollout; `pipeline.runs.launch.rollout` by default.

    Raises:
        SettingsError: there is no secret to check deliveries with, or `PIPELINE_HOME` cannot be
            used.
    """
    secret = _secret(settings)
    launch = review.own_launch() if launch is None else launch
    worker = Worker(settings, registry or Registry(settings), launch, poll_seconds)
    deliveries = Deliveries(settings.folder() / "deliveries.sqlite")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        worker.start()
        yield
        await asyncio.to_thread(worker.stop)

    service = FastAPI(title="Reviews", openapi_url=None, lifespan=lifespan)

    @service.get("/health")
    def health() -> JSONResponse:
        alive = worker.alive
        seen = {"status": "ok" if alive else "the worker has ended", "polled_at": worker.polled_at}
        return JSONResponse(seen, 200 if alive else 503)

    @service.post(PATH)
    async def deliver(request: Request) -> Response:
        try:
            body = await asyncio.wait_for(_body(request), BODY_SECONDS)
        except asyncio.TimeoutError:
            raise Rejected(408, "the body did not arrive in time") from None
        delivery = check(secret, request.headers, body, time.time())
        await asyncio.to_thread(deliveries.take, delivery)
        number = _reviewed(settings.model_name, body)
        if number is None:
            return Response(status_code=204)
        worker.look_at(number)
        return JSONResponse({"version": number}, 202)

    @service.exception_handler(Rejected)
    async def rejected(_: Request, error: Exception) -> JSONResponse:
        status = error.status if isinstance(error, Rejected) else 500
        return JSONResponse({"error": str(error)}, status)

    @service.exception_handler(HTTPException)
    async def other(_: Request, error: Exception) -> JSONResponse:
        status, text = (
            (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        )
        return JSONResponse({"error": text}, status)

    @service.exception_handler(Exception)
    async def bug(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"a bug: {type(error).__name__}; see the log"}, 500)

    @service.exception_handler(PipelineError)
    async def broken(_: Request, error: Exception) -> JSONResponse:
        # MLflow delivers again after a 503.
        return JSONResponse({"error": str(error)}, 503)

    return service


def serve(settings: Settings, host: str, port: int, url: str = "") -> None:
    """Run the service until it is told to stop.

    Args:
        host: the address to listen at.
        url: have MLflow deliver here, see `ensure`.

    Raises:
        SettingsError: there is no secret, or the port cannot be had.
        PipelineError: MLflow refused the webhook.
    """
    import uvicorn

    # Its access log would hold one line for every tag that anybody sets.
    config = uvicorn.Config(app(settings), access_log=False, log_level="warning")
    with _listener(host, port) as listener:
        if url:
            ensure(settings, url)
        name = f"[{host}]" if ":" in host else host
        say(f"listening at http://{name}:{listener.getsockname()[1]}{PATH}")
        uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    """A socket of this address. uvicorn's own would end the process in its own words."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        why = "does not exist"
        if isinstance(error, OSError):
            taken = error.errno == errno.EADDRINUSE
            why = f"of {host} {'is taken' if taken else f'cannot be had: {error.strerror}'}"
        raise SettingsError(f"port {port} {why}; choose another with --port") from None
    return found


def ensure(settings: Settings, url: str) -> str:
    """Have MLflow deliver to this address; doing it again changes nothing but the secret.

    MLflow notices within a minute (`MLFLOW_WEBHOOK_CACHE_TTL`).

    Args:
        url: the service as MLflow reaches it; its path is added.

    Returns:
        MLflow's id of the webhook.

    Raises:
        PipelineError: MLflow refused; for http or private addresses the text names the
            variables that its server needs.
    """
    from mlflow.exceptions import MlflowException

    client = Registry(settings).client
    name = f"{settings.model_name}-review"
    wanted: dict[str, Any] = {
        "url": f"{url.rstrip('/').removesuffix(PATH)}{PATH}",
        "events": [EVENT],
        "secret": _secret(settings),
        "status": "ACTIVE",
        "description": "Tells the review service that a reviewer has set a tag.",
    }
    try:
        found = [one for one in _webhooks(client) if one.name == name]
        # Two services that start at once may both have registered.
        first, *others = sorted(found, key=lambda one: one.creation_timestamp) or [None]
        for other in others:
            client.delete_webhook(other.webhook_id)
        if first is None:
            return str(client.create_webhook(name, **wanted).webhook_id)
        client.update_webhook(first.webhook_id, **wanted)
        return str(first.webhook_id)
    except MlflowException as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise PipelineError(
            f"MLflow refused the webhook: {reason}; for http and private addresses its server "
            "needs MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https and "
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true, and it always needs "
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"
        ) from None


def _webhooks(client: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = client.list_webhooks(max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _secret(settings: Settings) -> str:
    secret = settings.webhook_secret.get_secret_value()
    if not secret:
        raise SettingsError("PIPELINE_WEBHOOK_SECRET is empty; MLflow signs its webhooks with it")
    return secret


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            raise Rejected(413, f"the body is longer than {BODY_LIMIT} bytes")
    return body


def _reviewed(model: str, body: bytes) -> int | None:
    """The version whose review tag was set; None where it is about anything else.

    Raises:
        Rejected: it is signed and yet no event of MLflow's.
    """
    try:
        event = json.loads(body)
        data = event["data"]
        about = (event["entity"], event["action"], data.get("name"), data.get("key"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Rejected(400, "the body is no event of MLflow's") from None
    if about != ("model_version_tag", "set", model, Tag.REVIEW):
        return None
    number = str(data.get("version", ""))
    if not number.isascii() or not number.isdigit():
        raise Rejected(400, "`version` is no number")
    return int(number)
