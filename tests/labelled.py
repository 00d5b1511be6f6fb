"""Small labelled data sets, and evaluations made up from numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipeline.evaluation import (
    Comparison,
    Dataset,
    Difference,
    Evaluation,
    Latency,
    Measured,
    Score,
    Subject,
)

PEOPLE = (
    "Ada Lovelace",
    "Grace Hopper",
    "Alan Turing",
    "Marie Curie",
    "Emmy Noether",
    "Niels Bohr",
)
CITIES = ("London", "Paris", "Oslo", "Madrid", "Vienna", "Dublin")


def row(text: str, *mentions: tuple[str, str]) -> dict[str, Any]:
    """A row in GLiNER's format: `row("Ada ran", ("Ada", "person"))`."""
    words = text.split()
    ner = []
    for mention, label in mentions:
        parts = mention.split()
        start = next(at for at in range(len(words)) if words[at : at + len(parts)] == parts)
        ner.append([start, start + len(parts) - 1, label])
    return {"tokenized_text": words, "ner": ner}


def write(file: Path, rows: Iterable[object]) -> Path:
    """Write rows as JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
    file.write_text(text, encoding="utf-8")
    return file


def sentences() -> list[dict[str, Any]]:
    """36 plain sentences with a person and a city each, which the embedded model reads well."""
    return [
        row(f"{person} was born in {city} .", (person, "person"), (city, "city"))
        for person in PEOPLE
        for city in CITIES
    ]


def score(f1: float = 0.8, support: int = 100, **changes: Any) -> Score:
    """A score whose other numbers are made up around its F1."""
    values: dict[str, Any] = {
        "precision": f1,
        "recall": f1,
        "f1": f1,
        "f1_low": max(0.0, f1 - 0.05),
        "f1_high": min(1.0, f1 + 0.05),
        "support": support,
        "found": support,
    }
    return Score(**{**values, **changes})


def measured(
    f1: float = 0.8,
    labels: Mapping[str, float] | None = None,
    engine: str = "torch fp32",
    **subject: Any,
) -> Measured:
    """A measured model."""
    by_label = labels or {"city": f1, "person": f1}
    values: dict[str, Any] = {"id": "model", "digest": "a" * 64, "size_bytes": 25_000_000}
    return Measured(
        subject=Subject(**{**values, **subject}),
        micro=score(f1),
        macro_f1=f1,
        labels={label: score(value) for label, value in by_label.items()},
        by_length={"1-10": score(f1)},
        latency=Latency(p50_ms=10, p95_ms=20, p99_ms=30, texts_per_second=90),
        engine=engine,
    )


def difference(value: float, width: float = 0.02) -> Difference:
    """A difference with an interval around it."""
    return Difference(value=value, low=value - width, high=value + width)


def evaluation(
    candidate: Measured | None = None,
    champion: Measured | None = None,
    *,
    loss: float = 0.0,
    label_losses: Mapping[str, float] | None = None,
    labels: Sequence[str] = ("city", "person"),
) -> Evaluation:
    """An evaluation; with a champion, the candidate is worse by `loss`."""
    losses = {label: (label_losses or {}).get(label, loss) for label in labels}
    compared = Comparison(
        micro=difference(-loss),
        labels={label: difference(-value) for label, value in losses.items()},
    )
    return Evaluation(
        created_at=datetime(2026, 1, 1, tzinfo=timezone.utc),
        dataset=Dataset(
            uri="s3://data/eval", digest="d" * 64, rows=50, mentions=100, labels=tuple(labels)
        ),
        candidate=candidate or measured(),
        champion=champion,
        comparison=compared if champion else None,
    )
