"""The rewritten forward pass against GLiNER's own, on every detail that it claims."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import torch
from gliner import GLiNER
from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

from predictor.engines import Window
from predictor.engines.reading import Distances
from predictor.engines.rewritten import obstacle
from predictor.engines.torch import TorchEngine

WORDS = ("Ada", "was", "born", "in", "London", "unbelievable", "x", "1815", "?")
LABELS = ("person", "location", "date of birth", "the")

CLAIMED: dict[str, dict[str, Any]] = {
    "bert": {"kind": "bert"},
    "deberta": {"kind": "deberta"},
    "no lstm": {"kind": "deberta", "num_rnn_layers": 0},
    "projection": {"kind": "deberta", "hidden_size": 48},
    "prompt behind its marker": {"kind": "bert", "embed_ent_token": False},
    "mean pooling": {"kind": "bert", "subtoken_pooling": "mean"},
    "last pooling": {"kind": "deberta", "subtoken_pooling": "last"},
    "a key of its own": {"kind": "deberta", "encoder": {"share_att_key": False}},
    "content to position": {"kind": "deberta", "encoder": {"pos_att_type": ["c2p"]}},
    "position to content": {"kind": "deberta", "encoder": {"pos_att_type": ["p2c"]}},
    "no position terms": {"kind": "deberta", "encoder": {"pos_att_type": []}},
    "a row for each distance": {"kind": "deberta", "encoder": {"position_buckets": -1}},
    "few buckets": {"kind": "deberta", "encoder": {"position_buckets": 8}},
    "relu": {"kind": "bert", "encoder": {"hidden_act": "relu"}},
    "token types": {"kind": "deberta", "encoder": {"type_vocab_size": 2}},
    "table without norm": {"kind": "deberta", "encoder": {"norm_rel_ebd": "none"}},
}


def logits(gliner: Any, windows: list[Window]) -> list[Any]:
    """GLiNER's own, of each window."""
    rows = [{"tokenized_text": list(window.words), "ner": None} for window in windows]
    prompts = [list(window.prompts) for window in windows]
    batch = gliner.collate_batch(rows, prompts, gliner.create_collator())
    found = gliner.run_batch(batch, threshold=0.0)[0]
    return [
        found[row, : len(window.words), :, : len(window.prompts)]
        for row, window in enumerate(windows)
    ]


def windows(count: int, longest: int) -> list[Window]:
    """Rows of different lengths with different prompts."""
    choose = random.Random(count)
    return [
        Window(
            tuple(choose.choices(WORDS, k=choose.randint(1, longest))),
            tuple(choose.sample(LABELS, k=choose.randint(1, len(LABELS)))),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("detail", CLAIMED)
def test_logits_equal_gliners(detail: str, tmp_path: Path) -> None:
    """In fp32 to 1e-5, alone and in a batch with padding."""
    folder = checkpoints.write(tmp_path / "model", **CLAIMED[detail])
    gliner: Any = GLiNER.from_pretrained(str(folder), local_files_only=True)
    engine = TorchEngine.load(folder, "cpu", "fp32")
    rewritten = engine.rewritten
    assert rewritten is not None
    for asked in (windows(1, 9), windows(5, 40)):
        batch = engine.reader.batch(asked, step=4)
        with torch.inference_mode():
            ours = rewritten(*map(torch.from_numpy, batch.inputs()))
        for row, theirs in enumerate(logits(gliner, asked)):
            count, width, prompts = theirs.shape
            valid = torch.arange(count)[:, None] + torch.arange(width) < count
            mine = ours[row, :count, :, :prompts]
            torch.testing.assert_close(mine[valid], theirs[valid], rtol=0, atol=1e-5)
            assert theirs[valid].std() > 0.01, "all alike, so this would prove nothing"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"span_mode": "token_level"}, "token_level"),
        ({"span_mode": "markerV1"}, "markerV1"),
        ({"num_rnn_layers": 2}, "2 LSTM layers"),
        ({"subtoken_pooling": "max"}, "max pooling"),
        ({"kind": "deberta", "encoder": {"conv_kernel_size": 3}}, "a convolution"),
    ],
)
def test_what_is_not_claimed_runs_as_gliner_has_it(
    changes: dict[str, Any], named: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same scores as GLiNER's, and a line in the log that says why it is slower."""
    folder = checkpoints.write(tmp_path / "model", **changes)

    with caplog.at_level("INFO"):
        engine = TorchEngine.load(folder, "cpu", "fp32")

    assert engine.rewritten is None
    assert named in caplog.text
    [scores] = engine.score([Window(WORDS, LABELS)])
    assert np.isfinite(scores).all()


def test_obstacles_of_a_plain_model(tiny_deberta: Path) -> None:
    """None: an obstacle that every model has would make all of this idle."""
    assert obstacle(GLiNER.from_pretrained(str(tiny_deberta), local_files_only=True)) == ""


@pytest.mark.parametrize(
    ("span", "buckets", "furthest"), [(256, 256, 512), (32, 32, 512), (512, -1, 512), (8, 8, 64)]
)
@pytest.mark.parametrize("positions", [1, 2, 73, 700, 2048])
def test_distances_are_transformers(span: int, buckets: int, furthest: int, positions: int) -> None:
    """The same row of the table for every distance."""
    apart = torch.arange(positions - 1, -positions, -1)
    if buckets > 0:
        apart = make_log_bucket_position(apart, buckets, furthest)
    expected = torch.clamp(apart.to(torch.long) + span, 0, 2 * span - 1)

    rows = Distances(span, buckets, furthest).rows(positions)

    assert rows.tolist() == expected.tolist()
