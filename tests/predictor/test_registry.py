"""The registry as a source: what is asked for, what is there, and what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import registered

from pipeline.settings import Settings
from predictor import bundle, registry
from predictor.downloads import Downloads
from predictor.errors import BundleError, Missing, Unavailable
from predictor.registry import Registry, Source, parse

if TYPE_CHECKING:
    from pipeline.local.process import Process
    from pipeline.local.servers import ObjectStore


@pytest.fixture
def reader(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry that `settings` leads to."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    return Registry()


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("models:/gliner-ner@champion", Source("gliner-ner", alias="champion")),
        ("models:/gliner-ner/12", Source("gliner-ner", number="12")),
        ("models:/a b@c", Source("a b", alias="c")),
    ],
)
def test_sources(source: str, parts: Source) -> None:
    """A source names a model, and a version by alias or number."""
    assert parse(source) == parts
    assert str(parts) == source


@pytest.mark.parametrize(
    "source", ["models:/", "models:/a", "models:/a/latest", "models:/a/0", "models:/a/b@c"]
)
def test_malformed_sources(source: str) -> None:
    """Anything else is refused with the two forms there are."""
    with pytest.raises(BundleError, match="write models:/NAME@ALIAS or models:/NAME/NUMBER"):
        parse(source)


def test_no_registry_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address nothing is guessed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with pytest.raises(BundleError, match="needs MLFLOW_TRACKING_URI"):
        Registry()


def test_registry_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is told in one line, without the password to it."""
    # pragma: allowlist nextline secret
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with pytest.raises(Unavailable, match=r"MLflow at http://127\.0\.0\.1:9 does not") as caught:
        Registry().find(parse("models:/x@champion"))
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.server
def test_find_by_alias_and_number(settings: Settings, reader: Registry, tiny_bert: Path) -> None:
    """An alias and a number lead to the same version, with its digest."""
    number = registered.register(settings, tiny_bert)
    registered.point(settings, number)
    name = settings.model_name

    by_alias = reader.find(Source(name, alias="champion"))

    assert by_alias == reader.find(Source(name, number=str(number)))
    assert (by_alias.number, by_alias.digest) == ("1", bundle.digest(tiny_bert))


@pytest.mark.server
def test_what_is_not_there(settings: Settings, reader: Registry, tiny_bert: Path) -> None:
    """A model, an alias and a version that do not exist are each told in one line."""
    with pytest.raises(Missing, match="Registered Model with name=nobody not found"):
        reader.find(Source("nobody", alias="champion"))
    registered.register(settings, tiny_bert)
    with pytest.raises(Missing, match="alias champion not found"):
        reader.find(Source(settings.model_name, alias="champion"))
    with pytest.raises(Missing, match="version=7"):
        reader.find(Source(settings.model_name, number="7"))


@pytest.mark.server
def test_locate(settings: Settings, reader: Registry, tiny_bert: Path) -> None:
    """A version is a bundle like any other, known by its number; only the bundle is fetched."""
    registered.register(settings, tiny_bert)

    found = bundle.locate(f"{registry.SCHEME}{settings.model_name}/1")

    assert (found.version, found.digest) == ("1", bundle.digest(tiny_bert))
    assert (found.manifest.id, found.manifest.revision) == (settings.model_name, "1")
    assert not list(found.folder.parent.rglob("python_model.pkl"))


@pytest.mark.server
def test_locate_refuses_other_files(settings: Settings, reader: Registry, tiny_bert: Path) -> None:
    """Files that are not those that were registered never load."""
    registered.register(settings, tiny_bert, digest="0" * 64)

    with pytest.raises(BundleError, match="tag bundle_digest says 0000000000000000…"):
        bundle.locate(f"{registry.SCHEME}{settings.model_name}/1")


@pytest.mark.server
def test_bundle_is_written_from_the_registry(
    settings: Settings, reader: Registry, tiny_bert: Path, tmp_path: Path
) -> None:
    """A version without a digest and without golden answers becomes a bundle with both."""
    registered.register(settings, tiny_bert, digest="")

    written = bundle.write(f"{registry.SCHEME}{settings.model_name}/1", tmp_path / "out")

    assert written.digest == bundle.digest(tiny_bert)
    assert (written.folder / "golden.json").is_file()


@pytest.mark.server
def test_versions_in_s3(
    mlflow_on_mariadb: Process,
    use_s3: ObjectStore,
    tiny_bert: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A version comes from S3 as on the cluster; while S3 is down nothing half is left."""
    name = f"s3-{uuid4().hex[:8]}"
    settings = Settings(tracking_uri=mlflow_on_mariadb.url, model_name=name, experiment=name)
    registered.register(settings, tiny_bert)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    reader, downloads = Registry(), Downloads(tmp_path)
    version = reader.find(Source(name, number="1"))
    with monkeypatch.context() as down:
        for variable in ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            down.setenv(variable, "http://127.0.0.1:9")
        down.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(Unavailable, match=r"version 1 of .*: its files cannot be had: "):
            bundle.fetch(version, reader, downloads)
    assert list(tmp_path.iterdir()) == []

    found = bundle.fetch(version, reader, downloads)

    assert found.digest == bundle.digest(tiny_bert)
    assert {one.name for one in found.folder.iterdir()} == {one.name for one in tiny_bert.iterdir()}
