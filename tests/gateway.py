"""Istio's gateway, as far as a canary needs one: shares requests out, and counts what came back.

It knows the Service of each revision. Whose pods are behind that is Knative's to say: the
revision's, or its activator's (pkg/reconciler/autoscaling/kpa of knative/serving: Proxy mode, as
long as less than `target-burst-capacity` is free).
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import http_server
import httpx

ACTIVATOR = "activator"


@dataclass
class Gateway:
    """One that runs.

    Attributes:
        url: its address.
        shares: of each Service, its address and how many of a hundred requests go there.
        proxied: Knative's activator stands between, as it does by default.
        met: how many answers there were, by Service, workload, status and Envoy's flags.
    """

    url: str = ""
    shares: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    proxied: bool = True
    met: Counter[tuple[str, str, int, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, service: str, status: int, flags: str) -> None:
        """Note an answer."""
        workload = ACTIVATOR if self.proxied else f"{service}-deployment"
        with self._lock:
            self.met[service, workload, status, flags] += 1

    def counted(self) -> dict[tuple[str, str, int, str], int]:
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
                    # As Envoy answers for an upstream that takes no connection, and the activator
                    # for a revision that has no pod.
                    status, text = 503, "upstream connect error"
                    flags = "-" if gateway.proxied else "UF"
                gateway.count(name, status, flags)
                self.send(status, text)

        with http_server.serving(Handler) as gateway.url:
            yield gateway
