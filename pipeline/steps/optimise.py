"""Choose the engine that a model is served with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline import settings as configuration
from pipeline.arguments import check_tolerance
from pipeline.measuring import choice
from pipeline.measuring.trials import EngineRow
from pipeline.progress import say
from pipeline.registry import Registry, faults
from pipeline.settings import Settings

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

    Args:
        candidate: a bundle.
        data: a folder with labelled texts.
        tolerance: most F1 that the chosen engine may lose against PyTorch in fp32.

    Raises:
        SettingsError: the tolerance is no loss of F1.
        DataError: the data cannot be used.
        PipelineError: the model cannot be loaded.
        Unavailable: MLflow does not answer.
    """
    check_tolerance(tolerance)
    settings = settings or configuration.load()
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    rows = choice.choose(candidate, data, out, tolerance=tolerance)
    _record(registry, run_id, rows)
    for row in rows:
        say(_line(row))
    return rows


def _record(registry: Registry, run_id: str, rows: Sequence[EngineRow]) -> None:
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

    table = {
        "columns": list(EngineRow.model_fields),
        "data": [list(row.row().values()) for row in rows],
    }
    with faults.translated(f"MLflow at {registry.settings.tracking_uri}"):
        # Not `log_table`, which would add the rows again each time the step is run again.
        registry.client.log_dict(run_id, table, TABLE)
        shown = json.loads(
            registry.client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]")
        )
        entry = {"path": TABLE, "type": "table"}
        if entry not in shown:
            registry.client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*shown, entry]))


def _line(row: EngineRow) -> str:
    name = f"{row.engine} {row.precision}"
    if not row.texts_per_second:
        return f"{name}: not tried, {row.reason}"
    verdict = "chosen" if row.chosen else row.reason or "not faster"
    return (
        f"{name}: {row.texts_per_second:.1f} texts/s, p99 {row.p99_ms:.0f} ms, F1 {row.f1:.3f} "
        f"({-row.f1_loss:+.4f}), {row.agreement:.1%} equal; {verdict}"
    )
