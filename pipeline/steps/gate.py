"""Decide whether a registered version may go on, and write down why."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from pipeline import settings as configuration
from pipeline.errors import PipelineError
from pipeline.evaluation import FILE, VERDICT_FILE, Check, Evaluation, Verdict
from pipeline.limits import GateLimits, checks
from pipeline.progress import say
from pipeline.registry import Registry, RunTag, Tag, Version, faults
from pipeline.settings import Settings

__all__ = ["GateLimits", "run"]

ARTIFACTS = "gate"
"""Where an MLflow run has the verdict."""


def run(
    version: int,
    report: Path,
    *,
    job: str,
    limits: GateLimits,
    force: bool = False,
    settings: Settings | None = None,
) -> Verdict:
    """Hold a version's evaluation against limits.

    A version that is refused stays registered, as refused; one that is the champion goes on
    serving all the same. Nothing is raised: who called decides what follows.

    Args:
        report: what `evaluate` wrote, the folder or its `evaluation.json`.
        force: let the version pass although checks failed; the verdict says so.

    Raises:
        PipelineError: there is no such version, or the report is of another model.
        Unavailable: MLflow does not answer.
    """
    settings = settings or configuration.load()
    evaluation = _read(report)
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    judged = registry.version(version)
    if judged is None:
        raise PipelineError(f"MLflow has no version {version} of {settings.model_name}")
    subject = evaluation.candidate.subject
    if judged.digest and judged.digest != subject.digest:
        raise PipelineError(
            f"version {version} has digest {judged.digest[:12]}, the report is of a model with "
            f"{subject.digest[:12]}; evaluate that version"
        )
    champion = registry.champion()
    found = [*checks(evaluation, limits), *_same_champion(evaluation, judged, champion)]
    passed = all(check.passed for check in found)
    verdict = Verdict(passed=passed, forced=force and not passed, checks=tuple(found))
    _record(registry, run_id, judged, champion, verdict, settings)
    say(f"gate: version {version} {_word(verdict)}{verdict.reason and ': '}{verdict.reason}")
    return verdict


def _read(report: Path) -> Evaluation:
    file = report / FILE if report.is_dir() else report
    try:
        return Evaluation.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise PipelineError(f"{file}: not an evaluation ({type(error).__name__})") from error


def _same_champion(
    evaluation: Evaluation, judged: Version, champion: Version | None
) -> list[Check]:
    """Another run may have promoted its version since this one was measured."""
    if champion is None or champion.number == judged.number or champion.digest == judged.digest:
        return []
    measured = evaluation.champion
    same = measured is not None and measured.subject.digest == champion.digest
    detail = (
        f"compared with the champion, version {champion.number}"
        if same
        else f"version {champion.number} became the champion after the evaluation; evaluate again"
    )
    number = float(measured.subject.version or 0) if measured else 0.0
    return [Check(name="champion", passed=same, value=number, limit=champion.number, detail=detail)]


def _word(verdict: Verdict) -> str:
    return "passed" if verdict.passed else "forced" if verdict.forced else "refused"


def _record(
    registry: Registry,
    run_id: str,
    judged: Version,
    champion: Version | None,
    verdict: Verdict,
    settings: Settings,
) -> None:
    with faults.translated(f"MLflow at {settings.tracking_uri}"):
        registry.client.log_text(
            run_id, verdict.model_dump_json(indent=2) + "\n", f"{ARTIFACTS}/{VERDICT_FILE}"
        )
        registry.client.log_text(run_id, _page(judged, verdict), f"{ARTIFACTS}/verdict.md")
        registry.client.log_metric(run_id, "gate_failed_checks", _failed(verdict))
    tags = {Tag.GATE: _word(verdict), Tag.GATE_REASON: verdict.reason}
    serves = champion is not None and champion.number == judged.number
    if not verdict.accepted and not serves:
        tags[Tag.STATUS] = "refused"
    elif verdict.accepted and judged.tags.get(Tag.STATUS) == "refused":
        tags[Tag.STATUS] = "candidate"
    registry.tag(judged, tags)
    if judged.tags.get(Tag.GATE) != tags[Tag.GATE]:
        registry.event(judged, f"gate: {tags[Tag.GATE]}")
    noted = {RunTag.VERSION: str(judged.number)}
    if not verdict.accepted:
        noted |= {RunTag.OUTCOME: "refused", RunTag.REASON: verdict.reason}
    registry.note(run_id, noted)


def _failed(verdict: Verdict) -> int:
    return sum(not check.passed for check in verdict.checks)


def _page(judged: Version, verdict: Verdict) -> str:
    """The verdict as a reviewer reads it."""
    rows = [
        f"| {'passed' if one.passed else '**failed**'} | {_cell(one.name)} | {one.value:.4g} | "
        f"{one.limit:.4g} | {_cell(one.detail)} |"
        for one in verdict.checks
    ]
    head = [
        f"# Version {judged.number}: {_word(verdict)}",
        "",
        f"{len(verdict.checks)} checks, {_failed(verdict)} failed."
        + (" A person let it through all the same." if verdict.forced else ""),
        "",
        "| | check | value | limit | |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
