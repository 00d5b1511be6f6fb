"""Fixtures that every kind of test shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import servers

from predictor.extraction import Extractor


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights and 512 absolute positions."""
    import checkpoints  # torch and GLiNER take seconds that many runs have no use for

    return checkpoints.write(tmp_path_factory.mktemp("tiny") / "bert", "bert")


@pytest.fixture(scope="session")
def tiny_deberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights and relative positions, as gliner_medium has them."""
    import checkpoints

    return checkpoints.write(tmp_path_factory.mktemp("tiny") / "deberta", "deberta")


@pytest.fixture(scope="session")
def embedded() -> Extractor:
    """The embedded model in this process."""
    from predictor import embedded as shipped
    from predictor.engines.torch import TorchEngine

    return Extractor(TorchEngine.load(shipped.path(), "cpu", "fp32"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RunningServer]:
    """One real predictor process with the embedded model, for all tests that do no harm."""
    with servers.running(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def start_server(
    tmp_path: Path,
) -> Callable[..., AbstractContextManager[servers.RunningServer]]:
    """Starts a server of one's own: `with start_server(settings={...}) as server`."""

    def start(*arguments: str, **options: Any) -> AbstractContextManager[servers.RunningServer]:
        return servers.running(tmp_path, *arguments, **options)

    return start
