"""Operations of a text, held against what PyTorch counts."""

from __future__ import annotations

import pytest
import torch
from small_medium import SMALL
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import limit, medium
from predictor.engines import Window
from predictor.engines.rewritten import Rewritten
from predictor.engines.torch import TorchEngine


def test_operations_are_those_that_the_model_does() -> None:
    """The limit counts no work that is not done, and leaves none out above a few per cent."""
    head = {**medium.HEAD, "hidden_size": 48, "num_rnn_layers": 0}  # an LSTM is not counted
    model = medium.build({**medium.ENCODER, **SMALL}, head)
    words = ("bada", "bede", "bidibo", "bodu") * 6
    labels = ("person", "date", "product")
    batch = TorchEngine(model, "cpu", "fp32").reader.batch([Window(words, labels)])
    rewritten = Rewritten(model)

    with (
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),  # the others are not counted
    ):
        rewritten(*(torch.from_numpy(one) for one in batch.inputs()))

    expected = limit.work(model.config.to_dict(), batch.ids.size, len(words), len(labels))
    assert expected == pytest.approx(counter.get_total_flops(), rel=0.05)
