"""Kubeflow's API with nothing in it, and settings that lead to it."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import kubeflow_api
import pytest
from kubeflow_api import Kubeflow
from rich.console import Console

from pipeline.runs import kubeflow
from pipeline.settings import Settings


@pytest.fixture
def server() -> Iterator[Kubeflow]:
    """Kubeflow's API with nothing in it."""
    with kubeflow_api.running() as started:
        yield started


@pytest.fixture
def settings(server: Kubeflow) -> Settings:
    """Settings that lead to it."""
    return Settings(kfp_host=server.url, http_retries=2, http_timeout_seconds=5)


@pytest.fixture
def console() -> Console:
    """A console whose text can be read back."""
    return Console(file=StringIO(), width=200)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kubeflow, "POLL_SECONDS", 0.01)
    # kfp's client would read a namespace from the home folder of whoever tests.
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
