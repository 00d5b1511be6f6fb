"""Data and reports for tests of the lifecycle's steps."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import labelled

from predictor import bundle


def write_data(folder: Path, rows: int = 48, seed: int = 1) -> Path:
    """Sentences of one form, which even a tiny model learns."""
    chance = random.Random(seed)
    people, cities = ("ada", "bob", "eve"), ("london", "rome", "oslo")
    lines = [
        labelled.row(f"{person} was born in {city} .", (person, "person"), (city, "location"))
        for person, city in ((chance.choice(people), chance.choice(cities)) for _ in range(rows))
    ]
    labelled.write(folder / "news.jsonl", lines)
    return folder


def report(folder: Path, candidate: Path, f1: float = 0.8, **labels: float) -> Path:
    """What `evaluate` would have written about a bundle, were these its scores."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = labelled.measured(f1, labels or None, digest=bundle.digest(candidate))
    names = tuple(sorted(measured.labels))
    labelled.evaluation(measured, labels=names).write(folder / "evaluation.json")
    return folder


def weights(model: Any) -> str:
    """A digest of all parameters."""
    total = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        total.update(name.encode() + value.cpu().numpy().tobytes())
    return total.hexdigest()
