"""Golden answers: what a bundle must return before it may take traffic.

A library upgrade once collapsed a model's scores without an error anywhere. A bundle that
does not reproduce the answers recorded when it was written never becomes ready.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from predictor.errors import BundleError
from predictor.extraction import Entity, Extractor, Label, Query

FILE = "golden.json"
TOLERANCE: Mapping[str, float] = {"fp32": 0.01, "fp16": 0.03, "bf16": 0.08, "int8": 0.15}
"""How far a score may be from the recorded one, by precision. A model broken by a library is
off by far more; rounding in a lower precision is not."""

REQUESTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "Ada Lovelace was born in London on 10 December 1815.",
        ("person", "location", "date"),
    ),
    (
        "Satya Nadella joined Microsoft in 1992 and became its chief executive in Redmond.",
        ("person", "company", "city", "date"),
    ),
    (
        "The University of Cape Town and the World Health Organization signed an agreement "
        "in Geneva, Switzerland.",
        ("organization", "location"),
    ),
    ("Nothing of note happened; it rained and we stayed in.", ("person", "organization")),
)


def record(extractor: Extractor, file: Path) -> None:
    """Write what a model answers to the golden requests."""
    rows = [
        {"text": text, "labels": list(labels), "entities": [_row(one) for one in found]}
        for (text, labels), found in zip(REQUESTS, _answers(extractor, REQUESTS), strict=True)
    ]
    file.write_text(
        json.dumps({"requests": rows}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def check(extractor: Extractor, file: Path) -> int:
    """Hold a loaded model against its golden answers.

    Args:
        extractor: the model as it will serve.
        file: the bundle's `golden.json`.

    Returns:
        How many requests were checked.

    Raises:
        BundleError: an entity is missing, new, or its score is off by more than the
            tolerance of the precision; or the file does not hold golden answers.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["requests"]
        requests = [(row["text"], tuple(row["labels"])) for row in rows]
        expected = [{_key(one): float(one["score"]) for one in row["entities"]} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file}: not golden answers: {type(error).__name__}: {error}") from error
    tolerance = TOLERANCE[extractor.engine.precision]
    for index, (want, found) in enumerate(
        zip(expected, _answers(extractor, requests), strict=True)
    ):
        have = {_key(_row(one)): one.score for one in found}
        for key in want.keys() | have.keys():
            # One that is missing or new is off by its distance from the threshold.
            off = abs(want.get(key, _THRESHOLD) - have.get(key, _THRESHOLD))
            if off > tolerance:
                raise BundleError(
                    f"{file}: request {index} no longer gives its golden answer: label "
                    f"{key[2]!r} at {key[0]}-{key[1]} scores {_shown(have.get(key))}, recorded "
                    f"was {_shown(want.get(key))} (tolerance {tolerance}); a library or the "
                    "weights changed. Set GLINER_GOLDEN_CHECK=false to serve it all the same"
                )
    return len(rows)


_THRESHOLD = 0.5


def _answers(
    extractor: Extractor, requests: Sequence[tuple[str, tuple[str, ...]]]
) -> list[tuple[Entity, ...]]:
    queries = [
        Query(
            text=text,
            labels=tuple(Label(name, name, _THRESHOLD) for name in labels),
            flat_ner=True,
            multi_label=False,
        )
        for text, labels in requests
    ]
    return [found.entities for found in extractor.extract(queries)]


def _row(entity: Entity) -> dict[str, Any]:
    return {**entity.row(), "score": round(entity.score, 4)}


def _key(row: Mapping[str, Any]) -> tuple[int, int, str]:
    return int(row["start"]), int(row["end"]), str(row["label"])


def _shown(score: float | None) -> str:
    return f"below {_THRESHOLD}" if score is None else f"{score:.3f}"
