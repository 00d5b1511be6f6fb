"""Which variables send traces, and which are mistakes."""

from __future__ import annotations

import pytest

from predictor import otlp
from predictor.errors import StartupError

BASE, OWN = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
HERE = {BASE: "http://collector:4318"}


def asked(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str | None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return otlp.endpoint()


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        ({BASE: ""}, None),
        (HERE, HERE[BASE]),
        ({**HERE, OWN: "https://other/v1/traces"}, "https://other/v1/traces"),
        ({**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, HERE[BASE]),
        ({**HERE, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({**HERE, "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_endpoint(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], endpoint: str | None
) -> None:
    """That of traces comes before that of all signals; without one, or switched off, none."""
    assert asked(monkeypatch, **variables) == endpoint


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({BASE: "collector:4318"}, f"{BASE}='collector:4318': must be an address like http://"),
        ({BASE: "http://"}, f"{BASE}='http://': must be an address"),
        ({BASE: "http://collector:port"}, "must be an address"),
        ({**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "_PROTOCOL='grpc': must be http/proto"),
        ({**HERE, "OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin': must be otlp or none"),
    ],
)
def test_mistakes(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str) -> None:
    """What would send no traces, and say nothing of it, stops the start."""
    with pytest.raises(StartupError) as caught:
        asked(monkeypatch, **variables)

    assert message in str(caught.value)
