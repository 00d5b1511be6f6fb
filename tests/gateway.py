"""Istio's gateway, as far as a canary needs one: shares requests out, and counts what came back."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import http_server
import httpx


@dataclass
class Gateway:
    """One that runs.

    Attributes:
        url: its address.
        shares: of each workload, its address and how many of a hundred requests go there.
        met: how many answers there were, by workload, status and Envoy's flags.
    """

    url: str = ""
    shares: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    met: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, workload: str, status: int, flags: str) -> None:
        """Note an answer."""
        with self._lock:
            self.met[workload, status, flags] += 1

    def counted(self) -> dict[tuple[str, int, str], int]:
        """All that was noted."""
        with self._lock:
            return dict(self.met)


@contextmanager
def running() -> Iterator[Gateway]:
    """Run one that sends nobody anywhere yet."""
    gateway = Gateway()
    with httpx.Client(timeout=30, trust_env=False) as http:

        class Handler(http_server.Handler):
            def serve(self) -> None:
                body = self.body()
                names = list(gateway.shares)
                [name] = random.choices(names, [gateway.shares[one][1] for one in names])
                address, _ = gateway.shares[name]
                try:
                    answer = http.request(self.command, f"{address}{self.path}", content=body)
                    status, text, flags = answer.status_code, answer.text, "-"
                except httpx.TransportError:
                    # As Envoy answers for an upstream that takes no connection.
                    status, text, flags = 503, "upstream connect error", "UF"
                gateway.count(name, status, flags)
                self.send(status, text)

        with http_server.serving(Handler) as gateway.url:
            yield gateway
