"""Settings, presets and the machine: values out of bounds stop the start in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from predictor import hardware, presets
from predictor.__main__ import main
from predictor.errors import StartupError
from predictor.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented() -> None:
    """docs/settings.md has a row for each setting, with its default, and for no other."""
    rows = [
        line.split("|")
        for line in DOCS.read_text("utf-8").splitlines()
        if line.startswith("| `GLINER_")
    ]
    documented = {row[1].strip(" `"): row[2].strip(" `") for row in rows}

    expected = {
        f"GLINER_{name.upper()}": str(field.default if field.default is not None else "")
        for name, field in Settings.model_fields.items()
    }
    assert documented == expected


def test_every_setting_has_a_docstring() -> None:
    """What a setting means stands beside it."""
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [("THRESHOLD", "1.1"), ("MAX_LABELS", "0"), ("DEVICE", "gpu"), ("PRECISION", "int8")],
)
def test_out_of_bounds(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bad value stops the process with one line that names the variable."""
    monkeypatch.setenv(f"GLINER_{name}", value)

    assert main([]) == 1

    message = capsys.readouterr().err
    assert message.startswith(f"predictor: GLINER_{name}=")
    assert message.count("\n") == 1


def test_settings_are_frozen() -> None:
    """Nothing changes a setting behind the back of what was built from it."""
    with pytest.raises(ValidationError):
        Settings().threshold = 0.1  # type: ignore[misc]


def test_shipped_presets() -> None:
    """The presets that the issue promises are there, each with labels."""
    shipped = presets.load(None)

    assert {"general", "contact", "business", "biomedical"} <= set(shipped)
    assert all(preset.title and preset.labels for preset in shipped.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {title: Mine}", "preset mine.labels: Field required"),
        ("mine: {title: Mine, labels: {}}", "preset mine.labels"),
        ("mine: {title: Mine, labels: {a: }, colour: red}", "preset mine.colour"),
        ("mine: [", "cannot read presets"),
    ],
)
def test_bad_presets(tmp_path: Path, text: str, message: str) -> None:
    """A presets file that is not well formed is refused by preset and field."""
    (tmp_path / "presets.yaml").write_text(text)

    with pytest.raises(StartupError, match=message):
        presets.load(tmp_path / "presets.yaml")


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu/cpu.cfs_quota_us": "250000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
    ids=["v2", "v2-unlimited", "v1", "v1-unlimited", "none"],
)
def test_threads_follow_the_containers_limit(
    files: dict[str, str], wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod with one core and a half starts one thread, whatever the node has."""
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(hardware, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(64), raising=False)

    assert hardware.choose_threads(0) == wanted
    assert hardware.choose_threads(3) == 3


def test_precision_by_device() -> None:
    """A CPU computes in fp32 unless asked or measured otherwise, and never in fp16."""
    assert hardware.choose_precision("auto", "cpu", "auto") == "fp32"
    assert hardware.choose_precision("auto", "cpu", "bf16") == "bf16"
    assert hardware.choose_precision("fp32", "cpu", "bf16") == "fp32"
    with pytest.raises(StartupError, match="needs a GPU"):
        hardware.choose_precision("fp16", "cpu", "auto")


def test_a_device_that_is_not_there() -> None:
    """Asking for a GPU on a machine without one is told at once."""
    with pytest.raises(StartupError, match="GLINER_DEVICE=cuda:63: no such device"):
        hardware.choose_device("cuda:63")
