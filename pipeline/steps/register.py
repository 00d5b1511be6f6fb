"""Register a measured bundle in MLflow, or record its scores on the version that it is."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import ValidationError

from pipeline import evaluation as evaluations
from pipeline import settings as configuration
from pipeline.errors import PipelineError
from pipeline.evaluation import Evaluation
from pipeline.measuring import metrics
from pipeline.progress import say
from pipeline.registry import CHAMPION, Registry, RunTag, Tag, Version, card, faults, upload
from pipeline.settings import Settings
from predictor import bundle
from predictor.bundle import Bundle
from predictor.errors import StartupError

_DIGEST_LENGTH = 36
"""As much of a digest as MLflow takes for a data set; `fetch_data` cuts it likewise."""


def run(candidate: Path, report: Path, *, job: str, settings: Settings | None = None) -> int:
    """Register a bundle with what was measured of it.

    A version is there whole or not at all: files are uploaded and counted first. The same
    bundle again, also at the same time from elsewhere, gets no second version; what was
    measured is recorded on the one it has.

    Args:
        candidate: a bundle.
        report: the folder that `evaluate` wrote.

    Returns:
        The version's number.

    Raises:
        PipelineError: the report is not about this bundle, or MLflow cannot load it.
        Unavailable: MLflow or its files do not answer.
    """
    settings = settings or configuration.load()
    registry = Registry(settings)
    found, evaluation = _read(candidate, report)
    mlflow_run = registry.run(job)
    champion = registry.champion()
    links = card.Links(
        run=registry.run_url(mlflow_run),
        champion=registry.version_url(champion.number) if champion else "",
        dashboard=settings.dashboard_url,
    )
    description = card.write(found, evaluation, links)
    tags = _scores(evaluation)
    version = registry.settle(found.digest)
    known = version is not None
    if version is None:
        params = {**_params(found), **mlflow_run.data.params}
        model_id = upload.upload(registry, mlflow_run, found, params, evaluation.dataset.labels)
        version = registry.add(
            model_id=model_id,
            run_id=mlflow_run.info.run_id,
            tags={**tags, **_facts(found, evaluation, job)},
            description=description,
        )
    _record(registry, mlflow_run.info.run_id, version, evaluation, tags, description)
    registry.note(mlflow_run.info.run_id, {RunTag.VERSION: version.number})
    say(
        f"version {version.number} "
        + ("is this model already; its scores are recorded" if known else "registered")
        + f": {registry.version_url(version.number)}"
    )
    return version.number


def _read(candidate: Path, report: Path) -> tuple[Bundle, Evaluation]:
    file = report / evaluations.FILE
    try:
        found = bundle.locate(str(candidate))
        evaluation = Evaluation.model_validate_json(file.read_text(encoding="utf-8"))
    except StartupError as error:
        raise PipelineError(str(error)) from error
    except (OSError, ValidationError) as error:
        raise PipelineError(f"{file}: not what evaluate writes: {type(error).__name__}") from error
    if evaluation.candidate.subject.digest != found.digest:
        raise PipelineError(
            f"{file} is about the bundle {evaluation.candidate.subject.digest[:12]} and not about "
            f"{found.digest[:12]} in {candidate}; evaluate it first"
        )
    return found, evaluation


def _scores(evaluation: Evaluation) -> dict[str, str]:
    """The tags that every evaluation sets anew."""
    micro = evaluation.candidate.micro
    called = metrics.names(list(evaluation.candidate.labels))
    return {
        "f1": f"{micro.f1:.4f}",
        "f1_low": f"{micro.f1_low:.4f}",
        "f1_high": f"{micro.f1_high:.4f}",
        "precision": f"{micro.precision:.4f}",
        "recall": f"{micro.recall:.4f}",
        "f1_macro": f"{evaluation.candidate.macro_f1:.4f}",
        **{
            # As the metric is called, with a dot: `f1.person` for `f1_person`.
            f"f1.{called[label].removeprefix('f1_')}": f"{score.f1:.4f}"
            for label, score in evaluation.candidate.labels.items()
        },
        Tag.DATASET_DIGEST: evaluation.dataset.digest,
        Tag.EVALUATED_AT: evaluation.created_at.isoformat(timespec="seconds"),
    }


def _facts(found: Bundle, evaluation: Evaluation, job: str) -> dict[str, str]:
    """The tags that a version is born with."""
    return {
        Tag.BUNDLE_DIGEST: found.digest,
        Tag.STATUS: "candidate",
        Tag.JOB: job,
        "engine": found.manifest.engine,
        "engine_precision": found.manifest.precision,
        "size_bytes": str(evaluation.candidate.subject.size_bytes),
    }


def _params(found: Bundle) -> dict[str, str]:
    manifest = found.manifest
    return {
        "model": manifest.id,
        "revision": manifest.revision,
        "bundle_digest": found.digest,
        "trained_on": manifest.dataset_digest,
        "engine": manifest.engine,
        "engine_precision": manifest.precision,
    }


def _record(
    registry: Registry,
    run_id: str,
    version: Version,
    evaluation: Evaluation,
    tags: dict[str, str],
    description: str,
) -> None:
    """Leave the scores on the version and on its files, where MLflow compares them."""
    from mlflow.entities import Metric

    stale = [key for key in version.tags if key.startswith("f1.") and key not in tags]
    at = time.time_ns() // 1_000_000
    name = f"{registry.settings.model_name}-eval"
    values = [
        Metric(
            key=key,
            value=value,
            timestamp=at,
            step=0,
            model_id=version.model_id,
            dataset_name=name,
            dataset_digest=evaluation.dataset.digest[:_DIGEST_LENGTH],
            run_id=run_id,
        )
        for key, value in metrics.of(evaluation).items()
        if not key.startswith(f"{CHAMPION}_")
    ]
    registry.tag(version, tags)
    with faults.translated(f"MLflow at {registry.settings.tracking_uri}"):
        client, number = registry.client, str(version.number)
        for key in stale:
            client.delete_model_version_tag(registry.name, number, key)
        client.update_model_version(registry.name, number, description)
        if version.model_id:
            client.log_batch(run_id, metrics=values)
