"""What of a checkpoint's folder becomes a model, in which numbers, and what does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from predictor import bundle, engines
from predictor.engines import Window
from predictor.engines.torch import TorchEngine
from predictor.errors import BundleError

WINDOW = Window(("Ada", "was", "in", "London"), ("person",))
MAPS = Path("/proc/self/maps")
"""Linux's list of what files a process has mapped."""
WEIGHTS = (".safetensors", ".bin", ".onnx")
ABSENT = "span_rep_layer.span_rep_layer.project_start.0.weight"


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    """A checkpoint of one's own to change."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "model"))


@pytest.mark.parametrize("file", bundle.WEIGHTS)
def test_incomplete_weights(folder: Path, file: str) -> None:
    """What a file lacks is not made up."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    del weights[ABSENT]
    (torch.save if file.endswith(".bin") else save_file)(weights, folder / file)

    with pytest.raises(BundleError, match=f"incomplete: the model has .*{ABSENT}.*file has not"):
        TorchEngine.load(folder, "cpu", "fp32")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_are_in_the_precision_that_was_asked_for(folder: Path, precision: str) -> None:
    """Whatever they are stored in."""
    weights = load_file(folder / "model.safetensors")
    save_file({name: one.half() for name, one in weights.items()}, folder / "model.safetensors")

    engine = TorchEngine.load(folder, "cpu", precision)

    assert engine.rewritten is not None
    kinds = {one.dtype for one in engine.rewritten.parameters()}
    assert kinds == {{"fp32": torch.float32, "bf16": torch.bfloat16}[precision]}


@pytest.mark.parametrize("name", engines.PRECISIONS)
def test_files_that_are_written_anew(folder: Path, name: str) -> None:
    """A model that serves keeps its weights when their files get others, or are cut short.

    Reading a mapped file that has become shorter ends the process; so none may be mapped.
    """
    found = bundle.locate(str(folder))
    found = replace(found, manifest=replace(found.manifest, engine=name, precision="fp32"))
    engines.prepare(found)
    engine = engines.load(found, "cpu", "fp32", 1)
    [before] = engine.score([WINDOW])

    assert not MAPS.is_file() or str(folder) not in MAPS.read_text()
    for file in (one for one in folder.rglob("*") if one.suffix in WEIGHTS):
        with file.open("r+b") as there:
            there.write(bytes(file.stat().st_size))

    assert np.array_equal(engine.score([WINDOW])[0], before)


def test_a_config_with_a_dtype_of_its_own(
    folder: Path, tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encoder saved as fp16 is fp32 when that is asked for, and torch's default stays."""
    defaults: list[torch.dtype] = []
    monkeypatch.setattr(torch, "set_default_dtype", defaults.append)
    config = json.loads((folder / "gliner_config.json").read_text())
    config["encoder_config"]["dtype"] = "float16"
    (folder / "gliner_config.json").write_text(json.dumps(config))

    engine = TorchEngine.load(folder, "cpu", "fp32")

    assert engine.rewritten is not None
    assert {one.dtype for one in engine.rewritten.parameters()} == {torch.float32}
    assert defaults == []
    window = Window(("Ada", "was", "in", "London"), ("person",))
    expected = TorchEngine.load(tiny_bert, "cpu", "fp32").score([window])[0]
    assert np.array_equal(engine.score([window])[0], expected)
