"""What a fine-tuning is: its parameters, its rows, and the key that says two are the same."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from pipeline.dataset import File, Row, Span, resplit
from pipeline.errors import SettingsError
from pipeline.evaluation import Value

if TYPE_CHECKING:
    from predictor.engines import Engine

_LIBRARIES = ("gliner", "torch", "transformers")


class TrainParameters(Value):
    """How to fine-tune. The defaults suit a few hundred to some ten thousand texts."""

    epochs: float = Field(3.0, gt=0, le=1_000)
    """Passes over the training data, unless `max_steps` says otherwise."""

    max_steps: int = Field(0, ge=0)
    """Steps to train; 0 leaves it to `epochs`."""

    batch_size: int = Field(8, ge=1, le=1_024)
    """Texts in a step."""

    encoder_rate: float = Field(1e-5, gt=0, lt=1)
    """Learning rate of the text encoder, which knows much already."""

    head_rate: float = Field(5e-5, gt=0, lt=1)
    """Learning rate of all other layers."""

    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the steps in which the rates rise; then they fall to 0."""

    weight_decay: float = Field(0.01, ge=0, lt=1)
    """Pulls weights towards 0."""

    seed: int = Field(42, ge=0, lt=2**32)
    """Decides the order of texts and labels, and what dropout drops."""

    eval_every: int = Field(0, ge=0)
    """Steps between two evaluations, each of which keeps a checkpoint; 0 takes an epoch."""

    patience: int = Field(3, ge=1)
    """Evaluations without a gain after which training stops."""

    metric: Literal["f1", "loss"] = "f1"
    """What a gain is, on the evaluation data."""

    max_minutes: float = Field(0.0, ge=0)
    """Longest time for one attempt, then the best so far is taken; 0 has no limit."""

    max_labels: int = Field(25, ge=1, le=200)
    """Most labels that a text is asked for: its own, then others of its file by chance."""

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> TrainParameters:
        """Parameters from a graph's argument; what is not given keeps its default.

        Raises:
            SettingsError: one is unknown or out of bounds; the text names it.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            known = ", ".join(cls.model_fields)
            unknown = first["type"] == "extra_forbidden"
            hint = f"; known are {known}" if unknown else f", got {first['input']!r}"
            raise SettingsError(f"training parameter {name}: {first['msg']}{hint}") from None


def key(base: str, train: str, evaluation: str, parameters: TrainParameters) -> str:
    """A name for a training: equal when digests, parameters and libraries are."""
    from importlib.metadata import version

    parts = [base, train, evaluation, parameters.model_dump_json()]
    parts += [f"{name}=={version(name)}" for name in _LIBRARIES]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def examples(
    files: Sequence[File], engine: Engine, parameters: TrainParameters
) -> list[dict[str, Any]]:
    """Rows as GLiNER trains on them, in the words it will be served, each with its labels.

    A text that is longer than the model reads becomes several.
    """
    found: list[dict[str, Any]] = []
    asked = ((row, file.labels) for file in files if file.labels for row in file.rows)
    for number, (given, labels) in enumerate(asked):
        row = resplit(given)
        # One generator a row: what a row is asked for depends on no other row.
        chance = random.Random(f"{parameters.seed}-{number}")  # noqa: S311 - seeded on purpose
        prompt = _prompt(row, labels, parameters.max_labels, engine, chance)
        room = engine.limits.positions - engine.prompt_positions(prompt)
        found.extend(
            {
                "tokenized_text": list(piece.words),
                "ner": [[one.start, one.end, one.label] for one in piece.spans],
                # Without it GLiNER picks in the order of a set, which no seed decides.
                "ner_labels": list(prompt),
            }
            for piece in _pieces(row, engine, room)
        )
    return found


def _prompt(
    row: Row, labels: Sequence[str], most: int, engine: Engine, chance: random.Random
) -> list[str]:
    """The row's labels and others of its file, as many as fit, in random order."""
    own = sorted({span.label for span in row.spans})
    others = [label for label in labels if label not in own]
    chance.shuffle(others)
    chosen = (own + others)[: max(most, len(own))]
    while len(chosen) > max(1, len(own)) and (
        engine.prompt_positions(chosen) > engine.limits.positions // 2
    ):
        chosen.pop()
    chance.shuffle(chosen)
    return chosen


def _pieces(row: Row, engine: Engine, room: int) -> Iterator[Row]:
    """The row cut into what one forward pass can read; no cut goes through a mention."""
    subwords = engine.subwords(row.words)
    start = 0
    while start < len(row.words):
        end, taken = start, 0
        while end < len(row.words) and end - start < engine.limits.words:
            taken += subwords[end]
            if taken > room and end > start:
                break
            end += 1
        # Moved back to before a mention, the cut may go through one that began earlier.
        while crossed := [one.start for one in row.spans if start < one.start < end <= one.end]:
            end = min(crossed)
        spans = tuple(
            Span(one.start - start, one.end - start, one.label)
            for one in row.spans
            if start <= one.start and one.end < end
        )
        yield Row(row.words[start:end], spans, row.source, row.line)
        start = end
