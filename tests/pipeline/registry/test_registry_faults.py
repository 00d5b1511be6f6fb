"""Tests of registering on MariaDB and S3 while one of them fails."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import cutting_proxy
import lifecycle
import pytest
from cutting_proxy import CuttingProxy

from pipeline.errors import Unavailable
from pipeline.local import servers as real
from pipeline.local.process import Process, free_port
from pipeline.local.servers import ObjectStore
from pipeline.registry import Registry
from pipeline.settings import Settings
from pipeline.steps import register
from predictor import bundle

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture
def proxy(use_s3: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[CuttingProxy]:
    """The way to S3 from this process."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with cutting_proxy.to(use_s3.url) as between:
        for name in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.setenv(name, between.url)
        yield between


def test_an_s3_that_fails_in_mid_upload_leaves_no_version(
    tiny_bert: Path, tmp_path: Path, mlflow_on_mariadb: Process, proxy: CuttingProxy
) -> None:
    """Nothing is registered until all is there; the next try registers it once, whole."""
    name = f"ner-{uuid4().hex[:8]}"
    settings = Settings(
        tracking_uri=mlflow_on_mariadb.url, model_name=name, experiment=name, http_retries=0
    )
    registry = Registry(settings)
    bundle.write(str(tiny_bert), tmp_path / "out")
    report = lifecycle.report(tmp_path / "report", tmp_path / "out")

    proxy.left = 200_000
    with pytest.raises(Unavailable):
        register.run(tmp_path / "out", report, job="job", settings=settings)
    before = registry.versions()
    proxy.up()
    number = register.run(tmp_path / "out", report, job="job", settings=settings)

    [version] = registry.versions()
    uri = registry.bundle_uri(version)
    fetched = registry.download(version, tmp_path / "fetched")
    assert before == []
    assert version.number == number
    assert uri.startswith("s3://mlflow/artifacts/")
    assert uri.endswith("/artifacts/bundle/")
    assert bundle.digest(fetched) == version.digest
    assert (fetched / "golden.json").is_file()


# PyMySQL leaves a socket that could not connect to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_database_may_be_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is gone MLflow does not answer; afterwards nothing needs to be done."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port()
    with (
        real.mariadb(tmp_path / "db", port=port) as database,
        real.mlflow(tmp_path / "mlflow", store=database.uri) as mlflow,
    ):
        registry = Registry(Settings(tracking_uri=mlflow.url, experiment="x", model_name="x"))
        run_id = registry.run("job").info.run_id
        database.process.kill()
        with pytest.raises(Unavailable, match="does not answer"):
            registry.run("job")
        with real.mariadb(tmp_path / "db", port=port):
            again = registry.run("job").info.run_id
        gc.collect()

    assert again == run_id
