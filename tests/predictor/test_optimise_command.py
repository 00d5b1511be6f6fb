"""`python -m predictor optimise`."""

from __future__ import annotations

import shutil
from pathlib import Path

import lifecycle
import pytest

from pipeline.measuring import trials
from pipeline.measuring.trials import EngineRow
from predictor import bundle
from predictor.__main__ import main

ROWS = [
    EngineRow(engine="torch", precision="fp32", texts_per_second=50, f1=0.8),
    EngineRow(engine="torch", precision="bf16", texts_per_second=70, f1=0.8, chosen=True),
]


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "bundle"))


def test_the_choice_is_shown_and_written(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Into the bundle, or elsewhere where that is asked for; with the tolerance given."""
    tolerances: list[float] = []

    def run(
        candidate: Path, texts: object, labels: object, work: Path, *, tolerance: float
    ) -> list[EngineRow]:
        tolerances.append(tolerance)
        shutil.copytree(candidate, trials.variant(work, "torch", "bf16"))
        return ROWS

    monkeypatch.setattr(trials, "run", run)
    data = lifecycle.write_data(tmp_path / "data", 2)

    codes = [
        main(["optimise", str(folder), str(data), "--out", str(tmp_path / "out")]),
        main(["optimise", str(folder), str(data), "--tolerance", "0.01"]),
    ]

    assert codes == [0, 0]
    assert tolerances == [0.005, 0.01]
    assert capsys.readouterr().out.count("chosen") == 2
    for written in (tmp_path / "out", folder):
        assert bundle.locate(str(written)).manifest.precision == "bf16"


@pytest.mark.parametrize(
    ("model", "data", "expected"), [("none", "data", "none"), ("bundle", "empty", "*.jsonl")]
)
def test_what_is_missing_is_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    model: str,
    data: str,
    expected: str,
) -> None:
    """It says what was looked for."""
    lifecycle.write_data(tmp_path / "data", 2)
    (tmp_path / "empty").mkdir()

    code = main(["optimise", str(tmp_path / model), str(tmp_path / data)])

    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("predictor: ")
    assert expected in error
    assert error.count("\n") == 1
