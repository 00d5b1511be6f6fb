"""What a version must reach to pass the gate, and whether an evaluation does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from pipeline.dataset import listed
from pipeline.errors import SettingsError
from pipeline.evaluation import Check, Difference, Evaluation, Value
from pipeline.measuring.metrics import MEGABYTE


class GateLimits(Value):
    """The gate's limits. The defaults refuse nothing but a significant loss to the champion."""

    min_f1: float = Field(0, ge=0, le=1)
    """Lowest micro F1."""
    min_precision: float = Field(0, ge=0, le=1)
    """Lowest micro precision."""
    min_recall: float = Field(0, ge=0, le=1)
    """Lowest micro recall."""
    min_label_f1: Mapping[str, Annotated[float, Field(ge=0, le=1)]] = Field(default_factory=dict)
    """Lowest F1 of single labels."""
    max_regression: float = Field(0, ge=0, le=1)
    """Tolerated loss of F1 against the champion. A loss is refused when it is significant: when
    its whole 95 % interval lies beyond this."""
    protected_labels: tuple[str, ...] = ()
    """Labels whose F1 may not fall either, judged in the same way."""
    max_p95_ms: float = Field(0, ge=0)
    """Longest time for 95 % of texts, one at a time, on the machine that evaluated, with the engine
    that will serve; 0 is off."""
    max_size_mb: float = Field(0, ge=0)
    """Largest weights, in millions of bytes; 0 is off."""
    min_rows: int = Field(0, ge=0)
    """Fewest texts that an evaluation must have been made on."""

    @classmethod
    def parse(cls, **values: Any) -> GateLimits:
        """Limits from values as people give them.

        Raises:
            SettingsError: one is unknown or out of bounds; the text names it.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise SettingsError(f"{name}: {first['msg']}, got {first['input']!r}") from None


def checks(evaluation: Evaluation, limits: GateLimits) -> tuple[Check, ...]:
    """Hold an evaluation against limits, one check for each that is set."""
    return (
        *_of_data(evaluation, limits),
        *_of_scores(evaluation, limits),
        *_of_regression(evaluation, limits),
        *_of_cost(evaluation, limits),
    )


def _of_data(evaluation: Evaluation, limits: GateLimits) -> Iterator[Check]:
    mentions = evaluation.candidate.micro.support
    if not mentions:
        detail = "the data has no labelled mention, so the scores say nothing"
        yield Check(name="mentions", passed=False, value=0, limit=1, detail=detail)
    if limits.min_rows:
        yield _at_least("min_rows", "texts in the data", evaluation.dataset.rows, limits.min_rows)


def _of_scores(evaluation: Evaluation, limits: GateLimits) -> Iterator[Check]:
    micro, labels = evaluation.candidate.micro, evaluation.candidate.labels
    yield _at_least("min_f1", "F1", micro.f1, limits.min_f1)
    yield _at_least("min_precision", "precision", micro.precision, limits.min_precision)
    yield _at_least("min_recall", "recall", micro.recall, limits.min_recall)
    for label, least in sorted(limits.min_label_f1.items()):
        name = f"min_label_f1:{label}"
        if label in labels and labels[label].support:
            yield _at_least(name, f"F1 of {label!r}", labels[label].f1, least)
        else:
            yield _unknown(name, label, "has a limit", evaluation, least)


def _of_regression(evaluation: Evaluation, limits: GateLimits) -> Iterator[Check]:
    comparison, known = evaluation.comparison, evaluation.candidate.labels
    if comparison is not None:
        yield _no_loss("regression", "F1", comparison.micro, limits.max_regression)
    for label in limits.protected_labels:
        name = f"regression:{label}"
        # Before there is a champion as well: a misspelt label would protect nothing from then on.
        if label not in known or not known[label].support:
            yield _unknown(name, label, "is protected", evaluation, -limits.max_regression)
        elif comparison is not None:
            difference = comparison.labels[label]
            yield _no_loss(name, f"F1 of {label!r}", difference, limits.max_regression)


def _of_cost(evaluation: Evaluation, limits: GateLimits) -> Iterator[Check]:
    ours = evaluation.candidate
    if limits.max_p95_ms:
        what = f"milliseconds for 95 % of texts{ours.engine and f' with {ours.engine}'}"
        yield _at_most("max_p95_ms", what, ours.latency.p95_ms, limits.max_p95_ms)
    if limits.max_size_mb:
        size = ours.subject.size_bytes / MEGABYTE
        yield _at_most("max_size_mb", "MB of weights", size, limits.max_size_mb)


def _unknown(name: str, label: str, what: str, evaluation: Evaluation, limit: float) -> Check:
    detail = (
        f"label {label!r} {what} and does not occur in the data, which has "
        f"{listed(evaluation.dataset.labels)}"
    )
    return Check(name=name, passed=False, value=0, limit=limit, detail=detail)


def _at_least(name: str, what: str, value: float, least: float) -> Check:
    # Written so that a value that is no number passes nothing.
    passed = value >= least
    word = "reaches" if passed else "is below"
    detail = f"{what}: {_shown(value)} {word} {_shown(least)}"
    return Check(name=name, passed=passed, value=value, limit=least, detail=detail)


def _at_most(name: str, what: str, value: float, most: float) -> Check:
    passed = value <= most
    word = "is within" if passed else "is above"
    detail = f"{what}: {_shown(value)} {word} {_shown(most)}"
    return Check(name=name, passed=passed, value=value, limit=most, detail=detail)


def _no_loss(name: str, what: str, difference: Difference, tolerated: float) -> Check:
    passed = difference.high >= -tolerated
    span = f"{difference.low:+.3f} to {difference.high:+.3f}"
    verdict = "no significant loss" if passed else "a significant loss"
    detail = f"{what} against the champion: {difference.value:+.3f} ({span}) is {verdict}"
    if tolerated:
        detail += f" beyond {tolerated:g}"
    value = difference.value
    return Check(name=name, passed=passed, value=value, limit=-tolerated, detail=detail)


def _shown(value: float) -> str:
    if float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"
