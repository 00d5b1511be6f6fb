"""The way into a cluster: a port that passes requests on by their Host header, by shares.

Behind it are predictors that answer as `rollouts.Manner` says, each with the digest of its model in
`x-model-digest`. Inside the cluster, Services are reached by their names: `names_resolve`
makes `*.svc` lead to this port, which is the one thing about DNS that a rollout relies on.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import http_server
from kserve_controller import Controller
from rollouts import GOLDEN, Manner

_ASKED: Any = GOLDEN["requests"]


class Ingress:
    """The port.

    Attributes:
        manners: digest and way of answering, by storage address.
        answered: host and digest of each answer, in order.
    """

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.manners: dict[str, tuple[str, Manner]] = {}
        self.answered: list[tuple[str, str]] = []
        self.url = ""
        self.port = 0
        self._lock = threading.Lock()
        self._owed: dict[str, float] = {}

    def answer(self, host: str, method: str, path: str, body: bytes) -> tuple[int, str, Any]:
        """Status, digest and JSON for one request."""
        name = host.partition(":")[0]
        with self._lock:
            backends = self.controller.backends(name)
            uri = self._pick(backends) if backends else None
        if uri is None:
            return 404, "", {"detail": f"no route for {host}"}
        if uri not in self.manners:
            return 503, "", {"detail": "no healthy upstream"}
        digest, manner = self.manners[uri]
        named = digest if manner.named is None else manner.named
        if method == "GET":
            return 200, named, {"model": {"digest": digest, "precision": "fp32"}}
        with self._lock:
            self.answered.append((name, digest))
            manner.asked += 1
            status = manner.status(manner.asked)
        time.sleep(manner.seconds)
        if status != 200:
            return status, named, {"error": "told to fail"}
        texts = [one["text"] for one in json.loads(body)["instances"]]
        entities = [manner.entities if text == _ASKED[0]["text"] else [] for text in texts]
        return 200, named, {"predictions": [{"entities": found} for found in entities]}

    def _pick(self, backends: list[tuple[float, str]]) -> str:
        """By shares, in a fixed order: who is owed most goes first."""
        for share, uri in backends:
            self._owed[uri] = self._owed.get(uri, 0) + share
        uri = max((uri for share, uri in backends if share), key=lambda uri: self._owed[uri])
        self._owed[uri] -= 100
        return uri


@contextmanager
def running(controller: Controller) -> Iterator[Ingress]:
    """Serve one on a port of its own; Services of the cluster lead to it as well."""
    ingress = Ingress(controller)

    class Handler(http_server.Handler):
        def serve(self) -> None:
            status, digest, answer = ingress.answer(
                self.headers.get("Host", ""), self.command, self.path, self.body()
            )
            self.send(status, answer, {"x-model-digest": digest} if digest else {})

    with http_server.serving(Handler) as ingress.url, names_resolve():
        ingress.port = controller.port = urlsplit(ingress.url).port or 0
        yield ingress


@contextmanager
def names_resolve() -> Iterator[None]:
    """Names of Services lead to this machine."""
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        inside = isinstance(name, str) and name.endswith(".svc")
        return real("127.0.0.1" if inside else host, *arguments, **options)

    with patch.object(socket, "getaddrinfo", resolve):
        yield
