"""What `doctor` finds about this machine."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import findings
import pytest

from pipeline.doctor import machine
from pipeline.settings import Settings


def test_packages_that_are_not_those_that_were_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong and a missing package are named; what belongs to other extras is not."""
    lines = [
        'mlflow==1.0; extra == "pipeline"',
        'nowhere-to-be-found>=1; extra == "pipeline"',
        'gliner-kserve[predictor]; extra == "pipeline"',
        'torch>=2; extra == "predictor"',
        'also-missing; extra == "dev"',
    ]
    monkeypatch.setattr(machine, "requires", lambda _: lines)

    found = findings.only(machine.packages())

    assert found.state == "wrong"
    assert f"mlflow {version('mlflow')} is not ==1.0; nowhere-to-be-found is missing" == found.text


def test_packages_as_installed_are_well() -> None:
    """The environment that the tests run in has what the project asks for."""
    assert findings.only(machine.packages()).state == "ok"


def test_a_disk_with_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there yet counts as its parent, and the variable is named."""
    settings = Settings(home=tmp_path / "not" / "yet")
    before = [one.state for one in machine.disk(settings)]
    monkeypatch.setattr(machine, "ROOM", 1 << 60)
    found = list(machine.disk(settings))

    assert [one.state for one in found] == ["wrong", "wrong"]
    assert "PIPELINE_HOME" in found[0].remedy
    assert str(tmp_path) in found[0].text
    assert before == ["ok", "ok"]


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in its place, and a folder that is read-only, are said with the variable."""
    file = tmp_path / "file"
    file.write_text("")
    found = [next(machine.disk(Settings(home=home))) for home in (file, file / "below")]
    monkeypatch.setattr(os, "access", lambda *_: False)
    found.append(next(machine.disk(Settings(home=tmp_path / "not" / "yet"))))

    assert [(one.state, one.text) for one in found] == [
        ("wrong", f"{file} is a file"),
        ("wrong", f"{file} is a file"),
        ("wrong", f"{tmp_path} cannot be written to"),
    ]
    assert {one.remedy for one in found} == {"set PIPELINE_HOME to a folder that can be written"}
