"""The tests' Kubernetes API on a socket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import http_server
from kubernetes_answers import Fault, status
from kubernetes_api import KubernetesApi
from typed_objects import models


@contextmanager
def running(namespace: str = "gliner") -> Iterator[KubernetesApi]:
    """Serve one on a port of its own."""
    api = KubernetesApi(namespace)
    models()  # takes seconds the first time, in which a client would time out

    class Handler(http_server.Handler):
        def serve(self) -> None:
            body = self.body()
            api.requests.append((self.command, self.path))
            strikes = (one for one in api.faults if one.strikes(self.command, self.path))
            fault = next(strikes, Fault())
            time.sleep(fault.seconds)
            if fault.cut == "before":
                self.cut()
                return
            if fault.status:
                code = fault.status
                answer = status(code, fault.reason, fault.reason or "told to fail")
            else:
                code, answer = api.answer(self.command, self.path, self.headers, body)
            if fault.cut == "after":
                self.cut()
                return
            self.send(code, answer, fault.headers)

    with http_server.serving(Handler) as api.url:
        yield api
