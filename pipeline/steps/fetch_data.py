"""Fetch a data set, check it, and say in MLflow which one it was."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Literal

from pipeline import dataset
from pipeline import settings as configuration
from pipeline.data import inspection, storage
from pipeline.errors import DataError, SettingsError
from pipeline.evaluation import Dataset
from pipeline.progress import say
from pipeline.registry import faults
from pipeline.settings import Settings

FILE = "dataset.json"
Role = Literal["eval", "train"]
CLOCK_SKEW = timedelta(minutes=5)
"""How far another machine's clock may be ahead of ours."""
_DIGEST_LENGTH = 36
"""As much of a digest as MLflow takes for a data set; the profile has all of it."""


def run(
    source: str,
    out: Path,
    *,
    role: Role,
    job: str,
    max_age_hours: float = 0,
    min_examples: int = 5,
    labels: Collection[str] = (),
    disjoint_from: Path | None = None,
    settings: Settings | None = None,
) -> Dataset:
    """Copy the `*.jsonl` files of a source into `out`, with `dataset.json` beside them.

    `out` has all of it or, where something was wrong, what it had before.

    Args:
        source: a folder, or `s3://bucket/prefix`.
        max_age_hours: oldest that the newest file may be; 0 takes any age.
        min_examples: fewest mentions of each label.
        labels: those that the data must have, as limits are set for them.
        disjoint_from: a folder of the other role, with which no text may be shared.

    Raises:
        DataError: it is missing, malformed, too old or overlaps; names file and line.
        SettingsError: the data has none of these labels, or the credentials for S3 are missing
            or refused.
        Unavailable: S3 or MLflow does not answer.
    """
    settings = settings or configuration.load()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        files, newest, age_hours = copied(
            source, part, settings, max_age_hours=max_age_hours, min_examples=min_examples
        )
        _check_labels(files, labels)
        if disjoint_from is not None:
            inspection.check_disjoint(files, dataset.read(disjoint_from))
        found = dataset.describe(files, source, newest)
        found.write(part / FILE)
        _replace(out, part)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _record(found, role, age_hours, job, settings)
    say(
        f"{role} data from {source}: {found.rows} texts, {found.mentions} mentions of "
        f"{len(found.labels)} labels, {age_hours:.1f} h old, digest {found.digest[:12]}"
    )
    return found


def copied(
    source: str,
    folder: Path,
    settings: Settings,
    *,
    max_age_hours: float = 0,
    min_examples: int = 5,
) -> tuple[list[dataset.File], datetime, float]:
    """Copy a source into a folder and check it by itself.

    Returns:
        What it holds, when its newest file was written, and its age in hours.

    Raises:
        DataError, SettingsError, Unavailable: as `run`.
    """
    items = storage.copy(source, dataset.PATTERN, folder, settings)
    newest = max(item.modified for item in items)
    age_hours = _age_hours(newest, datetime.now(timezone.utc), max_age_hours, source)
    files = dataset.read(folder)
    inspection.check(files, min_examples)
    return files, newest, age_hours


def _check_labels(files: Sequence[dataset.File], wanted: Collection[str]) -> None:
    known = sorted({label for file in files for label in file.labels})
    for label in wanted:
        if label not in known:
            raise SettingsError(
                f"protected_labels or min_label_f1 name the label {dataset.shown(label)}, which "
                f"does not occur in the evaluation data; it has {dataset.listed(known)}"
            )


def _age_hours(newest: datetime, now: datetime, limit: float, source: str) -> float:
    """How old the data is, never below 0."""
    age = now - newest
    if age < -CLOCK_SKEW:
        raise DataError(
            f"{source}: its newest file was written at {newest:%Y-%m-%d %H:%M} UTC, which is "
            f"{_hours(-age):.1f} h in the future; set the clocks of both machines right"
        )
    hours = max(0.0, _hours(age))
    if 0 < limit < hours:
        raise DataError(
            f"{source}: its newest file is {hours:.1f} h old, the limit is {limit:g} h; bring "
            "newer data or raise the limit"
        )
    return hours


def _hours(span: timedelta) -> float:
    return span / timedelta(hours=1)


def _replace(out: Path, part: Path) -> None:
    """Put what was fetched in the place of what an earlier try may have left."""
    out.mkdir(exist_ok=True)
    for old in (*out.glob(dataset.PATTERN), out / FILE):
        old.unlink(missing_ok=True)
    # The description comes last: where it is, all of it is.
    for file in sorted(part.iterdir(), key=lambda one: one.name == FILE):
        file.replace(out / file.name)


def _record(found: Dataset, role: Role, age_hours: float, job: str, settings: Settings) -> None:
    from mlflow.entities import Dataset as Input
    from mlflow.entities import DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    from pipeline.registry import Registry

    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    profile = {"digest": found.digest, "rows": found.rows, "mentions": found.mentions}
    entity = Input(
        name=f"{settings.model_name}-{role}",
        digest=found.digest[:_DIGEST_LENGTH],
        source_type="s3" if found.uri.startswith("s3://") else "local",
        source=json.dumps({"uri": found.uri}),
        profile=json.dumps({**profile, "labels": found.labels}),
    )
    prefix = "" if role == "eval" else "train_"
    with faults.translated(f"MLflow at {settings.tracking_uri}"):
        registry.client.log_inputs(
            run_id, [DatasetInput(entity, [InputTag(MLFLOW_DATASET_CONTEXT, role)])]
        )
        registry.client.log_metric(run_id, f"{prefix}data_age_hours", age_hours)
        registry.client.set_tag(run_id, f"{prefix}dataset_digest", found.digest)
