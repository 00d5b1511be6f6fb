"""How many pods a load takes, and that the document says what was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sizing

ROOT = Path(__file__).resolve().parents[2]


def row(system: str, rate: float, callers: int = 16, model: str = "medium") -> dict[str, Any]:
    return {"model": model, "system": system, "callers": callers, "texts_per_second": rate}


def test_the_document_has_the_benchmarks_figures() -> None:
    """The tables are those that `make bench` writes from the results that are committed."""
    results = json.loads((ROOT / "docs" / "benchmarks" / "results.json").read_text("utf-8"))

    assert sizing.markdown(results) in (ROOT / "docs" / "scale.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("rate", "each", "wanted"),
    [(1, 50, 2), (70, 50, 2), (71, 50, 3), (1_000, 50, 29), (5_000, 50, 143)],
)
def test_pods_are_kept_below_what_they_can_do(rate: float, each: float, wanted: int) -> None:
    """At 70 % of their capacity, and never one alone."""
    assert sizing.pods(rate, each) == wanted


def test_capacity_is_the_median_of_its_own_rounds() -> None:
    """Another model, system or number of callers does not count; none measured is no number."""
    rows = [row("ours-bf16", rate) for rate in (40.0, 60.0, 50.0)]
    rows += [
        row("ours-fp32", 9.0),
        row("ours-bf16", 1.0, callers=1),
        row("ours-bf16", 2.0, 16, "x"),
    ]

    assert sizing.capacity(rows, "ours-bf16", 16) == 50
    assert math.isnan(sizing.capacity(rows, "flask", 16))


def test_long_texts_are_told_in_short_ones() -> None:
    """A pod that answers 50 a second answers 45 of them while it reads one for 900 ms."""
    costs = [("words", 30, 30.0), ("words", 1_000, 900.0), ("labels", 5, 30.0), ("labels", 9, 60.0)]
    results = {
        "ours": "ours-int8",
        "plan": {"callers": 16},
        "machine": {"when": "today", "what": "this"},
        "medium": {"words": 27.0},
        "closed": [row("ours-int8", 50.0)],
        "costs": [
            {"system": "ours-int8", "by": by, "size": size, "p50_ms": spent}
            for by, size, spent in costs
        ],
    }

    written = sizing.markdown(results)

    assert "| int8 | 50 | 2 | 3 | 29 | 143 |" in written
    assert "| words | 30 | 1,000 |\n|---|---:|---:|\n| times | 1.0 | 30.0 |\n" in written
    assert "| texts meanwhile | 1.5 | 45.0 |" in written
    assert "| times | 1.0 | 2.0 |\n| texts meanwhile | 1.5 | 3.0 |" in written
