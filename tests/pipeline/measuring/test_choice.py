"""Tests of `pipeline.measuring.choice`."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from unittest.mock import Mock

import lifecycle
import pytest
from rich.console import Console

from pipeline.measuring import choice, trials
from pipeline.measuring.trials import EngineRow
from predictor import bundle, embedded, engines
from predictor.engines import openvino

ROOT = Path(__file__).parents[3]


def rows(winner: str) -> list[EngineRow]:
    return [
        EngineRow(engine="torch", precision="fp32", texts_per_second=50, p50_ms=20, f1=0.8),
        EngineRow(
            engine="openvino",
            precision="bf16",
            texts_per_second=120,
            p50_ms=8,
            f1=0.799,
            f1_loss=0.001,
            agreement=0.98,
            chosen=winner == "openvino",
        ),
        EngineRow(engine="torch", precision="fp16", reason="needs a GPU"),
    ]


def chosen(monkeypatch: pytest.MonkeyPatch, engine: str, precision: str) -> None:
    """This alone works beside the reference, and it is the fastest."""
    monkeypatch.setattr(trials, "PRECISIONS", {"torch": ("fp32", "int3"), engine: (precision,)})
    judged = trials.choose

    def winner(found: list[EngineRow], tolerance: float) -> list[EngineRow]:
        return [
            one.model_copy(update={"chosen": one.engine == engine})
            for one in judged(found, tolerance)
        ]

    monkeypatch.setattr(trials, "choose", winner)


@pytest.mark.slow
def test_the_choice_is_written_into_the_bundle_itself(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what was tried, in place of what an earlier choice left; the model stays the same."""
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bert, folder)
    (folder / "onnx").mkdir()
    (folder / openvino.MODEL).write_text("of an earlier choice")
    data = lifecycle.write_data(tmp_path / "data", 2)
    chosen(monkeypatch, "openvino", "fp32")
    prepare = Mock(wraps=engines.prepare)
    monkeypatch.setattr(engines, "prepare", prepare)

    choice.choose(folder, data, folder)

    found = bundle.locate(str(folder))
    assert (found.manifest.engine, found.manifest.precision) == ("openvino", "fp32")
    assert [one["engine"] for one in found.manifest.measurements] == ["torch", "openvino", "torch"]
    assert found.digest == bundle.digest(tiny_bert)
    assert not any(file.is_symlink() for file in folder.iterdir())
    assert not (folder / "onnx").exists()
    engine = openvino.OpenVinoEngine.load(found, "fp32", 1)
    assert (folder / openvino.MODEL).is_file()
    assert engine.limits.words > 0
    # Made again, it might be another than the one that was measured.
    prepared = [one.args[0].manifest.engine for one in prepare.call_args_list]
    assert prepared == ["torch", "torch", "openvino"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_a_bundle_in_int8_is_measured_and_written(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried as it would serve; where it is chosen, it is in the bundle, beside the same weights."""
    chosen(monkeypatch, engine, "int8")

    _, tried, _ = choice.choose(embedded.path(), ROOT / "examples" / "eval", tmp_path / "out")

    assert (tried.precision, tried.reason) == ("int8", "")
    assert tried.agreement > 0.5
    found = bundle.locate(str(tmp_path / "out"))
    assert found.digest == bundle.digest(embedded.path())
    served = engines.load(found, "cpu", found.manifest.precision, 1)
    assert (served.name, served.precision) == (engine, "int8")


def test_the_table_shows_what_was_measured_and_what_was_not() -> None:
    """Every engine has a row; one that could not be tried has its reason."""
    out = io.StringIO()

    choice.show(rows("openvino"), Console(file=out, width=80))

    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert " ".join(lines[2][:9]) == "openvino bf16 120.0 8.0 0.0 0 0.0 0.799 +0.0010"
    assert lines[2][-1] == "chosen"
    assert " ".join(lines[3]) == "torch fp16: needs a GPU"
