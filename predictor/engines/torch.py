"""GLiNER on PyTorch: rewritten where that is the same, else as it comes."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from predictor import logs
from predictor.engines import Limits, Window, checkpoint
from predictor.engines.reading import Reader, Reading, cut
from predictor.engines.rewritten import Rewritten, layout, obstacle
from predictor.errors import BundleError

if TYPE_CHECKING:
    from gliner import GLiNER

LONGEST_FORWARD = 2048
"""Positions in one forward pass for encoders without a limit of their own: attention grows
with the square, and one endless word must not take the memory of the pod."""

TOKEN_LEVEL_WIDTH = 48
"""Longest entity, in words, of models that score words in place of spans: they know no limit,
but windows must overlap by twice the longest."""

_SERVED = ("UniEncoderSpanGLiNER", "UniEncoderTokenGLiNER")
_log = logging.getLogger(logs.OURS)


class TorchEngine(Reading):
    """Runs a GLiNER model that reads text and labels with one encoder.

    Two kinds are served: those that score spans (`span_mode: markerV0` and its like) and
    those that score each word as a start, an inside and an end (`span_mode: token_level`).

    Args:
        model: a loaded model.
        device: where its weights are.
        precision: what they are in.
        rewritten: runs in place of the model's own forward pass.
        compiled: whether that is compiled at the first passes of their kind, for all sizes.

    Attributes:
        reader: its text side.
        splitter: GLiNER's name for what splits texts into words.
    """

    name = "torch"
    lanes = 1
    """Its own threads share out a pass."""

    def __init__(
        self,
        model: GLiNER,
        device: str,
        precision: str,
        rewritten: Rewritten | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        config: Any = model.config
        kind = type(model).__name__
        if kind not in _SERVED or getattr(config, "represent_spans", False):
            raise BundleError(
                f"a {kind} is not served yet; bring a GLiNER with one encoder for text and "
                "labels, such as gliner_medium-v2.1"
            )
        self._token_level = config.span_mode == "token_level"
        self.precision = precision
        self.device = device
        # What was rewritten is not kept twice.
        self._model: Any = model if rewritten is None else None
        processor: Any = model.data_processor
        tokenizer: Any = processor.transformer_tokenizer
        # A copy: GLiNER's own calls leave truncation and padding set on theirs.
        own = copy.deepcopy(tokenizer.backend_tokenizer)
        super().__init__(Reader(own, processor.words_splitter, layout(model)))
        self.splitter = str(config.words_splitter_type)
        self._collator = model.create_collator()
        self.rewritten = rewritten
        # In two graphs, before and behind the LSTM, which torch.compile leaves to cuDNN.
        self._run: Any = torch.compile(rewritten, dynamic=True) if compiled else rewritten
        self.limits = Limits(
            words=int(config.max_len),
            width=TOKEN_LEVEL_WIDTH if self._token_level else int(config.max_width),
            positions=_positions(config.encoder_config, tokenizer),
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str,
        precision: str,
        *,
        rewrite: bool = True,
        compiled: bool = False,
    ) -> TorchEngine:
        """Load a bundle's weights.

        Args:
            folder: a folder with GLiNER's own files, checked by `bundle.locate`.
            device: a torch device such as `cpu` or `cuda:0`.
            precision: `fp32`, `bf16` or `fp16`.
            rewrite: run it rewritten where that can be; not for weights that will change.
            compiled: compile what is rewritten with `torch.compile`, which takes a C compiler and
                minutes.

        Raises:
            BundleError: the files do not make a model.
        """
        model = checkpoint.load(folder, device, precision)
        if not rewrite:
            return cls(model, device, precision)
        if reason := obstacle(model):
            _log.info("runs as GLiNER has it, which is slower: no rewriting for %s", reason)
            return cls(model, device, precision)
        engine = cls(model, device, precision, Rewritten(model), compiled=compiled)
        if compiled:
            engine._compile()
        return engine

    def _compile(self) -> None:
        """Have all graphs made that requests will meet, but for those of texts of one word.

        Whatever is 1 is a constant to `torch.compile`: it makes one graph for a text and one for
        several, and so with labels. Callers would wait for each, for up to a minute. Sizes that
        are alike by chance, as of a text of an even number of subwords, it takes for one; hence
        numbers that differ, and two texts.
        """
        prompts = ("first", "second", "third")
        for texts, labels in itertools.product((1, 2), (1, 3)):
            _log.info("compiling: texts %d, labels %d", texts, labels)
            for words in (5, 4):
                self.score([Window(("a",) * words, prompts[:labels])] * texts)

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """Score windows in one forward pass. See `Engine.score`."""
        if self.rewritten is not None:
            return self._score_rewritten(windows)
        rows = [{"tokenized_text": list(window.words), "ner": None} for window in windows]
        prompts = [list(window.prompts) for window in windows]
        batch = self._model.collate_batch(rows, prompts, self._collator)
        output = self._model.run_batch(batch, threshold=0.0)
        probabilities = torch.sigmoid(output[0].float()).cpu().numpy()
        if not self._token_level:
            return cut(probabilities, windows)
        return [
            _span_scores(probabilities[row, : len(window.words), : len(window.prompts)])
            for row, window in enumerate(windows)
        ]

    def _score_rewritten(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        batch = self.reader.batch(windows)
        with torch.inference_mode():
            logits = self._run(*(torch.from_numpy(one).to(self.device) for one in batch.inputs()))
            probabilities = torch.sigmoid(logits.float()).cpu().numpy()
        return cut(probabilities, windows)


def _span_scores(words: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of spans from scores of words, as GLiNER's token decoder has them.

    A span is as good as the weakest of its start, its end and every word inside.

    Args:
        words: probabilities of shape (words, prompts, 3) to be a start, an end, inside.
    """
    start, end, inside = words[..., 0], words[..., 1], words[..., 2]
    count, prompts = start.shape
    scores = np.zeros((count, min(TOKEN_LEVEL_WIDTH, count), prompts), dtype=np.float32)
    weakest = start
    for reach in range(scores.shape[1]):
        weakest = np.minimum(weakest[: count - reach], inside[reach:])
        scores[: count - reach, reach] = np.minimum(weakest, end[reach:])
    return scores


def _positions(encoder: Any, tokenizer: Any) -> int:
    """How many subwords the encoder takes, from its config and its tokenizer."""
    limit = min(int(getattr(tokenizer, "model_max_length", LONGEST_FORWARD)), LONGEST_FORWARD)
    absolute = getattr(encoder, "max_position_embeddings", None)
    # DeBERTa's positions are relative, unless it adds absolute ones to its input as well.
    unbounded = getattr(encoder, "relative_attention", False) and not getattr(
        encoder, "position_biased_input", True
    )
    if absolute and not unbounded:
        # RoBERTa and its kin number positions from behind the padding token.
        offset = encoder.pad_token_id + 1 if "roberta" in encoder.model_type else 0
        limit = min(limit, int(absolute) - offset)
    return limit
