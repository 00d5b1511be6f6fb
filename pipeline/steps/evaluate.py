"""Measure a candidate, and the champion on the same data, and leave all of it in MLflow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from pipeline import dataset, scoring
from pipeline import settings as configuration
from pipeline.errors import DataError, PipelineError
from pipeline.evaluation import FILE, Dataset, Evaluation, Measured, Subject
from pipeline.measuring import measure, metrics, report
from pipeline.measuring.measure import Model, Reading
from pipeline.progress import say
from pipeline.registry import Registry, faults, tables
from pipeline.settings import Settings
from pipeline.steps import fetch_data

ARTIFACTS = "evaluation"
"""Where an MLflow run has what this step writes."""


def run(
    candidate: Path, data: Path, out: Path, *, job: str, settings: Settings | None = None
) -> Evaluation:
    """Measure a bundle and, where another model is the champion, that one too.

    `out` gets `evaluation.json`, pictures and tables of what went wrong; the MLflow run gets
    the metrics and a copy of them below `evaluation/`.

    Each is measured with the engine that its bundle names, as a predictor here would serve it.

    Args:
        candidate: a bundle, as it is to be registered.
        data: a folder that `fetch_data` wrote, or any with `*.jsonl` files.

    Raises:
        DataError: the data is not there, not labelled rows, or not what was fetched.
        PipelineError: a model cannot be loaded.
        Unavailable: MLflow or its files do not answer.
    """
    settings = settings or configuration.load()
    files = dataset.read(data)
    described = _described(files, data)
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    out.mkdir(parents=True, exist_ok=True)
    ours = Model("candidate", candidate, subject(candidate))
    with tempfile.TemporaryDirectory() as folder:
        theirs = _champion(registry, ours.subject.digest, Path(folder))
        models = [ours, *([theirs] if theirs else [])]
        texts = measure.texts(files)
        readings = _measured(models, texts, described.labels)
    evaluation = _evaluation(described, readings, texts)
    evaluation.write(out / FILE)
    report.write(out, evaluation, readings, texts)
    _record(registry, run_id, evaluation, out)
    _tell(evaluation)
    return evaluation


def subject(folder: Path, version: int | None = None) -> Subject:
    """Which model a bundle holds.

    Raises:
        PipelineError: it holds none.
    """
    from predictor import bundle
    from predictor.errors import StartupError

    try:
        found = bundle.locate(str(folder))
    except StartupError as error:
        raise PipelineError(f"no model to measure: {error}") from error
    weights = [found.folder / name for name in bundle.WEIGHTS]
    return Subject(
        id=found.manifest.id,
        revision=found.manifest.revision,
        digest=found.digest,
        size_bytes=sum(file.stat().st_size for file in weights if file.is_file()),
        version=version,
    )


def _described(files: Sequence[dataset.File], data: Path) -> Dataset:
    """What the data is, from where it was fetched."""
    beside = data / fetch_data.FILE
    if not beside.is_file():
        return dataset.describe(files, str(data))
    fetched = Dataset.model_validate_json(beside.read_text(encoding="utf-8"))
    if fetched.digest != dataset.digest(files):
        raise DataError(f"{data}: its rows are not those that were fetched; fetch them again")
    return fetched


def _champion(registry: Registry, candidate: str, folder: Path) -> Model | None:
    """The model that serves, downloaded; None where there is none or it is the candidate."""
    version = registry.champion()
    if version is None:
        say("no champion to compare with")
        return None
    if version.digest == candidate:
        say(f"the candidate is the champion, version {version.number}; it is measured once")
        return None
    say(f"champion: version {version.number}, downloading")
    files = registry.download(version, folder)
    return Model("champion", files, subject(files, version.number))


def _measured(
    models: Sequence[Model], texts: Sequence[measure.Text], labels: Sequence[str]
) -> list[Reading]:
    true = [scoring.truth(one.row, one.labels) for one in texts]
    extractors = [measure.load(one.folder) for one in models]
    found = [
        measure.read(extractor, texts, model.name)
        for extractor, model in zip(extractors, models, strict=True)
    ]
    speeds = measure.latency(extractors, texts)
    return [
        Reading(
            model,
            given,
            scoring.tally(true, list(map(scoring.given, given)), labels),
            speed,
            f"{extractor.engine.name} {extractor.engine.precision}",
        )
        for model, extractor, given, speed in zip(models, extractors, found, speeds, strict=True)
    ]


def _evaluation(
    described: Dataset, readings: Sequence[Reading], texts: Sequence[measure.Text]
) -> Evaluation:
    words = [one.words for one in texts]
    measured = []
    for one in readings:
        scores = scoring.scores(one.tally)
        measured.append(
            Measured(
                subject=one.model.subject,
                micro=scores.micro,
                macro_f1=scores.macro_f1,
                labels=scores.labels,
                by_length=scoring.by_length(one.tally, words),
                latency=one.latency,
                engine=one.engine,
            )
        )
    both = len(readings) > 1
    return Evaluation(
        created_at=datetime.now(timezone.utc),
        dataset=described,
        candidate=measured[0],
        champion=measured[1] if both else None,
        comparison=scoring.compare(readings[0].tally, readings[1].tally) if both else None,
    )


def _record(registry: Registry, run_id: str, evaluation: Evaluation, out: Path) -> None:
    from mlflow.entities import Metric, Param, RunTag

    now = time.time_ns() // 1_000_000
    values = [Metric(name, value, now, 0) for name, value in metrics.of(evaluation).items()]
    params = {
        "dataset_uri": evaluation.dataset.uri,
        "dataset_digest": evaluation.dataset.digest,
        "candidate_id": evaluation.candidate.subject.id,
        "candidate_digest": evaluation.candidate.subject.digest,
        "threshold": scoring.THRESHOLD,
    }
    tags = {"candidate_engine": evaluation.candidate.engine}
    if champion := evaluation.champion:
        tags["champion_version"] = str(champion.subject.version)
        tags["champion_engine"] = champion.engine
    with faults.translated(f"MLflow at {registry.settings.tracking_uri}"):
        registry.client.log_batch(
            run_id,
            metrics=values,
            params=[Param(key, str(value)[:500]) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        registry.client.log_artifacts(run_id, str(out), ARTIFACTS)
    tables.show(registry, run_id, f"{ARTIFACTS}/{report.TABLE}")


def _tell(evaluation: Evaluation) -> None:
    micro = evaluation.candidate.micro
    text = f"candidate: F1 {micro.f1:.3f} ({micro.f1_low:.3f} to {micro.f1_high:.3f})"
    if evaluation.champion and evaluation.comparison:
        difference = evaluation.comparison.micro
        text += (
            f", champion: {evaluation.champion.micro.f1:.3f}, difference {difference.value:+.3f} "
            f"({difference.low:+.3f} to {difference.high:+.3f})"
        )
    speed = evaluation.candidate.latency
    say(
        f"{text}, {speed.p50_ms:.0f} ms a text (95 %: {speed.p95_ms:.0f} ms) "
        f"with {evaluation.candidate.engine}"
    )
