"""A model in the form of another library: what holds whichever library it is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import checkpoints
import pytest
from scores import WINDOWS, worst

from predictor import bundle, engines, hardware
from predictor.engines import onnx, openvino
from predictor.engines.exported import Facts
from predictor.engines.torch import TorchEngine
from predictor.errors import BundleError


@dataclass(frozen=True)
class Form:
    """A library's form of a model.

    Attributes:
        module: writes it.
        engine: runs it.
        damaged: what is no model in it.
        most: how far its scores may be from torch's.
    """

    module: Any
    engine: Any
    damaged: bytes
    most: float

    def load(self, folder: Path) -> Any:
        """A bundle's model in fp32, on one thread."""
        return self.engine.load(bundle.locate(str(folder)), "fp32", 1)

    def export(self, found: Path, out: Path) -> bool:
        """Write a bundle's model in fp32."""
        return bool(self.module.export(bundle.locate(str(found)), out, "fp32"))

    def file(self, folder: Path) -> Path:
        """Where the model is."""
        return folder / str(self.module.MODEL)


FORMS = {
    "openvino": Form(openvino, openvino.OpenVinoEngine, b"<net", 3e-5),
    "onnx": Form(onnx, onnx.OnnxEngine, b"onnx", 1e-5),
}


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    return FORMS[request.param]


@pytest.fixture
def packed(tiny_bert: Path, tmp_path: Path) -> Path:
    """A copy of a bundle, for a form of its model."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "packed"))


def test_other_weights_are_converted_anew(
    form: Form, packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model exported from other weights would give another model's answers."""
    form.export(checkpoints.write(tmp_path / "other", "bert", max_width=4), packed)

    engine = form.load(packed)

    assert "made from other weights" in caplog.text
    theirs = TorchEngine.load(packed, "cpu", "fp32").score(WINDOWS)
    assert worst(engine.score(WINDOWS), theirs) < form.most


def test_model_of_another_version_is_converted_anew(
    form: Form, packed: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model exported by a version with other inputs is not fed these."""
    with monkeypatch.context() as before:
        before.setattr(Facts, "__init__", partialmethod(Facts.__init__, form=1))
        form.export(packed, packed)

    engine = form.load(packed)

    assert "made by another version" in caplog.text
    theirs = TorchEngine.load(packed, "cpu", "fp32").score(WINDOWS)
    assert worst(engine.score(WINDOWS), theirs) < form.most


def test_a_damaged_export_is_one_clear_line(form: Form, packed: Path) -> None:
    """It names the file."""
    form.export(packed, packed)
    form.file(packed).write_bytes(form.damaged)

    with pytest.raises(BundleError, match=form.module.MODEL) as caught:
        form.load(packed)

    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_rewritten_is_refused(form: Form, tmp_path: Path) -> None:
    """And the engine that can run it is named."""
    folder = checkpoints.write(tmp_path / "model", span_mode="token_level")

    with pytest.raises(BundleError, match="torch can"):
        form.load(folder)


def test_a_tokenizer_that_its_file_does_not_hold_is_not_exported(
    form: Form, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start without GLiNER would read texts in another way."""
    converted = form.module._converted

    def with_one_more_token(found: Any) -> Any:
        model, facts, tokenizer = converted(found)
        tokenizer.add_tokens(["lovelace"])
        return model, facts, tokenizer

    monkeypatch.setattr(form.module, "_converted", with_one_more_token)

    assert not form.export(packed, packed)
    assert not form.file(packed).exists()


@pytest.mark.parametrize("name", FORMS)
def test_manifest_chooses_the_engine(
    name: str, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU, which `auto` is for it; another device has torch."""
    manifest = {"id": "tiny", "engine": name, "precision": "fp32"}
    (packed / "bundle.json").write_text(json.dumps(manifest))
    found = bundle.locate(str(packed))
    engines.bring(found)
    engines.prepare(found)

    assert FORMS[name].file(packed).is_file()
    assert engines.load(found, "cpu", "fp32", 1).name == name
    assert hardware.choose_device("auto", name) == "cpu"
    monkeypatch.setattr(TorchEngine, "load", lambda folder, device, precision, compiled: device)
    elsewhere: Any = engines.load(found, "cuda:0", "bf16")
    assert elsewhere == "cuda:0"
