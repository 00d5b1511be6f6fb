"""The model on OpenVINO against the same model on PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partialmethod
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from numpy.typing import NDArray
from scores import WINDOWS, worst

from predictor import bundle, embedded, engines
from predictor.engines import openvino
from predictor.engines.exported import Facts
from predictor.engines.openvino import MODEL, OpenVinoEngine
from predictor.engines.torch import TorchEngine
from predictor.errors import BundleError


@pytest.fixture(scope="module", params=["embedded", "deberta"])
def folder(request: pytest.FixtureRequest, tiny_deberta: Path) -> Path:
    return embedded.path() if request.param == "embedded" else tiny_deberta


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[NDArray[np.float32]]:
    return TorchEngine.load(folder, "cpu", "fp32").score(WINDOWS)


def load(folder: Path, precision: str = "fp32", threads: int = 1) -> OpenVinoEngine:
    return OpenVinoEngine.load(bundle.locate(str(folder)), precision, threads)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 3e-5), ("bf16", 0.1)])
def test_scores_equal_torch(
    folder: Path, expected: list[NDArray[np.float32]], precision: str, most: float
) -> None:
    """In one batch with padding, and each alone."""
    engine = load(folder, precision)

    assert worst(engine.score(WINDOWS), expected) < most
    for index, window in enumerate(WINDOWS):
        alone = engine.score([window])
        assert worst(alone, expected[index : index + 1], [window]) < most


def test_lanes_do_not_mix(folder: Path, expected: list[NDArray[np.float32]]) -> None:
    """Two threads at once get what one after the other would."""
    engine = load(folder, threads=2)
    assert engine.lanes == 2

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda index: engine.score([WINDOWS[index % 3]]), range(60)))

    for index, one in enumerate(found):
        assert worst(one, [expected[index % 3]], [WINDOWS[index % 3]]) < 3e-5


def test_an_exported_bundle_needs_no_torch(
    folder: Path, expected: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    """It gives the same scores in a process that loads neither torch nor GLiNER."""
    packed = tmp_path / "packed"
    shutil.copytree(folder, packed)
    assert openvino.export(bundle.locate(str(packed)), packed, "fp32")
    script = """
import json, sys
from predictor import bundle
from predictor.engines import Window
from predictor.engines.openvino import OpenVinoEngine
engine = OpenVinoEngine.load(bundle.locate(sys.argv[1]), "fp32", 1)
windows = [Window(*map(tuple, one)) for one in json.loads(sys.argv[2])]
scores = [one.tolist() for one in engine.score(windows)]
heavy = sorted({"torch", "gliner", "transformers"} & set(sys.modules))
print(json.dumps([heavy, engine.limits.words, engine.markers, scores]))
"""
    asked = json.dumps([[window.words, window.prompts] for window in WINDOWS])

    done = subprocess.run(
        [sys.executable, "-c", script, str(packed), asked],
        capture_output=True,
        text=True,
        check=True,
    )

    heavy, words, markers, scores = json.loads(done.stdout)
    torch_engine = TorchEngine.load(folder, "cpu", "fp32")
    assert heavy == []
    assert words == torch_engine.limits.words
    assert tuple(markers) == torch_engine.markers
    assert worst([np.array(one, dtype=np.float32) for one in scores], expected) < 3e-5


def test_other_weights_are_converted_anew(
    tiny_bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model exported from other weights would give another model's answers."""
    packed, other = tmp_path / "packed", tmp_path / "other"
    shutil.copytree(tiny_bert, packed)
    checkpoints.write(other, "bert", max_width=4)
    openvino.export(bundle.locate(str(other)), packed, "fp32")

    engine = load(packed)

    assert "made from other weights" in caplog.text
    theirs = TorchEngine.load(tiny_bert, "cpu", "fp32").score(WINDOWS)
    assert worst(engine.score(WINDOWS), theirs) < 3e-5


def test_model_of_another_version_is_converted_anew(
    tiny_bert: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model exported by a version with other inputs is not fed these."""
    packed = tmp_path / "packed"
    shutil.copytree(tiny_bert, packed)
    with monkeypatch.context() as before:
        before.setattr(Facts, "__init__", partialmethod(Facts.__init__, form=1))
        openvino.export(bundle.locate(str(packed)), packed, "fp32")

    engine = load(packed)

    assert "made by another version" in caplog.text
    assert (
        worst(engine.score(WINDOWS), TorchEngine.load(tiny_bert, "cpu", "fp32").score(WINDOWS))
        < 1e-4
    )


def test_a_damaged_export_is_one_clear_line(tiny_bert: Path, tmp_path: Path) -> None:
    """It names the file."""
    packed = tmp_path / "packed"
    shutil.copytree(tiny_bert, packed)
    openvino.export(bundle.locate(str(packed)), packed, "bf16")
    (packed / MODEL).write_text("<net")

    with pytest.raises(BundleError, match=MODEL) as caught:
        load(packed)

    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_rewritten_is_refused(tmp_path: Path) -> None:
    """And the engine that can run it is named."""
    folder = checkpoints.write(tmp_path / "model", span_mode="token_level")

    with pytest.raises(BundleError, match="torch can"):
        load(folder)


def test_a_tokenizer_that_its_file_does_not_hold_is_not_exported(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start without GLiNER would read texts in another way."""
    packed = tmp_path / "packed"
    shutil.copytree(tiny_bert, packed)
    converted = openvino._converted

    def with_one_more_token(found: Any) -> Any:
        model, facts, tokenizer = converted(found)
        tokenizer.add_tokens(["lovelace"])
        return model, facts, tokenizer

    monkeypatch.setattr(openvino, "_converted", with_one_more_token)

    assert not openvino.export(bundle.locate(str(packed)), packed, "fp32")
    assert not (packed / MODEL).exists()


def test_a_cpu_without_bf16_computes_in_fp32(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle chosen on a newer machine serves on an older one, and says how."""
    monkeypatch.setattr(openvino, "_capabilities", lambda core: ["FP32", "INT8"])

    engine = load(tiny_bert, "bf16")

    assert engine.precision == "fp32"
    assert "no bf16" in caplog.text


def test_manifest_chooses_the_engine(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU; another device has torch."""
    packed = tmp_path / "packed"
    shutil.copytree(tiny_bert, packed)
    manifest = {"id": "tiny", "engine": "openvino", "precision": "fp32"}
    (packed / "bundle.json").write_text(json.dumps(manifest))
    found = bundle.locate(str(packed))

    assert engines.load(found, "cpu", "fp32", 1).name == "openvino"
    monkeypatch.setattr(TorchEngine, "load", lambda folder, device, precision, compiled: device)
    elsewhere: Any = engines.load(found, "cuda:0", "bf16")
    assert elsewhere == "cuda:0"


def test_nothing_is_reported() -> None:
    """OpenVINO's converter sends statistics where it finds the package that does."""
    from openvino.tools.ovc import convert_impl, telemetry_stub

    assert convert_impl.tm is telemetry_stub
