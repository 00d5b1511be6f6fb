"""The engine that a model is served with, chosen by measurement and written into its bundle."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline import dataset
from pipeline.data import folders
from pipeline.measuring import measure, trials
from pipeline.measuring.trials import EngineRow
from pipeline.registry import faults
from predictor import bundle

TOLERANCE = 0.005
"""Most F1 that a chosen engine may lose, where nobody says."""


def choose(
    candidate: Path, data: Path, out: Path, *, tolerance: float = TOLERANCE
) -> list[EngineRow]:
    """Try all engines and write the bundle with the fastest that is accurate into `out`.

    `bundle.json` says which, and the measurements behind the choice; a model for OpenVINO comes
    beside GLiNER's own files, for fast starts. An engine that gains less than 5 % over PyTorch
    in fp32 is not worth its rounding.

    Args:
        candidate: a bundle.
        data: a folder with labelled texts.
        out: where to; may be the bundle itself.
        tolerance: most F1 that the chosen engine may lose against PyTorch in fp32.

    Returns:
        A row an engine, the reference first.

    Raises:
        DataError: the data cannot be used.
        PipelineError: the model cannot be loaded.
    """
    files = dataset.read(data)
    labels = sorted({label for file in files for label in file.labels})
    texts = measure.texts(files)
    found = bundle.locate(str(candidate))
    with tempfile.TemporaryDirectory(prefix="gliner-optimise-") as folder:
        work = Path(folder)
        rows = trials.run(candidate, texts, labels, work, tolerance=tolerance)
        chosen = next(row for row in rows if row.chosen)
        manifest = replace(
            found.manifest,
            engine=chosen.engine,
            precision=chosen.precision,
            measurements=tuple(row.row() for row in rows),
        )
        with faults.translated("the bundle"), folders.replaced(out) as part:
            # What was measured, file by file: made again, int8 might be another.
            tried = trials.variant(work, chosen.engine, chosen.precision)
            shutil.copytree(tried, part, dirs_exist_ok=True)
            (part / "bundle.json").write_text(
                json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8"
            )
    return rows


def show(rows: Sequence[EngineRow], console: Console) -> None:
    """Draw the table of engines, and say below it what speaks against one."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("engine", no_wrap=True)
    for name in ("texts/s", "p50 ms", "p99 ms", "MB", "load s", "F1", "F1 loss", "agree"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    notes = []
    for row in rows:
        name = f"{row.engine} {row.precision}"
        if row.reason:
            notes.append(f"{name}: {row.reason}")
        if not row.texts_per_second:
            continue
        figures = (
            f"{row.texts_per_second:.1f}",
            f"{row.p50_ms:.1f}",
            f"{row.p99_ms:.1f}",
            f"{row.memory_mb:.0f}",
            f"{row.load_seconds:.1f}",
            f"{row.f1:.3f}",
            f"{row.f1_loss:+.4f}",
            f"{row.agreement:.1%}",
        )
        table.add_row(name, *figures, "chosen" if row.chosen else "")
    console.print(table)
    console.print()
    for note in notes:
        console.print(note, markup=False, highlight=False)
