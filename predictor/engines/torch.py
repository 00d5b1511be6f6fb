"""GLiNER as it comes, on PyTorch."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from predictor.engines import Limits, Window, Words
from predictor.errors import BundleError

CONFIG = "gliner_config.json"

if TYPE_CHECKING:
    from gliner import GLiNER

LONGEST_FORWARD = 2048
"""Positions in one forward pass for encoders without a limit of their own: attention grows
with the square, and one endless word must not take the memory of the pod."""

TOKEN_LEVEL_WIDTH = 48
"""Longest entity, in words, of models that score words in place of spans: they know no limit,
but windows must overlap by twice the longest."""

_SERVED = ("UniEncoderSpanGLiNER", "UniEncoderTokenGLiNER")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """Runs a GLiNER model that reads text and labels with one encoder.

    Two kinds are served: those that score spans (`span_mode: markerV0` and its like) and
    those that score each word as a start, an inside and an end (`span_mode: token_level`).
    """

    name = "torch"

    def __init__(self, model: GLiNER, device: str, precision: str) -> None:
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
        self._model = model
        self._processor: Any = model.data_processor
        self._tokenizer: Any = self._processor.transformer_tokenizer
        self._collator = model.create_collator()
        self.limits = Limits(
            words=int(config.max_len),
            width=TOKEN_LEVEL_WIDTH if self._token_level else int(config.max_width),
            positions=_positions(config.encoder_config, self._tokenizer),
        )
        self.markers: tuple[str, ...] = (str(config.ent_token), str(config.sep_token))
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
            with _without_dtype(folder) as readable:
                model = GLiNER.from_pretrained(
                    str(readable),
                    local_files_only=True,
                    map_location=device,
                    dtype=None if precision == "fp32" else _DTYPES[precision],
                )
        except UnpicklingError as error:
            # torch's own text explains how to run the code all the same.
            raise BundleError(
                f"{folder}: the pickled weights hold more than tensors, which is not trusted; "
                "save them as safetensors where they come from"
            ) from error
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
        if not self._token_level:
            return [
                probabilities[row, : len(window.words), :, : len(window.prompts)]
                for row, window in enumerate(windows)
            ]
        return [
            _span_scores(probabilities[row, : len(window.words), : len(window.prompts)])
            for row, window in enumerate(windows)
        ]


@contextmanager
def _without_dtype(folder: Path) -> Iterator[Path]:
    """The same model with an encoder config that asks for no dtype of its own.

    transformers would build such an encoder with torch's default dtype set to that, for the
    whole process, and a model that serves meanwhile on another thread would compute in it. It
    would also leave half of a model in fp16 that was asked for in fp32.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    encoder = config.get("encoder_config") or {}
    if not any(encoder.pop(name, None) for name in ("dtype", "torch_dtype")):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        shadow = Path(temporary) / folder.name
        shadow.mkdir()
        for file in folder.resolve().iterdir():
            if file.name != CONFIG:
                (shadow / file.name).symlink_to(file)
        (shadow / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        yield shadow


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
