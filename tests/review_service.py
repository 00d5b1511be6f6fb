"""The review service on a port, and an MLflow server that heeds new webhooks at once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import uvicorn
from cryptography.fernet import Fernet
from fastapi import FastAPI

from pipeline.local import servers as real
from pipeline.local.process import Process
from pipeline.review import webhook

SECRET = "a-webhook-secret"


@contextmanager
def mlflow(folder: Path) -> Iterator[Process]:
    """An MLflow server that delivers to this machine."""
    env = {
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        # By default it remembers for a minute which webhooks there are.
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
    }
    with real.mlflow(folder, env=env) as started:
        yield started


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
