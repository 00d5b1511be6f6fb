"""Tests of `pipeline.steps.optimise`."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import lifecycle
import pytest
import registered

from pipeline.measuring import choice
from pipeline.registry import Registry
from pipeline.settings import Settings
from pipeline.steps import optimise
from predictor import bundle


@pytest.mark.server
@pytest.mark.slow
def test_the_choice_and_its_reasons_are_in_the_bundle_and_in_mlflow(
    tiny_bert: Path, tmp_path: Path, settings: Settings
) -> None:
    """The weights stay as they are; the table has a row for each engine there is."""
    data = lifecycle.write_data(tmp_path / "data", 4)

    rows = optimise.run(tiny_bert, data, tmp_path / "out", job="job", settings=settings)

    found = bundle.locate(str(tmp_path / "out"))
    [chosen] = [row for row in rows if row.chosen]
    registry = Registry(settings)
    run_id = registry.run("job").info.run_id
    table = json.loads(
        Path(registry.client.download_artifacts(run_id, "engines.json", str(tmp_path))).read_text()
    )
    assert found.digest == bundle.digest(tiny_bert)
    assert (found.manifest.engine, found.manifest.precision) == (chosen.engine, chosen.precision)
    assert [row["precision"] for row in found.manifest.measurements] == [
        row.precision for row in rows
    ]
    assert len(table["data"]) == len(rows) >= 3
    assert table["columns"][:2] == ["engine", "precision"]


@pytest.mark.server
def test_a_registered_model_keeps_its_engine(
    tiny_bert: Path,
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its version is what would serve: another engine chosen today would be measured in vain."""
    known = bundle.write(str(tiny_bert), tmp_path / "known").folder
    manifest = json.loads((known / "bundle.json").read_text("utf-8"))
    rows = [{"engine": "openvino", "precision": "fp32", "texts_per_second": 9, "chosen": True}]
    chosen = manifest | {"engine": "openvino", "precision": "fp32", "measurements": rows}
    (known / "bundle.json").write_text(json.dumps(chosen), encoding="utf-8")
    registered.register(settings, known)
    choose = Mock()
    monkeypatch.setattr(choice, "choose", choose)

    found = optimise.run(
        tiny_bert, tmp_path / "none", tmp_path / "out", job="job", settings=settings
    )

    assert not choose.called
    assert bundle.locate(str(tmp_path / "out")).manifest.engine == "openvino"
    assert [(one.engine, one.chosen) for one in found] == [("openvino", True)]
    assert "version 1 is this model already and keeps its engine" in capsys.readouterr().out
