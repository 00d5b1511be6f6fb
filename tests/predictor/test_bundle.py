"""Where models come from, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from predictor import bundle, golden
from predictor.engines.torch import TorchEngine
from predictor.errors import BundleError
from predictor.extraction import Extractor


@pytest.fixture
def model(tiny_bert: Path, tmp_path: Path) -> Path:
    """A model folder of one's own to spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_folder(model: Path) -> None:
    """A folder with GLiNER's files is a bundle, known by the folder's name."""
    found = bundle.locate(str(model))

    assert (found.folder, found.manifest.id) == (model, "model")


@pytest.mark.parametrize("below", ["artifacts", "gliner-ner/artifacts/bundle"])
def test_folder_with_one_model_below(model: Path, tmp_path: Path, below: str) -> None:
    """The storage initializer and MLflow put the model somewhere below."""
    shutil.move(model, tmp_path / "mnt" / below)

    found = bundle.locate(str(tmp_path / "mnt"))

    assert found.folder == tmp_path / "mnt" / below


def test_folder_with_two_models_below(model: Path, tmp_path: Path) -> None:
    """Which of two models to serve is not for us to guess."""
    shutil.copytree(model, tmp_path / "other")

    with pytest.raises(BundleError, match=r"several models \(model, other\)"):
        bundle.locate(str(tmp_path))


def test_digest_follows_the_weights(model: Path) -> None:
    """The digest changes with what decides the answers, and with nothing else."""
    before = bundle.locate(str(model)).digest
    (model / "README.md").write_text("hello")
    same = bundle.locate(str(model)).digest
    edit(model / "gliner_config.json", max_width=5)

    assert before == same != bundle.locate(str(model)).digest


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/nowhere/at/all", "no such folder; a source is"),
        ("models:/gliner-ner@champion", "needs MLFLOW_TRACKING_URI, such as"),
        ("models:/gliner-ner", "write models:/NAME@ALIAS or models:/NAME/NUMBER"),
        ("models:/gliner-ner/latest", "write models:/NAME@ALIAS or models:/NAME/NUMBER"),
        ("urchade/gliner_medium-v2.1", "the hub cannot be reached.*predictor bundle"),
    ],
)
def test_sources_that_cannot_be_had(
    source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each says in one line what to do instead."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with pytest.raises(BundleError, match=message) as caught:
        bundle.locate(source)
    assert "\n" not in str(caught.value)


def test_hub_cache(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id loads from the hub's own cache without a network."""
    cache, revision = tmp_path / "cache", "0" * 40
    snapshot = cache / "models--example--tiny" / "snapshots" / revision
    shutil.copytree(model, snapshot)
    (cache / "models--example--tiny" / "refs").mkdir()
    (cache / "models--example--tiny" / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    found = bundle.locate("example/tiny")

    assert (found.folder.resolve(), found.manifest.id) == (snapshot.resolve(), "example/tiny")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "gliner_config.json").write_text("{"), "cannot read"),
        (lambda folder: (folder / "gliner_config.json").write_text("[]"), "a JSON object"),
        (lambda folder: (folder / "bundle.json").write_text('{"idd": 1}'), "unknown field 'idd'"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "'id' must be a string"),
        (
            lambda folder: edit(folder / "gliner_config.json", auto_map={"AutoModel": "x.Y"}),
            "asks to run code",
        ),
    ],
)
def test_spoilt_folders(model: Path, spoil: Any, message: str) -> None:
    """What is wrong with a folder is said before anything is loaded."""
    spoil(model)

    with pytest.raises(BundleError, match=message):
        bundle.locate(str(model))


def test_corrupt_weights(model: Path) -> None:
    """A download that broke off is refused in one line."""
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(BundleError, match="cannot load: SafetensorError"):
        TorchEngine.load(model, "cpu", "fp32")


class Bomb:
    """Runs a command when unpickled the careless way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_pickled_weights(model: Path, tmp_path: Path) -> None:
    """A pickle checkpoint of plain tensors loads, and one with code in it does not run."""
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(tensors, model / "pytorch_model.bin")
    TorchEngine.load(model, "cpu", "fp32")
    with (model / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Bomb(tmp_path / "ran"), file)

    with pytest.raises(BundleError, match="hold more than tensors"):
        TorchEngine.load(model, "cpu", "fp32")
    assert not (tmp_path / "ran").exists()


def test_write(model: Path, tmp_path: Path) -> None:
    """A written bundle says what it is, has golden answers, and holds them."""
    written = bundle.write(str(model), tmp_path / "out")

    names = {file.name for file in written.folder.iterdir()}
    assert {"bundle.json", "golden.json", "MODEL_CARD.md", "model.safetensors"} <= names
    assert written.digest == bundle.locate(str(model)).digest
    extractor = Extractor(TorchEngine.load(written.folder, "cpu", "fp32"))
    assert golden.check(extractor, written.folder / golden.FILE) == len(golden.REQUESTS)


def test_write_from_a_checkpoint_that_leans_on_a_hub(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a checkpoint has pickled weights and no encoder config; its bundle has both."""
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    config = json.loads((model / "gliner_config.json").read_text())
    (encoder / "config.json").write_text(json.dumps(config.pop("encoder_config")))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, encoder / name)
    (model / "gliner_config.json").write_text(json.dumps(config | {"model_name": str(encoder)}))
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()

    written = bundle.write(str(model), tmp_path / "out")
    shutil.rmtree(encoder)

    assert not (written.folder / "pytorch_model.bin").exists()
    TorchEngine.load(written.folder, "cpu", "fp32")


def test_write_into_a_full_folder(model: Path, tmp_path: Path) -> None:
    """A bundle never mixes with what is there."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()

    with pytest.raises(BundleError, match="not empty"):
        bundle.write(str(model), tmp_path / "out")
