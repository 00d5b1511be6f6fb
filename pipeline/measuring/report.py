"""The files that an evaluation leaves for people: pictures, tables and the numbers behind them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline import scoring
from pipeline.evaluation import Evaluation
from pipeline.measuring import curves, mistakes, plots, tables
from pipeline.measuring.measure import Reading, Text

TABLE = "errors.json"
"""The worst mistakes, in the form of a table that MLflow's UI shows."""


def write(
    out: Path, evaluation: Evaluation, readings: Sequence[Reading], texts: Sequence[Text]
) -> None:
    """Write all of them into a folder that is there.

    Args:
        readings: the candidate's, then the champion's where it was measured.
    """
    true = [scoring.truth(one.row, one.labels) for one in texts]
    names = evaluation.dataset.labels
    points = {one.model.name: curves.curve(true, one.found) for one in readings}
    bins = {one.model.name: curves.reliability(true, one.found) for one in readings}
    ours = readings[0]
    counts = mistakes.confusion(true, list(map(scoring.given, ours.found)), names)
    plots.labels(evaluation, out / "labels.png")
    plots.lengths(evaluation, out / "lengths.png")
    plots.thresholds(points, out / "thresholds.png")
    plots.reliability(bins, out / "reliability.png")
    plots.confusion(counts, names, out / "confusion.png")
    _write(
        out / "confusion.json",
        {"true": [*names, None], "given": [*names, None], "counts": counts.tolist()},
    )
    _write(out / "thresholds.json", {name: list(map(asdict, one)) for name, one in points.items()})
    _write(
        out / "reliability.json",
        {
            name: {
                "expected_calibration_error": curves.calibration_error(one),
                "bins": list(map(asdict, one)),
            }
            for name, one in bins.items()
        },
    )
    worst = mistakes.mistakes(true, ours.found)
    table = tables.rows(worst, texts)
    tables.write_csv(out / "errors.csv", table)
    tables.write_json(out / TABLE, table)
    tables.write_html(out / "errors.html", ours.model.subject.id, worst, texts)


def _write(file: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, default=str)
    file.write_text(text + "\n", encoding="utf-8")
