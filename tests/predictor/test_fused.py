"""A model with attention of our own: the same scores, in OpenVINO's place, and only there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attention_built
import checkpoints
import pytest
from scores import WINDOWS, worst

from predictor import bundle, embedded, logs
from predictor.engines import attention, fused, openvino
from predictor.engines.openvino import OpenVinoEngine
from predictor.engines.silent import ov
from predictor.engines.torch import TorchEngine

WIDE = {"hidden_size": 64}
"""Two heads of 32."""


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DeBERTa with heads as wide as ours computes them."""
    return checkpoints.write(tmp_path_factory.mktemp("wide"), "deberta", WIDE)


def load(folder: Path, precision: str = "bf16") -> OpenVinoEngine:
    return OpenVinoEngine.load(bundle.locate(str(folder)), precision, 2)


@attention_built.required
@pytest.mark.parametrize("name", ["embedded", "deberta"])
def test_a_model_scores_as_with_openvinos_own(
    name: str, wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all layers, the last of which keeps a part; in one batch, alone, and in two lanes."""
    folder = embedded.path() if name == "embedded" else wide
    reference = TorchEngine.load(folder, "cpu", "fp32")
    assert reference.rewritten is not None
    expected = reference.score(WINDOWS)
    ours = load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(attention, "level", lambda: 0)
        theirs = load(folder)

    assert ours.fused == (len(reference.rewritten.blocks) if attention.library() else 0)
    assert theirs.fused == 0
    most = max(0.02, 2 * worst(theirs.score(WINDOWS), expected))
    assert worst(ours.score(WINDOWS), expected) < most
    with ThreadPoolExecutor(2) as pool:
        for index, alone in enumerate(pool.map(lambda one: ours.score([one]), WINDOWS * 4)):
            one = index % len(WINDOWS)
            assert worst(alone, expected[one : one + 1], [WINDOWS[one]]) < most


@attention_built.required
def test_a_model_starts_from_its_export(wide: Path, tmp_path: Path) -> None:
    """What is stored has OpenVINO's attention, and serves where ours was not built; read again it
    is the same model."""
    found = bundle.locate(str(wide))
    assert openvino.export(found, tmp_path, "bf16")
    stored = ov.Core().read_model(tmp_path / openvino.MODEL)
    kinds = [one.get_type_name() for one in stored.get_ordered_ops()]

    assert kinds.count("ScaledDotProductAttention") == 2
    assert "Attention" not in kinds
    assert fused.fuse(stored).layers == (2 if attention.library() else 0)


@pytest.mark.parametrize(
    ("encoder", "precision"),
    [
        (WIDE, "fp32"),  # it computes in bf16
        ({}, "bf16"),  # heads of 16
        ({**WIDE, "pos_att_type": ["c2p"]}, "bf16"),  # one table of two
    ],
    ids=["fp32", "narrow", "one-table"],
)
def test_what_it_cannot_do_stays_with_openvino(
    encoder: dict[str, Any], precision: str, tmp_path: Path
) -> None:
    """And is served all the same."""
    engine = load(checkpoints.write(tmp_path, "deberta", encoder), precision)

    assert engine.fused == 0
    assert len(engine.score(WINDOWS)) == len(WINDOWS)


def test_where_it_was_not_built(
    wide: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The model serves, and the log says why it is slower."""
    for one in (attention.library, attention.level):
        one.cache_clear()
    monkeypatch.setattr(attention, "built", list)
    monkeypatch.setattr("predictor.engines.openvino.capabilities", lambda: ("BF16",))
    with caplog.at_level("INFO", logs.OURS):
        engine = load(wide)
    for one in (attention.library, attention.level):
        one.cache_clear()

    assert engine.fused == 0
    assert "no C compiler" in caplog.text
    assert len(engine.score(WINDOWS)) == len(WINDOWS)
