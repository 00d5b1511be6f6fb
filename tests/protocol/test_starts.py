"""A start that must not succeed ends with one clear line, and never with a server."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from servers import ROOT, free_ports

from pipeline.settings import Settings

pytestmark = pytest.mark.server


def refused(*arguments: str, settings: Mapping[str, object] | None = None) -> tuple[int, list[str]]:
    """Start a server that cannot start.

    Returns:
        Its exit code and what it wrote to standard error.
    """
    http_port, grpc_port = free_ports(2)
    ports = ["--http_port", str(http_port), "--grpc_port", str(grpc_port)]
    given = {f"GLINER_{name.upper()}": str(value) for name, value in (settings or {}).items()}
    done = subprocess.run(
        [sys.executable, "-m", "predictor", *ports, *arguments],
        cwd=ROOT,
        env={**os.environ, **given, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("flag", ["--http_port", "--grpc_port"])
def test_port_taken(flag: str) -> None:
    """A port that is taken is told in one line, before the model is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        code, lines = refused(flag, port)

    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(f"predictor: port {port} cannot be used (Address already in use); ")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("threshold", 2, "GLINER_THRESHOLD='2': Input should be less than or equal to 1"),
        ("max_pending", "many", "GLINER_MAX_PENDING='many': Input should be a valid integer, .*"),
        ("presets_file", "/nonexistent.yaml", "/nonexistent.yaml: cannot read presets: .*"),
    ],
)
def test_bad_setting(name: str, value: object, says: str) -> None:
    """A setting out of bounds stops the start with its name and value in one line."""
    code, lines = refused(settings={name: value})

    assert code == 1
    assert len(lines) == 1
    assert re.fullmatch(f"predictor: {says}", lines[0])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "2"], "--workers must be 1: KServe pickles the model for more"),
        (["--treshold", "1"], "unrecognized arguments: --treshold 1"),
    ],
)
def test_bad_flag(arguments: list[str], says: str) -> None:
    """A flag that does not exist or cannot be served ends in a usage error."""
    code, lines = refused(*arguments)

    assert code == 2
    assert says in lines[-1]
    assert not any("Traceback" in line for line in lines)


class Malice:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _corrupt(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def _malicious(folder: Path) -> None:
    _without_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Malice(folder / "owned")))


def _code(folder: Path) -> None:
    config = json.loads((folder / "gliner_config.json").read_text())
    config["encoder_config"]["auto_map"] = {"AutoModel": "evil.Model"}
    (folder / "gliner_config.json").write_text(json.dumps(config))


def _golden(folder: Path) -> None:
    entity = {"text": "Ada", "label": "person", "start": 0, "end": 3, "score": 0.999}
    row = {"text": "Ada was here.", "labels": ["person"], "entities": [entity]}
    (folder / "golden.json").write_text(json.dumps({"requests": [row]}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without_weights, "no weights; model.safetensors or pytorch_model.bin is needed"),
        (_corrupt, "cannot load: SafetensorError: "),
        (_malicious, "hold more than tensors"),
        (_code, "auto_map asks to run code; it is not trusted"),
        (_golden, "request 0 no longer gives its golden answer"),
    ],
)
def test_broken_bundle(
    tiny_bert: Path, tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    """A bundle that is broken, or would run code, is refused in one line and never serves."""
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bert, folder)
    spoil(folder)

    code, lines = refused("--model", str(folder))

    assert code == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("predictor: ")
    assert says in lines[0]
    assert not (folder / "owned").exists()


def test_hub_id_offline() -> None:
    """A hub id that cannot be had is told in one line, with what to do."""
    code, lines = refused("--model", "urchade/nonexistent-model")

    assert code == 1
    assert len(lines) == 1, lines
    assert "the hub cannot be reached" in lines[0]
    assert "python -m predictor bundle urchade/nonexistent-model FOLDER" in lines[0]


def test_registry_without_the_alias(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias that is not there ends the start in one line."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    source = f"models:/{settings.model_name}@champion"

    code, lines = refused("--model", source)

    assert code == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"predictor: {source}: MLflow at {settings.tracking_uri}: ")
    assert f"Registered Model with name={settings.model_name} not found" in lines[0]


def test_registry_that_is_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registry that does not answer ends the start in one line, soon."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    code, lines = refused("--model", "models:/ner@champion")

    assert code == 1
    assert len(lines) == 1, lines
    assert "MLflow at http://127.0.0.1:9 does not answer: " in lines[0]
