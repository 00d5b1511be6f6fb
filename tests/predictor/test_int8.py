"""Models in int8: measured on texts, near the original, and never by accident."""

from __future__ import annotations

import re
import shutil
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import attention_built
import numpy as np
import openvino as ov
import pytest
from scores import worst

from predictor import bundle, embedded, engines, golden, hardware
from predictor.engines import Window, attention, blocks, openvino, quantised
from predictor.engines.attention import AVX512, NEITHER
from predictor.engines.openvino import OpenVinoEngine
from predictor.engines.operation import Operations
from predictor.engines.torch import TorchEngine
from predictor.errors import BundleError
from predictor.extraction import Extractor

pytestmark = pytest.mark.slow
WIDE = re.compile(r"blocks\.1\.wide/.*/MatMul$")
TEXTS = (
    "Ada Lovelace was born in London on 10 December 1815 .",
    "Grace Hopper joined the United States Navy and worked with Howard Aiken at Harvard .",
    "Nothing of note happened in the village ; it rained and we stayed in .",
    "The University of Cape Town signed an agreement with Siemens in Geneva .",
)
WINDOWS = [Window(tuple(one.split()), ("person", "location", "organization")) for one in TEXTS * 4]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model, exported in int8."""
    folder = tmp_path_factory.mktemp("int8") / "packed"
    shutil.copytree(embedded.path(), folder)
    found = bundle.locate(str(folder))
    assert openvino.export(found, folder, "int8", WINDOWS)
    return folder


def test_scores_are_near_those_of_fp32(packed: Path) -> None:
    """And not the same: it is int8 that is measured."""
    ours = OpenVinoEngine.load(bundle.locate(str(packed)), "int8", 2).score(WINDOWS)
    theirs = TorchEngine.load(packed, "cpu", "fp32").score(WINDOWS)
    off = []
    for window, one, other in zip(WINDOWS, ours, theirs, strict=True):
        words, width, _ = one.shape
        inside = np.arange(words)[:, None] + np.arange(width) < len(window.words)
        off.append(np.abs(one[inside] - other[inside]))
    every = np.concatenate([one.ravel() for one in off])

    assert 1e-4 < every.max() < 0.5
    assert every.mean() < 0.005


def test_it_gives_the_golden_answers(packed: Path) -> None:
    """A predictor would serve it."""
    engine = OpenVinoEngine.load(bundle.locate(str(packed)), "int8", 2)

    assert (engine.fused > 0) == (attention.level() > 0)
    assert golden.check(Extractor(engine), packed / golden.FILE) == len(golden.REQUESTS)


def test_only_the_encoders_linear_layers_are_in_int8(packed: Path) -> None:
    """All of them; heads, and products of two activations, stay in floating point."""
    products = {
        one.get_friendly_name(): weight_bits(one)
        for one in ov.Core().read_model(packed / openvino.MODEL).get_ordered_ops()
        if one.get_type_name() == "MatMul"
    }
    layers = {name for name, bits in products.items() if bits and "block" in name}

    assert len(layers) > 10
    assert {name for name, bits in products.items() if bits == 8} == layers
    assert None in products.values()
    assert max(bits or 0 for bits in products.values()) > 8


def test_no_rounding_is_a_pass_over_memory_of_its_own(packed: Path) -> None:
    """OpenVINO merges scales and rounding into a slow operation, unless they are kept apart."""
    model = ov.Core().read_model(packed / openvino.MODEL)
    alone = roundings(model)

    places = quantised.keep_apart(model)

    assert places == alone > 5
    assert roundings(model) == 0


def test_all_layers_are_one_operation(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is left is what stands before and behind them."""
    monkeypatch.setattr(attention, "level", lambda: AVX512)
    model = ov.Core().read_model(packed / openvino.MODEL)
    before = kinds(model)

    assert blocks.fuse(model).layers == before["ScaledDotProductAttention"] == 5
    after = kinds(model)
    assert after["Encoder"] == 1
    assert after["ScaledDotProductAttention"] == after["FakeQuantize"] == after["Gelu"] == 0
    assert 0 < after["MatMul"] < before["MatMul"]


def test_layers_of_another_kind_stay_with_openvino(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them where one is not as it is looked for, or the processor has neither."""
    monkeypatch.setattr(attention, "level", lambda: AVX512)
    model = ov.Core().read_model(packed / openvino.MODEL)
    [wide] = [one for one in model.get_ordered_ops() if WIDE.search(one.get_friendly_name())]
    rounding = wide.input_value(0).get_node()
    wide.input(0).replace_source_output(rounding.input_value(0))
    before = kinds(model)

    assert not blocks.fuse(model)
    assert kinds(model) == before
    monkeypatch.setattr(attention, "level", lambda: NEITHER)
    assert not blocks.fuse(ov.Core().read_model(packed / openvino.MODEL))


@attention_built.required
def test_scores_are_those_of_openvinos_own_layers(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for rounding: of texts together, of one alone, and of two lanes at once."""
    found = bundle.locate(str(packed))
    reference = TorchEngine.load(packed, "cpu", "fp32").score(WINDOWS)
    ours = OpenVinoEngine.load(found, "int8", 2)
    monkeypatch.setattr(blocks, "fuse", lambda *_: Operations())
    theirs = OpenVinoEngine.load(found, "int8", 2)
    most = 1.5 * worst(theirs.score(WINDOWS), reference, WINDOWS)

    assert worst(ours.score(WINDOWS), reference, WINDOWS) < most
    with ThreadPoolExecutor(2) as pool:
        for index, alone in enumerate(pool.map(lambda one: ours.score([one]), WINDOWS)):
            assert worst(alone, reference[index : index + 1], [WINDOWS[index]]) < most


def kinds(model: ov.Model) -> Counter[str]:
    """How many operations of each there are."""
    return Counter(one.get_type_name() for one in model.get_ordered_ops())


def roundings(model: ov.Model) -> int:
    """Operations of the compiled model that do nothing but round."""
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = [one.get_rt_info()["layerType"] for one in compiled.get_runtime_model().get_ops()]
    return kinds.count("FakeQuantize")


def weight_bits(product: Any) -> int | None:
    """Of the constant that a matrix product multiplies by; None where there is none."""
    node = product.input_value(1).get_node()
    while node.get_type_name() in ("Convert", "Multiply", "Reshape", "Transpose"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    return int(node.get_element_type().bitwidth)


def test_another_precision_is_made_from_the_weights(
    packed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`GLINER_PRECISION=fp32` on such a bundle is fp32, not int8 under another name."""
    engine = OpenVinoEngine.load(bundle.locate(str(packed)), "fp32", 1)
    theirs = TorchEngine.load(packed, "cpu", "fp32").score(WINDOWS[:1])

    assert "another precision" in caplog.text
    assert float(np.abs(engine.score(WINDOWS[:1])[0][0] - theirs[0][0]).max()) < 1e-4


def test_int8_is_not_made_at_a_start(tiny_bert: Path) -> None:
    """It takes texts to measure on; the line says who has them."""
    with pytest.raises(BundleError, match="optimise"):
        OpenVinoEngine.load(bundle.locate(str(tiny_bert)), "int8", 1)


def test_it_needs_texts_and_its_library(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in one line."""
    found = bundle.locate(str(tiny_bert))
    wanted = replace(found, manifest=replace(found.manifest, engine="openvino", precision="int8"))

    with pytest.raises(BundleError, match="there are none"):
        engines.prepare(wanted)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(BundleError, match="gliner-kserve\\[pipeline\\]"):
        engines.prepare(wanted, WINDOWS)


def test_nothing_is_told_to_openvinos_makers(packed: Path) -> None:
    """The package that would is kept from being imported; NNCF asks for it too."""
    assert packed.exists()
    assert sys.modules["openvino_telemetry"] is None


def test_a_gpu_takes_the_bundles_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was chosen for a CPU says nothing about it."""
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)

    assert hardware.choose_precision("auto", "cpu", "int8") == "int8"
    assert hardware.choose_precision("auto", "cuda:0", "int8") == "bf16"
    assert hardware.choose_precision("auto", "mps", "int8") == "fp32"
