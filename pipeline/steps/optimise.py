"""Choose the engine that a model is served with."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from pipeline import dataset
from pipeline import settings as configuration
from pipeline.data import folders
from pipeline.measuring import measure, trials
from pipeline.measuring.trials import EngineRow
from pipeline.progress import say
from pipeline.registry import Registry, faults
from pipeline.settings import Settings
from predictor import bundle, engines

TABLE = "engines.json"
"""The table in the MLflow run."""


def run(
    candidate: Path,
    data: Path,
    out: Path,
    *,
    job: str,
    tolerance: float = 0.005,
    settings: Settings | None = None,
) -> list[EngineRow]:
    """Try all engines and write the bundle with the fastest that is accurate into `out`.

    `bundle.json` says which, and the measurements behind the choice; a model for OpenVINO comes
    beside GLiNER's own files, for fast starts. An engine that gains less than 5 % over PyTorch
    in fp32 is not worth its rounding.

    Args:
        candidate: a bundle.
        data: a folder with labelled texts.
        tolerance: most F1 that the chosen engine may lose against PyTorch in fp32.

    Raises:
        DataError: the data cannot be used.
        PipelineError: the model cannot be loaded.
        Unavailable: MLflow does not answer.
    """
    settings = settings or configuration.load()
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    files = dataset.read(data)
    labels = sorted({label for file in files for label in file.labels})
    with tempfile.TemporaryDirectory(prefix="gliner-optimise-") as work:
        rows = trials.run(candidate, measure.texts(files), labels, Path(work), tolerance=tolerance)
    _write(candidate, out, rows)
    _record(registry, run_id, rows)
    for row in rows:
        say(_line(row))
    return rows


def _write(candidate: Path, out: Path, rows: Sequence[EngineRow]) -> None:
    chosen = next(row for row in rows if row.chosen)
    found = bundle.locate(str(candidate))
    manifest = replace(
        found.manifest,
        engine=chosen.engine,
        precision=chosen.precision,
        measurements=tuple(row.row() for row in rows),
    )
    with faults.translated("the bundle"), folders.replaced(out) as part:
        shutil.copytree(found.folder, part, dirs_exist_ok=True)
        (part / "bundle.json").write_text(
            json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        engines.prepare(bundle.locate(str(part)))


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
