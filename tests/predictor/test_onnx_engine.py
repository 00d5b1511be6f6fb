"""The model on ONNX Runtime against the same model on PyTorch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx as onnx_format
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scores import WINDOWS, worst

from predictor import bundle, embedded, golden
from predictor.engines import onnx
from predictor.engines.onnx import MODEL, OnnxEngine
from predictor.engines.torch import TorchEngine
from predictor.errors import BundleError
from predictor.extraction import Extractor


@pytest.fixture(scope="module", params=["embedded", "deberta"])
def folder(request: pytest.FixtureRequest, tiny_deberta: Path) -> Path:
    return embedded.path() if request.param == "embedded" else tiny_deberta


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[NDArray[np.float32]]:
    return TorchEngine.load(folder, "cpu", "fp32").score(WINDOWS)


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with its export in fp32."""
    packed: Path = tmp_path_factory.mktemp("fp32") / "packed"
    shutil.copytree(folder, packed)
    assert onnx.export(bundle.locate(str(packed)), packed, "fp32")
    return packed


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with its export in int8."""
    packed: Path = tmp_path_factory.mktemp("int8") / "packed"
    shutil.copytree(embedded.path(), packed)
    assert onnx.export(bundle.locate(str(packed)), packed, "int8")
    return packed


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "packed"))


def load(folder: Path, precision: str = "fp32", threads: int = 1) -> OnnxEngine:
    return OnnxEngine.load(bundle.locate(str(folder)), precision, threads)


def test_scores_equal_torch(packed: Path, expected: list[NDArray[np.float32]]) -> None:
    """In one batch with padding, and each alone."""
    engine = load(packed)

    assert worst(engine.score(WINDOWS), expected) < 1e-5
    for index, window in enumerate(WINDOWS):
        assert worst(engine.score([window]), expected[index : index + 1], [window]) < 1e-5


@pytest.mark.parametrize("threads", [2, 4])
def test_lanes_do_not_mix(packed: Path, expected: list[NDArray[np.float32]], threads: int) -> None:
    """Two threads at once get what one after the other would."""
    engine = load(packed, threads=threads)
    assert engine.lanes == 2

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda index: engine.score([WINDOWS[index % 3]]), range(30)))

    for index, one in enumerate(found):
        assert worst(one, [expected[index % 3]], [WINDOWS[index % 3]]) < 1e-5


def test_an_exported_bundle_needs_no_torch(
    packed: Path, expected: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    """Nor the package that made it. And nothing is kept or told about who runs it: ONNX Runtime
    would write an identity and a queue of events below the home folder."""
    script = """
import json, sys
from predictor import bundle
from predictor.engines import Window
from predictor.engines.onnx import OnnxEngine
engine = OnnxEngine.load(bundle.locate(sys.argv[1]), "fp32", 1)
windows = [Window(*map(tuple, one)) for one in json.loads(sys.argv[2])]
scores = [one.tolist() for one in engine.score(windows)]
heavy = sorted({"torch", "gliner", "transformers", "onnx"} & set(sys.modules))
print(json.dumps([heavy, engine.limits.words, engine.markers, scores]))
"""
    asked = json.dumps([[window.words, window.prompts] for window in WINDOWS])
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}

    done = subprocess.run(
        [sys.executable, "-c", script, str(packed), asked],
        capture_output=True,
        text=True,
        check=True,
        env=theirs | {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")},
    )

    heavy, words, markers, scores = json.loads(done.stdout)
    torch_engine = TorchEngine.load(packed, "cpu", "fp32")
    assert heavy == []
    assert words == torch_engine.limits.words
    assert tuple(markers) == torch_engine.markers
    assert worst([np.array(one, dtype=np.float32) for one in scores], expected) < 1e-5
    assert list(tmp_path.iterdir()) == []


def test_int8_is_near_and_not_the_same(int8: Path) -> None:
    """It is int8 that is measured."""
    ours = load(int8, "int8").score(WINDOWS)
    theirs = TorchEngine.load(int8, "cpu", "fp32").score(WINDOWS)
    off = np.concatenate([np.abs(a - b).ravel() for a, b in zip(ours, theirs, strict=True)])

    assert 1e-4 < worst(ours, theirs) < 0.5
    assert off.mean() < 0.005


def test_int8_gives_the_golden_answers(int8: Path) -> None:
    """A predictor would serve it."""
    engine = load(int8, "int8")

    assert engine.precision == "int8"
    assert golden.check(Extractor(engine), int8 / golden.FILE) == len(golden.REQUESTS)


def test_neighbours_do_not_change_an_answer_in_int8(int8: Path) -> None:
    """Each token is rounded by its own range, whatever else is in the pass."""
    engine = load(int8, "int8")
    together = engine.score(WINDOWS)

    for index, window in enumerate(WINDOWS):
        assert worst(together[index : index + 1], engine.score([window]), [window]) < 1e-5


def test_only_the_encoders_linear_layers_are_in_int8(int8: Path) -> None:
    """All of them; embeddings, heads and products of two activations stay in floating point."""
    graph = onnx_format.load(str(int8 / MODEL)).graph
    kinds = {one.name: one.data_type for one in graph.initializer}
    rounded = [one for one in graph.node if one.op_type == "MatMulIntegerToFloat"]
    others = [one for one in graph.node if one.op_type in ("MatMul", "Gemm")]

    assert len(rounded) == 20
    assert {kinds[one.input[1]] for one in rounded} == {onnx_format.TensorProto.INT8}
    assert others
    assert not [one.name for one in others if "/blocks." in one.name and one.input[1] in kinds]


def test_another_precision_is_made_from_the_weights(
    int8: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`GLINER_PRECISION=fp32` on such a bundle is fp32, not int8 under another name."""
    engine = load(int8, "fp32")
    theirs = TorchEngine.load(int8, "cpu", "fp32").score(WINDOWS)

    assert "another precision" in caplog.text
    assert worst(engine.score(WINDOWS), theirs) < 1e-5


def test_int8_is_not_made_at_a_start(tiny_bert: Path) -> None:
    """The line says who makes it."""
    with pytest.raises(BundleError, match="optimise"):
        load(tiny_bert, "int8")


def test_anothers_export_is_not_used(
    packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Repositories of the hub have GLiNER's own export in a folder of the same name."""
    theirs = copied(packed, tmp_path)
    model = onnx_format.load(str(theirs / MODEL))
    del model.metadata_props[:]
    onnx_format.save(model, str(theirs / MODEL))

    load(theirs)

    assert "is not ours" in caplog.text


def test_without_its_package_there_is_no_conversion(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A predictor's image has none; the line says where it comes from."""
    monkeypatch.setitem(sys.modules, "onnx", None)

    with pytest.raises(BundleError, match="gliner-kserve\\[pipeline\\]"):
        load(tiny_bert)


def test_a_copy_of_a_bundle_keeps_the_export(int8: Path, tmp_path: Path) -> None:
    """`python -m predictor bundle` on what `optimise` has written."""
    packed = copied(int8, tmp_path)
    manifest = {"id": "embedded", "engine": "onnx", "precision": "int8"}
    (packed / "bundle.json").write_text(json.dumps(manifest))

    written = bundle.write(str(packed), tmp_path / "copy")

    assert load(written.folder, "int8").precision == "int8"


def test_products_in_int8_do_not_overflow() -> None:
    """Without VNNI two products of a byte each are summed in 16 bits, which the largest do not fit:
    there ONNX Runtime has to be asked for the slower way."""
    deep, wide = 64, 48
    weights = np.full((deep, wide), 127, dtype=np.int8)
    one, middle = np.float32(1), np.uint8(0)
    constants = {"weights": weights, "one": one, "middle": middle}
    names = ["states", "weights", "one", "one", "middle"]
    graph = helper.make_graph(
        [helper.make_node("MatMulIntegerToFloat", names, ["out"], domain="com.microsoft")],
        "product",
        [helper.make_tensor_value_info("states", TensorProto.UINT8, [1, deep])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, wide])],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)

    session = onnx._session(model.SerializeToString(), 1, 1)
    [out] = session.run(None, {"states": np.full((1, deep), 255, dtype=np.uint8)})

    assert out.tolist() == [[255 * 127 * deep] * wide]
