"""What figures are made of measurements."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import plots, report
from benchmarks.plan import Plan
from benchmarks.results import Results, targets

ROOT = Path(__file__).resolve().parents[2]


def closed(model: str, system: str, *rates: float, callers: int = 16) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "system": system,
            "callers": callers,
            "round": number,
            "texts_per_second": rate,
            **dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"), 100.0 * number),
            "ready_seconds": 5.0,
            "memory_mb": 900,
        }
        for number, rate in enumerate(rates, 1)
    ]


@pytest.fixture
def found() -> Results:
    """Three of ours, of which the fastest loses too much, and two peers, three rounds; the machine
    was slow in the second."""
    result = Results(
        machine={"what": "2 cores", "when": "today"},
        plan=Plan(),
        medium={"words": 27.0, "subwords": 73.0, "entities": 1.5},
        limits=[
            {"precision": precision, "round": number, "texts_per_second": rate}
            for precision, rates in (("bf16", (80.0, 60.0, 110.0)), ("int8", (900.0,) * 3))
            for number, rate in enumerate(rates, 1)
        ],
        open=[
            {"system": "ours-bf16", "model": "medium", "share": share, "offered": 60 * share}
            | {"texts_per_second": 57.0, "p50_ms": 90.0, "p99_ms": p99, "statuses": statuses}
            for share, p99, statuses in (
                (0.7, 450.0, {"200": 9}),
                (0.7, 440.0, {"200": 8}),
                (0.7, 900.0, {"200": 8}),
                (1.5, 450.0, {"200": 9, "429": 4, "504": 1}),
            )
        ],
        costs=[
            {"system": "ours-bf16", "model": "medium", "by": by, "size": size, "p50_ms": 50.0}
            for by in ("words", "labels")
            for size in (10, 100)
        ],
        parts=[{"system": "ours-bf16", "outside_share": share} for share in (0.04, 0.09, 0.03)],
        lone=[{"system": "ours-bf16", "added_ms": 4.0, "http_p50_ms": 50.0, "bare_p50_ms": 46.0}],
        accuracy=[
            {"model": model, "system": system, "f1": f1}
            for model, system, f1 in (
                ("embedded", "ours-int8", 0.809),
                ("embedded", "ours-bf16", 0.808),
                ("embedded", "flask", 0.81),
                ("deberta", "ours-int8", 0.69),
                ("deberta", "ours-bf16", 0.70),
                ("deberta", "flask", 0.701),
            )
        ],
    )
    result.closed += closed("medium", "ours-int8", 90, 45, 99)
    result.closed += closed("medium", "ours-bf16", 60, 30, 66)
    result.closed += closed("medium", "ours-bf16", 500, callers=64)
    result.closed += closed("medium", "ours-fp32", 20, 10, 20)
    result.closed += closed("medium", "flask", 5, 3, 6)
    result.closed += closed("medium", "onnx-int8", 20, 16, 25)
    result.closed += closed("embedded", "ours-bf16", 300, 300, 300)
    return result


def test_summary(found: Results) -> None:
    """Ratios are medians of rounds side by side, so a slow round is slow for both."""
    assert found.summary() == {
        "ours": "ours-bf16",
        "best_peer": "onnx-int8",
        "ratio_to_flask": 11.0,
        "ratio_to_best_peer": 2.64,
        "fraction_of_limit": 0.6,
        "f1_loss": 0.002,
    }
    assert json.loads(json.dumps(found.json()))["ratio_to_flask"] == 11.0


def test_targets(found: Results) -> None:
    """Each says what was wanted, what was reached, and whether that is enough."""
    by_name = {one.what: (one.reached, one.met) for one in targets(found)}

    assert by_name == {
        "times Flask": (11.0, True),
        "times Flask, without loss": (11.0, True),
        "times the best peer": (2.64, True),
        "of the machine's limit": (0.6, True),
        "F1 lost": (0.002, True),
        "F1 lost, small DeBERTa": (0.001, True),
        "MB of memory": (900, True),
        "seconds until ready": (5.0, True),
        "p99 at 70 % of capacity, ms": (450.0, True),
        "of capacity at 150 % load": (0.95, True),
        "lost or timed out at 150 % load": (1, False),
        "of a request's time outside the model, 16 callers": (0.04, True),
        "ms added to a lone request": (4.0, True),
        "of a lone request's time outside the engine": (0.08, False),
    }


def test_speed_that_loses_accuracy_does_not_count(found: Results) -> None:
    """The figures are those of the fastest that is as good, on each model that tells."""
    assert found.ours.name == "ours-bf16"

    found.accuracy = [row for row in found.accuracy if row["model"] != "deberta"]

    assert found.ours.name == "ours-int8"


def test_what_was_not_measured_is_not_reached(found: Results) -> None:
    """A missing figure meets no target, and says that it is missing."""
    found.accuracy.clear()

    lost = next(one for one in targets(found) if one.what == "F1 lost")

    assert math.isnan(lost.reached)
    assert not lost.met
    assert "| F1 lost | at most 0.005 | not measured | no |" in report.markdown(found)


def test_tables_go_between_the_marks(found: Results, tmp_path: Path) -> None:
    """The rest of the file stays; a file without marks is refused."""
    file = tmp_path / "README.md"
    file.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n", encoding="utf-8")

    report.replace(file, report.markdown(found))

    text = file.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("\nbelow\n")
    assert "old" not in text
    assert "| gliner-kserve | bf16 | 60.0 | 30.0–66.0 | 11.0 |" in text
    file.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="no <!-- make bench"):
        report.replace(file, "")


def test_pictures(found: Results, tmp_path: Path) -> None:
    """One for each thing measured, none for what was not."""
    files = plots.draw(found, tmp_path / "all")
    found.open.clear()
    found.costs = [row for row in found.costs if row["by"] == "words"]
    fewer = plots.draw(found, tmp_path / "fewer")

    assert [file.name for file in files] == ["latency.png", "length.png", "labels.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert [file.name for file in fewer] == ["length.png"]


def test_readme_shows_the_results() -> None:
    """The table in the README is the one that the committed figures make."""
    figures = ROOT / "docs" / "benchmarks" / "results.json"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition(report.BEGIN)[2].partition(report.END)[0].strip()
    if not figures.exists():
        assert shown == ""  # no figure without what it comes from
        return
    raw = json.loads(figures.read_text(encoding="utf-8"))
    fields = {name: raw[name] for name in Results.__dataclass_fields__ if name != "plan"}
    kept = Results(plan=Plan(**raw["plan"]), **fields)

    assert report.markdown(kept) == shown
    assert kept.summary().items() <= raw.items()
