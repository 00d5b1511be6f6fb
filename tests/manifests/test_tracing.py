"""The component `tracing`: both processes are told of the collector, and may reach it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import kustomized
import manifest_references as references
import pytest
from kustomized import Object

from pipeline import graph
from predictor import otlp

BUILT = ["+pipeline+tracing", "+istio-standard+pipeline+standard+hpa+tracing"]
PREDICTOR = {"serving.kserve.io/inferenceservice": "gliner"}
RUN = {"pipeline/runid": "1"}


def egress(built: list[Object], labels: dict[str, str]) -> list[Any]:
    """What pods with these labels may call."""
    return [
        rule
        for policy in kustomized.of(built, "NetworkPolicy")
        if references.selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get("egress", ())
    ]


def lets_out(rules: list[Any], namespace: str, port: int) -> bool:
    """Whether a namespace's port is among it."""
    there = {"kubernetes.io/metadata.name": namespace}
    return any(
        any(
            references.selects(to["namespaceSelector"], there)
            for to in rule.get("to", ())
            if "namespaceSelector" in to
        )
        and ("ports" not in rule or port in [one["port"] for one in rule["ports"]])
        for rule in rules
    )


@pytest.mark.parametrize("name", BUILT)
def test_both_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictor and steps get the same address, which both take."""
    built = kustomized.build(name)
    [[_, container]] = kustomized.containers(built)
    env = {one["name"]: one["value"] for one in container["env"]}
    [config] = kustomized.of(built, "ConfigMap")
    for key in env:
        if key.startswith("OTEL_"):
            monkeypatch.setenv(key, env[key])

    endpoint = otlp.endpoint()

    assert endpoint == config["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in graph.CONFIG


@pytest.mark.parametrize("name", BUILT)
def test_both_may_call_it(name: str) -> None:
    """The network lets them; without the component the predictor calls no collector."""
    built = kustomized.build(name)
    [config] = kustomized.of(built, "ConfigMap")
    address = urlsplit(config["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"])
    _, namespace, *_ = str(address.hostname).split(".")
    port = int(address.port or 0)

    assert lets_out(egress(built, PREDICTOR), namespace, port)
    assert lets_out(egress(built, RUN), namespace, port)
    without = kustomized.build(name.removesuffix("+tracing"))
    assert not lets_out(egress(without, PREDICTOR), namespace, port)
