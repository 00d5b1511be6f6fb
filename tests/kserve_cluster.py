"""Versions, and KServe backends on the Kubernetes API of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import kubernetes_server
import pytest
from kubernetes_api import KubernetesApi

from pipeline.registry import Version
from pipeline.rollout.kserve import KServe, Pace
from pipeline.settings import Settings

PACE = Pace(ready=2, failed=0.2, poll=0.005)
MODES = ["Knative", "Standard"]


def version(number: int) -> Version:
    """A version whose bundle has a digest of one digit."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Version(number, "", "", now, "", {"bundle_digest": str(number) * 64}, ())


def uri(number: int) -> str:
    """Where a version lies."""
    return f"s3://mlflow/{number}/artifacts/bundle/"


def digest(number: int) -> str:
    """What a version's bundle has."""
    return version(number).digest


ONE, TWO, THREE = version(1), version(2), version(3)


@contextmanager
def reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """A Kubernetes API that this process's kubeconfig leads to."""
    with kubernetes_server.running() as started:
        monkeypatch.setenv("KUBECONFIG", str(started.kubeconfig(folder / "kubeconfig")))
        yield started


def backend(mode: str = "Knative", pace: Pace = PACE, **changed: Any) -> KServe:
    """A backend of one's own, as each process has."""
    values: dict[str, Any] = {"http_retries": 2, "http_timeout_seconds": 5, "rollout": "kserve"}
    settings = Settings(**{**values, "deployment_mode": mode, **changed})
    return KServe(settings, uri=lambda one: uri(one.number), pace=pace)


def first(backend: KServe) -> None:
    """Version 1 serves."""
    backend.start(ONE, None)
    backend.promote(ONE)
