"""Tests of `pipeline.steps.candidate`."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, SettingsError
from pipeline.settings import Settings
from pipeline.steps import candidate
from predictor import bundle, embedded

pytestmark = pytest.mark.server


def test_a_checkpoint_becomes_a_bundle(tiny_bert: Path, tmp_path: Path, settings: Settings) -> None:
    """What was in the way from an earlier try is gone."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "rest").write_text("of an earlier try")

    subject = candidate.run(str(tiny_bert), out, job="job", settings=settings)

    assert subject.digest == bundle.digest(tiny_bert)
    assert subject.size_bytes == (tiny_bert / "model.safetensors").stat().st_size
    assert json.loads((out / "golden.json").read_text())["requests"]
    assert not (out / "rest").exists()


def test_a_complete_bundle_is_copied_as_it_is(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Golden answers recorded anew would hide that a library changed a model."""
    monkeypatch.setattr(bundle, "write", lambda *_: pytest.fail("recorded anew"))

    candidate.run("embedded", tmp_path / "out", job="job", settings=settings)

    copied = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert copied == {file.name: file.read_bytes() for file in embedded.path().iterdir()}


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("nowhere", PipelineError, "no such folder"),
        ("models:/a/b/c", SettingsError, "models:/NAME/NUMBER"),
        ("models:/unknown@champion", SettingsError, "no such version"),
    ],
)
def test_a_source_that_is_none_is_named(
    source: str, kind: type[Exception], message: str, tmp_path: Path, settings: Settings
) -> None:
    """One line says what was wrong and what would be right."""
    with pytest.raises(kind, match=message):
        candidate.run(source, tmp_path / "out", job="job", settings=settings)

    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_half(tmp_path: Path, settings: Settings) -> None:
    """The error says that it is the disk, and no folder looks like a bundle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(PipelineError, match=r"disk.*make room"):
            candidate.run("embedded", tmp_path / "out", job="job", settings=settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []
