"""The gate on a real registry: its verdict, what it writes down, and that it holds."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import labelled
import pytest
import registered

from pipeline.errors import PipelineError
from pipeline.evaluation import Evaluation, Verdict
from pipeline.steps import evaluate, gate
from pipeline.steps.gate import GateLimits
from predictor import bundle, embedded

if TYPE_CHECKING:
    from pipeline.registry import Registry, Version
    from pipeline.settings import Settings

pytestmark = pytest.mark.server


@pytest.fixture
def version(tiny_bert: Path, settings: Settings, registry: Registry) -> Version:
    found = registry.version(registered.register(settings, tiny_bert))
    assert found is not None
    return found


def report(folder: Path, version: Version, f1: float = 0.8, **options: Any) -> Path:
    """An evaluation of this version."""
    made = labelled.evaluation(labelled.measured(f1, digest=version.digest), **options)
    made.write(folder / "evaluation.json")
    return folder


def again(registry: Registry, version: Version) -> Version:
    found = registry.version(version.number)
    assert found is not None
    return found


def test_a_version_that_reaches_its_limits_passes(
    tmp_path: Path, version: Version, settings: Settings, registry: Registry
) -> None:
    """Every number is in MLflow, for programs and for people."""
    limits = GateLimits(min_f1=0.7)

    verdict = gate.run(1, report(tmp_path, version), job="j", limits=limits, settings=settings)

    run = registry.client.get_run(registry.run("j").info.run_id)
    text = registry.client.download_artifacts(run.info.run_id, "gate/verdict.json", str(tmp_path))
    page = registry.client.download_artifacts(run.info.run_id, "gate/verdict.md", str(tmp_path))
    assert verdict.passed
    assert again(registry, version).tags["gate"] == "passed"
    assert Verdict.model_validate_json(Path(text).read_text("utf-8")) == verdict
    assert "| passed | min_f1 | 0.8 | 0.7 | F1: 0.800 reaches 0.700 |" in Path(page).read_text()
    assert "pipeline.outcome" not in run.data.tags


def test_a_version_that_fails_is_refused_and_stays_registered(
    tmp_path: Path, version: Version, settings: Settings, registry: Registry
) -> None:
    """With the reason on the version and on the run."""
    limits = GateLimits(min_f1=0.9)

    verdict = gate.run(1, report(tmp_path, version), job="j", limits=limits, settings=settings)

    tags, run = again(registry, version).tags, registry.run("j")
    assert not verdict.accepted
    assert (tags["gate"], tags["status"]) == ("refused", "refused")
    assert tags["gate_reason"] == "F1: 0.800 is below 0.900"
    assert run.data.tags["pipeline.outcome"] == "refused"
    assert run.data.tags["pipeline.reason"] == tags["gate_reason"]
    assert run.data.metrics["gate_failed_checks"] == 1


def test_a_person_can_let_it_through(
    tmp_path: Path, version: Version, settings: Settings, registry: Registry
) -> None:
    """The reason stays; forcing what passes anyway is a pass."""
    folder = report(tmp_path, version)

    forced = gate.run(
        1, folder, job="j", limits=GateLimits(min_f1=0.9), force=True, settings=settings
    )
    tags = again(registry, version).tags
    passed = gate.run(1, folder, job="j", limits=GateLimits(), force=True, settings=settings)

    assert (forced.passed, forced.forced, forced.accepted) == (False, True, True)
    assert (tags["gate"], tags.get("status")) == ("forced", None)
    assert tags["gate_reason"] == "F1: 0.800 is below 0.900"
    assert (passed.passed, passed.forced) == (True, False)


def test_judging_again_leaves_nothing_twice(
    tmp_path: Path, version: Version, settings: Settings, registry: Registry
) -> None:
    """A step that is tried again writes its line of history once; a later pass lifts a refusal."""
    folder = report(tmp_path, version)
    for _ in range(2):
        gate.run(1, folder, job="j", limits=GateLimits(min_f1=0.9), settings=settings)
    events = [text for _, text in again(registry, version).events]
    gate.run(1, folder, job="k", limits=GateLimits(), settings=settings)

    tags = again(registry, version).tags
    assert events == ["gate: refused"]
    assert (tags["gate"], tags["gate_reason"], tags["status"]) == ("passed", "", "candidate")


def test_the_champion_is_not_marked_as_refused(
    tmp_path: Path, version: Version, settings: Settings, registry: Registry
) -> None:
    """It serves on, whatever today's limits say of it."""
    registry.point("champion", version, "the first one")
    registry.tag(version, {"status": "champion"})

    gate.run(
        1, report(tmp_path, version), job="j", limits=GateLimits(min_f1=0.9), settings=settings
    )

    tags = again(registry, version).tags
    assert (tags["gate"], tags["status"]) == ("refused", "champion")


def test_a_champion_that_came_since_must_be_compared_with(
    tmp_path: Path, version: Version, settings: Settings, registry: Registry, tiny_deberta: Path
) -> None:
    """Another run may have promoted its version in between."""
    other = registry.version(registered.register(settings, tiny_deberta))
    assert other is not None
    registry.point("champion", other, "came first")

    stale = gate.run(1, report(tmp_path, version), job="j", limits=GateLimits(), settings=settings)
    champion = labelled.measured(digest=other.digest, version=other.number)
    fresh = gate.run(
        1,
        report(tmp_path, version, champion=champion),
        job="j",
        limits=GateLimits(),
        settings=settings,
    )

    assert stale.reason == "version 2 became the champion after the evaluation; evaluate again"
    assert fresh.passed


def test_a_report_of_another_model_is_refused(
    tmp_path: Path, version: Version, settings: Settings
) -> None:
    """As are one that is none, and a version that is not there."""
    labelled.evaluation().write(tmp_path / "evaluation.json")

    with pytest.raises(PipelineError, match="the report is of a model with aaaaaaaaaaaa"):
        gate.run(1, tmp_path, job="j", limits=GateLimits(), settings=settings)
    with pytest.raises(PipelineError, match="no version 7"):
        gate.run(7, tmp_path, job="j", limits=GateLimits(), settings=settings)
    (tmp_path / "evaluation.json").write_text("{}", encoding="utf-8")
    with pytest.raises(PipelineError, match="not an evaluation"):
        gate.run(1, tmp_path, job="j", limits=GateLimits(), settings=settings)


def spoiled(folder: Path) -> Path:
    """The embedded model as training on wrong labels leaves one: it loads and knows little."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(embedded.path(), folder)
    torch.manual_seed(1)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {
            name: value + value.std() * 0.9 * torch.randn_like(value)
            if value.is_floating_point() and value.dim() == 2
            else value
            for name, value in weights.items()
        },
        folder / "model.safetensors",
    )
    return folder


@pytest.mark.slow
def test_the_gate_holds_when_data_is_poisoned(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """Wrong labels to evaluate on, and a model that was trained on wrong ones, are both refused."""
    rows = labelled.sentences()[:24]
    labelled.write(tmp_path / "good" / "a.jsonl", rows)
    labels = [label for row in rows for *_, label in row["ner"]]
    random.Random(5).shuffle(labels)
    shuffled = iter(labels)
    poisoned = [
        {**row, "ner": [[start, end, next(shuffled)] for start, end, _ in row["ner"]]}
        for row in rows
    ]
    labelled.write(tmp_path / "poisoned" / "a.jsonl", poisoned)
    limits = GateLimits(min_f1=0.75)

    def judged(model: Path, data: str, limits: GateLimits) -> tuple[Evaluation, Verdict]:
        job, out = f"{model.name}-{data}", tmp_path / f"out-{model.name}-{data}"
        found = evaluate.run(model, tmp_path / data, out, job=job, settings=settings)
        known = registry.find(bundle.digest(model))
        number = known.number if known else registered.register(settings, model)
        return found, gate.run(number, out, job=job, limits=limits, settings=settings)

    measured, passed = judged(embedded.path(), "good", limits)
    _, on_poison = judged(embedded.path(), "poisoned", limits)
    first = registry.version(1)
    assert first is not None
    registry.point("champion", first, "passed the gate")
    _, worse = judged(spoiled(tmp_path / "spoiled"), "good", GateLimits())

    assert (passed.passed, measured.candidate.micro.f1 > 0.9) == (True, True)
    assert [check.name for check in on_poison.checks if not check.passed] == ["min_f1"]
    assert [check.name for check in worse.checks if not check.passed] == ["regression"]
    assert again(registry, first).tags["gate"] == "refused"
    refused = registry.version(2)
    assert refused is not None
    assert refused.tags["status"] == "refused"
