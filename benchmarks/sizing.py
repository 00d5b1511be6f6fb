"""How many pods a load takes, from what was measured: the tables of docs/scale.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

RATES = (10, 100, 1_000, 5_000)
"""Texts a second."""
SHARE = 0.7
"""Of what a pod can do: above that the wait grows faster than the load."""
CORES = 2
"""Of a pod, as in the benchmark and the manifests."""
_OURS = {
    "ours-int8": "int8",
    "ours-bf16": "bf16",
    "ours-fp32": "fp32",
    "ours-onnx-int8": "int8, ONNX Runtime",
    "ours-onnx-fp32": "fp32, ONNX Runtime",
}

Row = Mapping[str, Any]


def capacity(closed: Sequence[Row], system: str, callers: int) -> float:
    """Texts a second that one pod did for so many callers; the median of rounds."""
    found = sorted(
        row["texts_per_second"]
        for row in closed
        if (row["model"], row["system"], row["callers"]) == ("medium", system, callers)
    )
    return float(found[len(found) // 2]) if found else float("nan")


def pods(rate: float, each: float) -> int:
    """At least two: one may go at any time."""
    return max(2, math.ceil(rate / (SHARE * each)))


def markdown(results: Mapping[str, Any]) -> str:
    """The tables: pods for a load, and what a text costs by its words and by its labels.

    Args:
        results: `docs/benchmarks/results.json`.
    """
    callers = results["plan"]["callers"]
    lines = [
        f"Pods of {CORES} cores at {SHARE:.0%} of what each did in `make bench` "
        f"({results['machine']['when']}, {results['machine']['what']}), for the medium shape, "
        f"texts of {results['medium']['words']:.0f} words and five labels; at least two.",
        "",
        "| | a pod, texts/s | " + " | ".join(f"{rate:,}/s" for rate in RATES) + " |",
        "|---|---:|" + "---:|" * len(RATES),
    ]
    for system, title in _OURS.items():
        each = capacity(results["closed"], system, callers)
        if math.isnan(each):
            continue
        counts = " | ".join(f"{pods(rate, each):,}" for rate in RATES)
        lines.append(f"| {title} | {each:.0f} | {counts} |")
    costs = {
        (row["by"], row["size"]): row["p50_ms"]
        for row in results["costs"]
        if row["system"] == results["ours"]
    }
    answered = capacity(results["closed"], results["ours"], callers)
    lines += [
        "",
        "What a text takes one caller alone, beside one of 30 words with five labels, and how many "
        f"of the texts above a pod answers {callers} callers meanwhile:",
        "",
    ]
    for by in ("words", "labels"):
        sizes = [size for kind, size in costs if kind == by]
        usual = costs["words", 30] if by == "words" else costs["labels", 5]
        taken = [costs[by, size] for size in sizes]
        lines += [
            f"| {by} | " + " | ".join(f"{size:,}" for size in sizes) + " |",
            "|---|" + "---:|" * len(sizes),
            "| times | " + " | ".join(f"{one / usual:.1f}" for one in taken) + " |",
            "| texts meanwhile | "
            + " | ".join(f"{answered * one / 1000:.1f}" for one in taken)
            + " |",
            "",
        ]
    return "\n".join(lines).rstrip()
