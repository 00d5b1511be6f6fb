"""The review service on a port, and webhooks that lead to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from pipeline.registry import Registry
from pipeline.review import webhook
from pipeline.settings import Settings

SECRET = "a-webhook-secret"


@contextmanager
def hooked(settings: Settings) -> Iterator[Settings]:
    """Settings with the secret; the webhooks that are made with them go away at the end."""
    yield settings.model_copy(update={"webhook_secret": SecretStr(SECRET)})
    client = Registry(settings).client
    for one in client.list_webhooks():
        if one.name.startswith(settings.model_name):
            client.delete_webhook(one.webhook_id)


@dataclass(frozen=True, slots=True)
class Service:
    """A running review service."""

    url: str

    def post(self, body: bytes, **changes: str) -> httpx.Response:
        """Deliver as MLflow does, with some headers changed."""
        headers = signed(body, changes.pop("name", ""), int(changes.pop("stamp", time.time())))
        given = {name.replace("_", "-"): value for name, value in changes.items()}
        return httpx.post(
            f"{self.url}{webhook.PATH}",
            content=body,
            headers={**headers, **given},
            trust_env=False,
            timeout=30,
        )


def signed(body: bytes, name: str = "", stamp: float | None = None) -> dict[str, str]:
    """The headers that MLflow sends with a body."""
    name = name or str(uuid4())
    seconds = str(int(time.time() if stamp is None else stamp))
    content = f"{name}.{seconds}.".encode() + body
    digest = hmac.new(SECRET.encode(), content, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
        "x-mlflow-timestamp": seconds,
        "x-mlflow-delivery-id": name,
    }


@contextmanager
def serving(app: FastAPI) -> Iterator[Service]:
    """The service, on a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Service(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(30)
