"""Fixtures that every kind of test shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import programs
import pytest
import servers

from predictor.extraction import Extractor

if TYPE_CHECKING:
    from pipeline.local.process import Process
    from pipeline.local.servers import Database, ObjectStore
    from pipeline.registry import Registry
    from pipeline.settings import Settings


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models in this process and in those it starts leave cores to the servers beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLINER_THREADS", "1")
        yield


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
    """One real predictor process with the embedded model, for all tests that do no harm.

    None of them wants to be refused, however slow this machine is just now.
    """
    folder = tmp_path_factory.mktemp("server")
    with servers.running(folder, settings={"max_queue_seconds": 600}) as started:
        yield started


@pytest.fixture
def start_server(
    tmp_path: Path,
) -> Callable[..., AbstractContextManager[servers.RunningServer]]:
    """Starts a server of one's own: `with start_server(settings={...}) as server`."""

    def start(*arguments: str, **options: Any) -> AbstractContextManager[servers.RunningServer]:
        return servers.running(tmp_path, *arguments, **options)

    return start


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One real MLflow server (SQLite, local files) for all tests that do it no harm."""
    from pipeline.local import servers as real

    with real.mlflow(tmp_path_factory.mktemp("mlflow"), env=webhooks()) as started:
        yield started


def webhooks() -> dict[str, str]:
    """What MLflow needs to deliver webhooks to this machine."""
    from cryptography.fernet import Fernet

    return {
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        # A new webhook is not noticed for a minute otherwise.
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    }


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One real MariaDB."""
    from pipeline.local import servers as real

    if not programs.MARIADB:
        pytest.skip(programs.NO_MARIADB)
    with real.mariadb(tmp_path_factory.mktemp("mariadb")) as started:
        yield started


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """One real S3 server with the buckets `mlflow` and `data`; `use_s3` lets a test reach it."""
    from pipeline.local import servers as real

    with real.s3(tmp_path_factory.mktemp("s3"), buckets=("mlflow", "data")) as started:
        yield started


@pytest.fixture
def use_s3(s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The S3 server, with its address and keys in this process's environment."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return s3


@pytest.fixture(scope="session")
def mlflow_on_mariadb(
    tmp_path_factory: pytest.TempPathFactory, mariadb: Database, s3: ObjectStore
) -> Iterator[Process]:
    """One real MLflow server on MariaDB with artifacts in S3, as on the cluster."""
    from pipeline.local import servers as real

    folder = tmp_path_factory.mktemp("mlflow-mariadb")
    with real.mlflow(
        folder,
        store=mariadb.uri,
        artifacts="s3://mlflow/artifacts",
        env={**s3.env, **webhooks()},
    ) as started:
        yield started


@pytest.fixture
def settings(mlflow_server: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Pipeline settings for a registered model and an experiment of one's own on MLflow."""
    from pipeline.settings import Settings

    name = f"ner-{uuid4().hex[:8]}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return Settings(
        tracking_uri=mlflow_server.url,
        model_name=name,
        experiment=name,
        home=tmp_path / "home",
        http_retries=1,
        http_timeout_seconds=10,
    )


@pytest.fixture
def registry(settings: Settings) -> Registry:
    """The registry that `settings` leads to, with nothing in it."""
    from pipeline.registry import Registry

    return Registry(settings)
