"""The addresses at which versions on KServe answer."""

from __future__ import annotations

from typing import Any

import kserve_cluster
import pytest
from kserve_cluster import ONE, TWO, digest, first
from kserve_ingress import Ingress
from kubernetes_api import KubernetesApi

from pipeline.rollout.kserve import KServe
from pipeline.rollout.probes import Caller


def test_routes_lead_past_the_split(api: KubernetesApi, ingress: Ingress) -> None:
    """Behind Istio one address serves all: Host headers of the tags tell the versions apart."""
    backend = kserve_cluster.backend(predictor_url=ingress.url)
    first(backend)
    before = (backend.candidate(), backend.stable())
    backend.start(TWO, ONE)
    backend.step(50)
    stable = backend.stable()
    backend.candidate()
    found = {name: asked(route) for name, route in routes(backend).items()}
    backend.step(100)

    assert before[0] == before[1]
    assert stable is not None
    assert stable.headers == {"Host": "prev-gliner-predictor.gliner.example.com"}
    assert found == {"candidate": {digest(2)}, "stable": {digest(1)}, "public": both()}
    assert (backend.stable(), asked(backend.candidate())) == (None, {digest(2)})
    named = kserve_cluster.backend(
        predictor_url=ingress.url, predictor_host="ner.example.org"
    ).public()
    assert named.headers == {"Host": "ner.example.org"}


def test_each_route_carries_the_key(api: KubernetesApi, ingress: Ingress) -> None:
    """Where predictors ask for one; and it is shown to no one who prints a route."""
    backend = kserve_cluster.backend(predictor_url=ingress.url, api_key="drawn")
    first(backend)
    found = [*routes(backend).values(), backend.candidate()]

    assert {route.headers["X-API-Key"] for route in found} == {"drawn"}
    assert "drawn" not in repr(found)


@pytest.mark.parametrize("headless", [False, True])
def test_services_lead_past_the_split(api: KubernetesApi, ingress: Ingress, headless: bool) -> None:
    """In Standard mode each version has a Service; a headless one is asked at the pods' port."""
    backend = kserve_cluster.backend("Standard", predictor_url=ingress.url)
    first(backend)
    backend.start(TWO, ONE)
    backend.step(50)
    found = {name: asked(route) for name, route in routes(backend).items()}
    api.controller.headless = headless

    port = 8080 if headless else ingress.port
    assert backend.candidate().url == f"http://gliner-v2-predictor.gliner.svc:{port}"
    assert found == {"candidate": {digest(2)}, "stable": {digest(1)}, "public": both()}


def both() -> set[str]:
    """Who answers at 50 %."""
    return {digest(1), digest(2)}


def routes(backend: KServe) -> dict[str, Any]:
    """All routes of a backend."""
    return {
        "candidate": backend.candidate(),
        "stable": backend.stable(),
        "public": backend.public(),
    }


def asked(route: Any) -> set[str]:
    """Digests that answer on a route."""
    caller = Caller(route, 5)
    try:
        return {caller.predict({"text": "Ada"}).digest for _ in range(10)}
    finally:
        caller.close()
