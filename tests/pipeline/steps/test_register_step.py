"""Tests of `pipeline.steps.register` on a real MLflow server."""

from __future__ import annotations

import shutil
from pathlib import Path

import lifecycle
import pytest

from pipeline.errors import PipelineError
from pipeline.registry import Registry
from pipeline.settings import Settings
from pipeline.steps import register
from predictor import bundle

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def candidate(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle."""
    folder = tmp_path_factory.mktemp("register") / "candidate"
    bundle.write(str(tiny_bert), folder)
    return folder


def test_a_version_has_what_a_reviewer_needs(
    candidate: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """Scores, facts, a description, and metrics on the files that name the data."""
    report = lifecycle.report(tmp_path, candidate, 0.8, person=0.9, city=0.7)

    number = register.run(candidate, report, job="job", settings=settings)

    version = registry.version(number)
    assert version is not None
    assert version.digest == bundle.digest(candidate)
    expected = {"f1": "0.8000", "f1.person": "0.9000", "status": "candidate", "job": "job"}
    assert expected.items() <= version.tags.items()
    assert "| person | 100 |" in version.description
    model = registry.client.get_logged_model(version.model_id)
    scores = {one.key: (one.value, one.dataset_digest) for one in model.metrics or []}
    assert scores["f1"] == (0.8, "d" * 36)
    assert model.params["bundle_digest"] == version.digest
    assert registry.run("job").data.tags["pipeline.version"] == "1"


def test_the_same_bundle_again_is_the_same_version(
    candidate: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """Measured on other data, the version has the new scores and none of the old labels."""
    first = lifecycle.report(tmp_path / "a", candidate, 0.8, person=0.9, city=0.7)
    second = lifecycle.report(tmp_path / "b", candidate, 0.6, person=0.6)

    numbers = [
        register.run(candidate, report, job=job, settings=settings)
        for job, report in (("one", first), ("two", second), ("two", second))
    ]

    [version] = registry.versions()
    assert numbers == [version.number] * 3
    assert version.tags["f1"] == "0.6000"
    assert "f1.city" not in version.tags
    assert "0.600 (0.550 to 0.650)" in version.description


def test_a_step_killed_after_its_upload_does_not_upload_again(
    candidate: Path,
    tmp_path: Path,
    settings: Settings,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The files that arrived whole are those that get registered."""
    report = lifecycle.report(tmp_path, candidate)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            register.run(candidate, report, job="job", settings=settings)
    before = registry.versions()
    register.run(candidate, report, job="job", settings=settings)

    experiment = registry.run("job").info.experiment_id
    [model] = registry.client.search_logged_models([experiment])
    [version] = registry.versions()
    assert before == []
    assert version.model_id == model.model_id


def test_scores_of_another_bundle_are_refused(
    candidate: Path, tiny_deberta: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """A version never stands with scores that are not its own."""
    other = tmp_path / "other"
    shutil.copytree(tiny_deberta, other)

    with pytest.raises(PipelineError, match="evaluate it first"):
        register.run(
            candidate, lifecycle.report(tmp_path / "r", other), job="job", settings=settings
        )

    assert registry.versions() == []
