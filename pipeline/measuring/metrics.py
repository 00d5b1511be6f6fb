"""The metrics that an evaluation leaves in MLflow, and what they are called."""

from __future__ import annotations

import re

from pipeline.evaluation import Evaluation, Measured

_LONGEST = 200
"""Characters of a metric's name, below what MLflow's tables hold."""
MEGABYTE = 1_000_000
_REFUSED = re.compile(r"[^\w.\- ]")
_RESERVED = ("f1_macro", "f1_low", "f1_high", "f1_difference")


def of(evaluation: Evaluation) -> dict[str, float]:
    """All of them, by name; those of the champion begin with `champion_`."""
    found = _of_model(evaluation.candidate)
    found |= {
        "size_mb": evaluation.candidate.subject.size_bytes / MEGABYTE,
        "eval_rows": float(evaluation.dataset.rows),
        "eval_mentions": float(evaluation.dataset.mentions),
    }
    if evaluation.champion:
        theirs = _of_model(evaluation.champion)
        found |= {f"champion_{name}": value for name, value in theirs.items()}
    if evaluation.comparison:
        difference = evaluation.comparison.micro
        found |= {
            "f1_difference": difference.value,
            "f1_difference_low": difference.low,
            "f1_difference_high": difference.high,
        }
    return found


def names(labels: list[str]) -> dict[str, str]:
    """The metric's name of each label's F1: MLflow takes letters, digits, `_-.` and spaces.

    Labels that would share a name are told apart by a number.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for label in labels:
        wanted = name = f"f1_{_REFUSED.sub('_', label)[:_LONGEST]}"
        number = 1
        while name.casefold() in taken or name in _RESERVED:
            number += 1
            name = f"{wanted}_{number}"
        taken.add(name.casefold())
        found[label] = name
    return found


def _of_model(measured: Measured) -> dict[str, float]:
    micro, speed = measured.micro, measured.latency
    called = names(list(measured.labels))
    return {
        "f1": micro.f1,
        "f1_low": micro.f1_low,
        "f1_high": micro.f1_high,
        "precision": micro.precision,
        "recall": micro.recall,
        "f1_macro": measured.macro_f1,
        "latency_p50_ms": speed.p50_ms,
        "latency_p95_ms": speed.p95_ms,
        "latency_p99_ms": speed.p99_ms,
        "texts_per_second": speed.texts_per_second,
        **{called[label]: score.f1 for label, score in measured.labels.items()},
    }
