"""Tests of `pipeline.measuring.trials`."""

from __future__ import annotations

import math
from pathlib import Path

import lifecycle
import pytest

from pipeline import dataset
from pipeline.measuring import measure, trials
from pipeline.measuring.trials import EngineRow
from predictor.engines import openvino


def row(precision: str, speed: float, loss: float = 0.0, reason: str = "") -> EngineRow:
    """A measured engine."""
    return EngineRow(
        engine="torch",
        precision=precision,
        texts_per_second=speed,
        p50_ms=1000 / speed,
        f1=0.8 - loss,
        f1_loss=loss,
        reason=reason,
    )


def chosen(*rows: EngineRow) -> str:
    [one] = [one for one in trials.choose(rows, tolerance=0.005) if one.chosen]
    return one.precision


def test_the_fastest_that_is_accurate_is_chosen() -> None:
    """A gain in F1 is no loss either."""
    assert chosen(row("fp32", 100), row("bf16", 150, 0.004), row("int8", 170, -0.01)) == "int8"


def test_speed_never_buys_accuracy() -> None:
    """Ten times as fast and beyond the tolerance stays where it is, and says why."""
    rows = trials.choose([row("fp32", 100), row("bf16", 1000, 0.0051)], tolerance=0.005)

    assert rows[0].chosen
    assert "0.0051" in rows[1].reason


def test_a_tolerance_that_is_no_number_allows_nothing() -> None:
    """It would else have chosen an engine that loses most of the model's F1."""
    rows = trials.choose([row("fp32", 100), row("bf16", 1000, 0.7)], tolerance=math.nan)

    assert rows[0].chosen


def test_a_gain_within_the_noise_is_none() -> None:
    """The reference rounds least, so it wins a draw."""
    assert chosen(row("fp32", 100), row("bf16", 104)) == "fp32"
    assert chosen(row("fp32", 100), row("bf16", 106)) == "bf16"


def test_what_a_predictor_would_not_serve_is_not_chosen() -> None:
    """An engine may be fast and accurate and still fail its golden answers."""
    assert chosen(row("fp32", 100), row("bf16", 200, reason="golden")) == "fp32"


@pytest.mark.slow
def test_an_engine_that_does_not_load_is_a_row_with_its_reason(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """The table shows all that was tried; the measured ones have numbers."""
    texts = measure.texts(dataset.read(lifecycle.write_data(tmp_path / "data", 4)))
    (tmp_path / "work").mkdir()

    rows = trials.run(
        tiny_bert,
        texts,
        ["location", "person"],
        tmp_path / "work",
        tolerance=1,
        tried=[("torch", "bf16"), ("torch", "int3")],
    )

    assert [(one.precision, bool(one.reason)) for one in rows] == [
        ("fp32", False),
        ("bf16", False),
        ("int3", True),
    ]
    assert sum(one.chosen for one in rows) == 1
    assert all(one.texts_per_second > 0 for one in rows[:2])
    assert rows[0].agreement == 1


@pytest.mark.slow
def test_what_computes_in_another_precision_is_not_tried(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU without bf16 computes in fp32. Chosen as bf16, the model would serve as that elsewhere,
    where nobody has measured it."""
    monkeypatch.setattr(openvino, "capabilities", lambda: ["FP32", "INT8"])
    texts = measure.texts(dataset.read(lifecycle.write_data(tmp_path / "data", 2)))
    (tmp_path / "work").mkdir()

    _, row = trials.run(
        tiny_bert,
        texts,
        ["location", "person"],
        tmp_path / "work",
        tolerance=1,
        tried=[("openvino", "bf16")],
    )

    assert (row.engine, row.texts_per_second, row.chosen) == ("openvino", 0, False)
    assert row.reason == "this CPU has no bf16, and computes in fp32 instead"


@pytest.mark.slow
def test_an_engine_whose_library_fails_is_a_row_too(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is measured and served with another; only the kind of the error is told."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a text of a user")

    monkeypatch.setattr(openvino, "export", fail)
    texts = measure.texts(dataset.read(lifecycle.write_data(tmp_path / "data", 2)))
    (tmp_path / "work").mkdir()

    rows = trials.run(
        tiny_bert,
        texts,
        ["location", "person"],
        tmp_path / "work",
        tolerance=1,
        tried=[("openvino", "fp32")],
    )

    assert [one.chosen for one in rows] == [True, False]
    assert rows[1].reason == "it fails with RuntimeError; its traceback is in the log"
