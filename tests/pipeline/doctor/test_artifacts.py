"""What `doctor` finds about the store of artifacts."""

from __future__ import annotations

from pathlib import Path

import findings
import pytest

from pipeline.doctor import artifacts
from pipeline.local.servers import ObjectStore
from pipeline.registry import Registry
from pipeline.settings import Settings

pytestmark = pytest.mark.server


def rooted(registry: Registry, root: str) -> None:
    registry.client.create_experiment(registry.settings.experiment, artifact_location=root)


def test_a_bucket_that_we_may_use(
    registry: Registry, settings: Settings, use_s3: ObjectStore
) -> None:
    """A probe is written, read and taken away again."""
    rooted(registry, "s3://mlflow/doctor/1")

    found = findings.only(artifacts.check(settings))

    assert found.state == "ok"
    assert not list((use_s3.folder / "mlflow").rglob("doctor-*"))


@pytest.mark.parametrize(
    ("root", "variables", "text", "remedy"),
    [
        ("s3://missing/1", {}, "bucket missing", "make the bucket missing"),
        ("s3://mlflow/1", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "mlflow", "AWS_SECRET_ACCESS_KEY"),
        ("s3://mlflow/1", {"AWS_ACCESS_KEY_ID": "stranger"}, "mlflow", "AWS_ACCESS_KEY_ID"),
        ("s3://mlflow/1", {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "127.0.0.1:9", "AWS_"),
    ],
    ids=["no bucket", "wrong secret", "unknown key", "no server"],
)
def test_a_bucket_that_we_may_not_use(
    root: str,
    variables: dict[str, str],
    text: str,
    remedy: str,
    registry: Registry,
    settings: Settings,
    use_s3: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What S3 refuses is said with what to set, and no key is shown."""
    rooted(registry, root)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    found = list(artifacts.check(settings))

    assert found[-1].state == "wrong"
    assert text in found[-1].text
    assert remedy in found[-1].remedy
    assert use_s3.env["AWS_SECRET_ACCESS_KEY"] not in str(found)


def test_two_addresses_of_s3(
    registry: Registry, settings: Settings, use_s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow and boto3 read their own variables; that they differ is said."""
    rooted(registry, "s3://mlflow/1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://other.example.com")

    found = list(artifacts.check(settings))

    assert [one.state for one in found] == ["wrong", "ok"]
    assert "different servers" in found[0].text


@pytest.mark.parametrize("root", ["mlflow-artifacts:/1", "folder"])
def test_artifacts_that_kserve_cannot_read(
    root: str, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    """Proxied artifacts and folders do on one machine and not on a cluster."""
    rooted(registry, root if ":" in root else tmp_path.as_uri())

    here = findings.only(artifacts.check(settings))
    there = findings.only(artifacts.check(settings.model_copy(update={"rollout": "kserve"})))

    assert (here.state, there.state) == ("ok", "wrong")
    assert "KServe cannot read" in there.text
    assert "--no-serve-artifacts --default-artifact-root s3://" in there.remedy


def test_before_the_first_run_the_default_root_is_looked_at(settings: Settings) -> None:
    """With no experiment yet, what MLflow would give it is what counts."""
    found = findings.only(artifacts.check(settings))

    assert (found.state, "artifacts" in found.text) == ("ok", True)
