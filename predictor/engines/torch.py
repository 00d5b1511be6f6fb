"""GLiNER as it comes, on PyTorch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.engines import Limits, Window, Words
from predictor.errors import BundleError

if TYPE_CHECKING:
    from gliner import GLiNER

LONGEST_FORWARD = 2048
"""Positions in one forward pass for encoders without a limit of their own: attention grows
with the square, and one endless word must not take the memory of the pod."""

SPAN_MODES = ("markerV0", "markerV1", "marker", "query", "mlp", "cat", "conv_conv", "conv_max")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a GLiNER span model with PyTorch."""

    name = "torch"

    def __init__(self, model: GLiNER, device: str, precision: str) -> None:
        config: Any = model.config
        if "token" in str(config.span_mode) or getattr(config, "labels_encoder", None):
            raise BundleError(
                f"span_mode {config.span_mode!r} with "
                f"labels_encoder {getattr(config, 'labels_encoder', None)!r} is not served yet; "
                "bring a GLiNER with one encoder and span scores, such as gliner_medium-v2.1"
            )
        self.precision = precision
        self.device = device
        self._model = model
        self._processor: Any = model.data_processor
        self._tokenizer: Any = self._processor.transformer_tokenizer
        self._collator = model.create_collator()
        self.limits = Limits(
            words=int(config.max_len),
            width=int(config.max_width),
            positions=_positions(config.encoder_config, self._tokenizer),
        )
        self.markers = (str(config.ent_token), str(config.sep_token))
        self._prompt_positions = lru_cache(maxsize=1024)(self._count_prompt)

    @classmethod
    def load(cls, folder: Path, device: str, precision: str) -> TorchEngine:
        """Load a bundle's weights.

        Args:
            folder: a folder with GLiNER's own files, checked by `bundle.locate`.
            device: a torch device such as `cpu` or `cuda:0`.
            precision: `fp32`, `bf16` or `fp16`.

        Raises:
            BundleError: the files do not make a model.
        """
        from gliner import GLiNER

        try:
            model = GLiNER.from_pretrained(
                str(folder),
                local_files_only=True,
                map_location=device,
                dtype=None if precision == "fp32" else _DTYPES[precision],
            )
        except Exception as error:  # GLiNER, transformers and safetensors raise all sorts
            raise BundleError(f"{folder}: cannot load: {type(error).__name__}: {error}") from error
        model.eval()
        return cls(model, device, precision)

    def split(self, text: str) -> Words:
        """Split a text with the model's own splitter. See `Engine.split`."""
        triples = list(self._processor.words_splitter(text))
        if not triples:
            return Words((), (), ())
        tokens, starts, ends = zip(*triples, strict=True)
        return Words(tokens, starts, ends)

    def subwords(self, words: Sequence[str]) -> list[int]:
        """Count the positions of each word. See `Engine.subwords`."""
        encoded = self._tokenizer(
            list(words), is_split_into_words=True, add_special_tokens=False, truncation=False
        )
        counts = Counter(encoded.word_ids(0))
        return [counts[index] for index in range(len(words))]

    def prompt_positions(self, prompts: Sequence[str]) -> int:
        """Count the positions that prompts take. See `Engine.prompt_positions`."""
        return self._prompt_positions(tuple(prompts))

    def _count_prompt(self, prompts: tuple[str, ...]) -> int:
        words = [word for prompt in prompts for word in (self.markers[0], prompt)]
        specials = int(self._tokenizer.num_special_tokens_to_add(pair=False))
        return sum(self.subwords([*words, self.markers[1]])) + specials

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """Score windows in one forward pass. See `Engine.score`."""
        rows = [{"tokenized_text": list(window.words), "ner": None} for window in windows]
        prompts = [list(window.prompts) for window in windows]
        batch = self._model.collate_batch(rows, prompts, self._collator)
        output = self._model.run_batch(batch, threshold=0.0)
        probabilities = torch.sigmoid(output[0].float()).cpu().numpy()
        return [
            probabilities[row, : len(window.words), :, : len(window.prompts)]
            for row, window in enumerate(windows)
        ]


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
