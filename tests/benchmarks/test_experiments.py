"""An experiment on a real server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from small_medium import SMALL

from benchmarks import experiments, forms, medium, overhead, systems
from benchmarks.models import Model
from benchmarks.plan import QUICK

PLAN = replace(QUICK, seconds=1.0, warm_up=0.5, callers=4, shares=(0.5,), open_seconds=1.0, texts=5)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "eval"


@pytest.mark.slow
@pytest.mark.server
def test_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours is started, asked and measured; a system that is not installed is told, not fatal."""
    monkeypatch.setattr(systems, "FAST_GLINER", tmp_path / "missing" / "python")
    stock, bundle = tmp_path / "stock", tmp_path / "fp32"
    medium.write(stock, SMALL)
    bundle.mkdir()
    forms.ours(stock, "fp32", bundle, EXAMPLES)
    model = Model("embedded", stock, tmp_path, {"fp32": bundle}, accurate=True)
    asked = experiments.labelled(EXAMPLES, 5)
    ours = next(one for one in systems.SYSTEMS if one.name == "ours-fp32")
    missing = next(one for one in systems.SYSTEMS if one.name == "fast-gliner-fp32")

    turns: list[int] = []
    side = experiments.side_by_side([ours, missing], model, PLAN, tmp_path, asked, turns.append)
    [opened] = experiments.open_loop(ours, model, PLAN, tmp_path)
    [parts] = overhead.parts(ours, model, PLAN, tmp_path)
    lone = overhead.lone(ours, model, PLAN, tmp_path)
    [row], [failed], [read] = side.closed, side.failed, side.accuracy

    assert turns == [1]
    assert (row["system"], row["callers"], set(row["statuses"])) == ("ours-fp32", 4, {"200"})
    assert row["texts_per_second"] > 1
    assert 0.5 < row["ready_seconds"] < 60
    assert 100 < row["memory_mb"] < 3000
    assert failed["system"] == "fast-gliner-fp32"
    assert "missing" in failed["reason"]
    assert 0 < parts["queue_ms"] < parts["mean_ms"]
    assert 0 < parts["model_ms"] < parts["mean_ms"]
    assert 0 < parts["outside_share"] < 1
    # Which of them is longer is for a quiet machine to say.
    assert all(lone[name] > 0 for name in ("nothing_p50_ms", "bare_p50_ms", "http_p50_ms"))
    assert opened["capacity"] > 1
    assert opened["offered"] == pytest.approx(opened["capacity"] / 2, abs=0.01)
    assert set(opened["statuses"]) == {"200"}
    assert (read["texts"], read["system"]) == (5, "ours-fp32")
    assert 0 <= read["f1"] < 0.5
