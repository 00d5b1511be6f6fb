"""Choose the engine that a model is served with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipeline import settings as configuration
from pipeline.arguments import check_tolerance
from pipeline.data import folders
from pipeline.measuring import choice
from pipeline.measuring.trials import EngineRow
from pipeline.progress import say
from pipeline.registry import Registry, Version, faults, tables
from pipeline.settings import Settings
from pipeline.steps.evaluate import subject
from predictor import bundle

TABLE = "engines.json"
"""The table in the MLflow run."""


def run(
    candidate: Path,
    data: Path,
    out: Path,
    *,
    job: str,
    tolerance: float = choice.TOLERANCE,
    settings: Settings | None = None,
) -> list[EngineRow]:
    """Choose an engine, write the bundle with it into `out` and the table into MLflow.

    A model that is registered keeps the engine that it was registered with, since its version is
    what would serve: `out` is then that version's bundle, and no engine is tried.

    Args:
        candidate: a bundle.
        data: a folder with labelled texts.
        tolerance: most F1 that the chosen engine may lose against PyTorch in fp32.

    Returns:
        A row an engine; of a model that is registered those of its bundle, which may be none.

    Raises:
        SettingsError: the tolerance is no loss of F1.
        DataError: the data cannot be used.
        PipelineError: the model cannot be loaded, or its version's files are not what was
            registered.
        Unavailable: MLflow or its files do not answer.
    """
    check_tolerance(tolerance)
    settings = settings or configuration.load()
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    version = registry.find(subject(candidate).digest)
    if version is not None:
        rows = _registered(version, registry, out)
        if rows:
            _record(registry, run_id, rows)
        return rows
    rows = choice.choose(candidate, data, out, tolerance=tolerance)
    _record(registry, run_id, rows)
    for row in rows:
        say(_line(row))
    return rows


def _registered(version: Version, registry: Registry, out: Path) -> list[EngineRow]:
    with (
        tempfile.TemporaryDirectory(prefix="gliner-optimise-") as work,
        faults.translated("the bundle"),
        folders.replaced(out) as part,
    ):
        files = registry.download(version, Path(work))
        shutil.copytree(files, part, dirs_exist_ok=True)
    manifest = bundle.locate(str(out)).manifest
    say(
        f"version {version.number} is this model already and keeps its engine, "
        f"{manifest.engine} {manifest.precision}; none is tried"
    )
    try:
        return [EngineRow.model_validate(row) for row in manifest.measurements]
    except ValidationError:  # a table that another release wrote
        return []


def _record(registry: Registry, run_id: str, rows: Sequence[EngineRow]) -> None:
    table = {
        "columns": list(EngineRow.model_fields),
        "data": [list(row.row().values()) for row in rows],
    }
    with faults.translated(f"MLflow at {registry.settings.tracking_uri}"):
        # Not `log_table`, which would add the rows again each time the step is run again.
        registry.client.log_dict(run_id, table, TABLE)
    tables.show(registry, run_id, TABLE)


def _line(row: EngineRow) -> str:
    name = f"{row.engine} {row.precision}"
    if not row.texts_per_second:
        return f"{name}: not tried, {row.reason}"
    verdict = "chosen" if row.chosen else row.reason or "not faster"
    return (
        f"{name}: {row.texts_per_second:.1f} texts/s, p99 {row.p99_ms:.0f} ms, F1 {row.f1:.3f} "
        f"({-row.f1_loss:+.4f}), {row.agreement:.1%} equal; {verdict}"
    )
