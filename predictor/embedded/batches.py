"""Labelled rows to the tensors that GLiNER's model takes, in batches of like length."""

import dataclasses
import random
from collections.abc import Iterator, Sequence

import torch
from gliner.model import UniEncoderSpanGLiNER

from pipeline.dataset import Row
from predictor.embedded.labels import answers, kind_of


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A row and the labels it is asked for."""

    row: Row
    prompt: tuple[str, ...]

    @property
    def weight(self) -> int:
        """About how many pieces it takes."""
        return int(1.5 * len(self.row.words)) + 3 * len(self.prompt)


def bucketed(
    examples: Sequence[Example], pieces: int, rng: random.Random
) -> Iterator[list[Example]]:
    """Every example once, in batches of at most `pieces` pieces padded, in random order."""
    batches: list[list[Example]] = [[]]
    for example in sorted(examples, key=lambda e: (e.weight, rng.random())):
        # Sorted by weight, so the newest is the widest of its batch.
        if batches[-1] and (len(batches[-1]) + 1) * example.weight > pieces:
            batches.append([])
        batches[-1].append(example)
    rng.shuffle(batches)
    return iter(batches)


def tensors(model: UniEncoderSpanGLiNER, batch: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Arguments of the model's forward, with `labels` one-hot over words, widths and prompt.

    A prompt written in another case asks for the same kinds.
    """
    width = model.config.max_width
    texts = [list(example.row.words) for example in batch]
    inputs = dict(
        model.data_processor.tokenize_inputs(texts, [list(example.prompt) for example in batch])
    )
    lengths = torch.tensor([[len(text)] for text in texts])
    longest = int(lengths.max())
    starts = torch.arange(longest).repeat_interleave(width)
    ends = starts + torch.arange(width).repeat(longest)
    labels = torch.zeros(len(batch), longest, width, max(len(example.prompt) for example in batch))
    for at, example in enumerate(batch):
        asked = [label.lower() for label in example.prompt]
        kinds = [kind_of(span.label) for span in example.row.spans]
        for span, places in zip(example.row.spans, answers(kinds, asked), strict=True):
            if span.end - span.start < width:
                labels[at, span.start, span.end - span.start, places] = 1.0
    return {
        "input_ids": inputs["input_ids"],
        "attention_mask": inputs["attention_mask"],
        "words_mask": inputs["words_mask"],
        "text_lengths": lengths,
        "span_idx": torch.stack([starts, ends], dim=-1).repeat(len(batch), 1, 1),
        "span_mask": ends.unsqueeze(0) < lengths,
        "labels": labels,
    }
