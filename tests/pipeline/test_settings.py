"""Settings of the pipeline: documented, bounded, and silent about secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline import settings
from pipeline.errors import SettingsError
from pipeline.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def shown(default: Any) -> str:
    return default.get_secret_value() if isinstance(default, SecretStr) else str(default)


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a row for each setting, with its default and meaning, and no other."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in DOCS.read_text("utf-8").splitlines()
        if line.startswith("| `PIPELINE_")
    ]

    assert [(row[0].strip("`"), row[1].strip("`"), row[2]) for row in rows] == [
        (f"PIPELINE_{name.upper()}", shown(field.default), " ".join(str(field.description).split()))
        for name, field in Settings.model_fields.items()
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIPELINE_TRACKING_URI", "mlflow:5000"),
        ("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db"),
        ("PIPELINE_ROLLOUT", "both"),
        ("PIPELINE_REVIEW_HOURS", "0"),
        ("PIPELINE_NAMESPACE", "Upper"),
        ("PIPELINE_ALERT_F1_BELOW", "80"),
    ],
)
def test_out_of_bounds(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad value stops the start with a line that names the variable."""
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=rf"^{name}: "):
        settings.load()


def test_a_database_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do is said, and no password."""
    address = "mysql+pymysql://me:s3cret@db/mlflow"  # pragma: allowlist secret
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

    with pytest.raises(SettingsError) as told:
        settings.load()

    assert "not with 'mysql+pymysql:'; a database or a folder needs `mlflow" in str(told.value)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("home", "said"),
    [("file", "file: it is a file"), ("file/below", "file/below/runs: Not a directory")],
)
def test_a_home_that_cannot_be_made(home: str, said: str, tmp_path: Path) -> None:
    """One line names the variable, the place and what is wrong with it."""
    (tmp_path / "file").write_text("")
    names = ("runs",) if "below" in home else ()

    with pytest.raises(SettingsError, match=f"^PIPELINE_HOME: {tmp_path}/{said}; name a folder"):
        Settings(home=tmp_path / home).folder(*names)


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found before a file is to be written there."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(SettingsError, match=f"^PIPELINE_HOME: {tmp_path}/runs: Permission denied"):
        Settings(home=tmp_path).folder("runs")


def test_mlflows_own_variable_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has MLFLOW_TRACKING_URI set needs no other; ours wins where both are."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://theirs:5000")
    theirs = settings.load().tracking_uri
    monkeypatch.setenv("PIPELINE_TRACKING_URI", "http://ours:5000")

    assert (theirs, settings.load().tracking_uri) == ("http://theirs:5000", "http://ours:5000")


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever prints the settings prints no secret."""
    for name in ("SLACK_WEBHOOK_URL", "WEBHOOK_SECRET", "KFP_TOKEN", "DATABASE_URL"):
        monkeypatch.setenv(f"PIPELINE_{name}", "s3cret-value")

    loaded = settings.load()

    assert "s3cret-value" not in f"{loaded!r} {loaded}"
    assert loaded.webhook_secret.get_secret_value() == "s3cret-value"
