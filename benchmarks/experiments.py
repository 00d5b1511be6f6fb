"""The experiments. Each gives rows for results: dictionaries of names, counts and figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from benchmarks import load, texts
from benchmarks.models import Model
from benchmarks.plan import Plan
from benchmarks.server import Refused, Server, running
from benchmarks.systems import System
from benchmarks.texts import Question
from pipeline import dataset, scoring
from pipeline.errors import PipelineError
from pipeline.measuring import measure
from pipeline.measuring.measure import Text
from pipeline.progress import say

Row = dict[str, Any]
_SLOW_TEXTS = 1
"""Texts that one caller asks about at least, however long they take."""


@dataclass(frozen=True, slots=True)
class Side:
    """What came of systems side by side.

    Attributes:
        closed: a row for each system and round, and for each other number of callers.
        failed: a row for each system that could not be started.
        accuracy: a row for each system that was asked about labelled texts.
    """

    closed: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    accuracy: list[Row] = field(default_factory=list)


def side_by_side(
    systems: Sequence[System],
    model: Model,
    plan: Plan,
    logs: Path,
    labelled: Sequence[Text] = (),
    before: Callable[[int], None] | None = None,
) -> Side:
    """Every system in turn, again and again, under the same callers.

    Args:
        labelled: texts that each system is asked about once, for the accuracy of its answers.
        before: called with each round's number as it begins.
    """
    asked = texts.sentences(texts.MANY, seed=3)
    found = Side()
    working = list(systems)
    for turn in range(1, (plan.accurate_rounds if model.accurate else plan.rounds) + 1):
        if before:
            before(turn)
        more = plan.more_callers if turn == 1 and not model.accurate else ()
        for system in list(working):
            try:
                with running(system, model, asked[0], logs) as server:
                    found.closed.extend(
                        _closed(server, model, asked, callers, turn, plan)
                        for callers in (plan.callers, *more)
                    )
                    if turn == 1 and labelled:
                        found.accuracy.append(_accuracy(server, model, labelled))
            except (PipelineError, Refused, HTTPError, OSError) as error:
                reason = str(error).partition("\n")[0]
                say(f"{model.name}, {system.title} {system.precision}: {reason}")
                working.remove(system)
                found.failed.append({"model": model.name, "system": system.name, "reason": reason})
    return found


def _closed(
    server: Server, model: Model, asked: Sequence[Question], callers: int, turn: int, plan: Plan
) -> Row:
    system = server.system
    found = load.closed(
        system,
        server.url,
        asked,
        callers=callers,
        seconds=plan.seconds,
        warm_up=plan.warm_up,
        answers=plan.answers,
    )
    say(
        f"{model.name}, {system.title} {system.precision}, {callers} callers, round {turn}: "
        f"{found.rate:.1f} texts/s, p50 {1000 * found.percentile(50):.0f} ms, "
        f"p99 {1000 * found.percentile(99):.0f} ms"
    )
    return {
        "model": model.name,
        "system": system.name,
        "callers": callers,
        "round": turn,
        **found.row(),
        "ready_seconds": round(server.ready_seconds, 1),
        "memory_mb": round(server.memory_mb),
    }


def open_loop(system: System, model: Model, plan: Plan, logs: Path) -> list[Row]:
    """Arrivals at random at parts of a system's capacity, and what it answers.

    The capacity is what it does in a closed loop right before: on a machine that others share, that
    of half an hour ago is another's.
    """
    asked = texts.sentences(texts.MANY, seed=4)
    rounds = plan.open_rounds if system.ours else 1
    # A round is all of them, so that a bad minute of the machine is not one share's alone.
    below = [one for one in plan.shares if one <= 1]
    turns = [(turn, below) for turn in range(1, rounds + 1)]
    turns += [(1, [one]) for one in plan.shares if one > 1]
    rows = []
    with running(system, model, asked[0], logs) as server:
        for turn, shares in turns:
            now = _closed(server, model, asked, plan.callers, turn, plan)
            capacity: float = now["texts_per_second"]
            rows += [_opened(server, model, asked, capacity, one, turn, plan) for one in shares]
    return rows


def _opened(
    server: Server,
    model: Model,
    asked: Sequence[Question],
    capacity: float,
    share: float,
    turn: int,
    plan: Plan,
) -> Row:
    system = server.system
    rate = share * capacity
    seconds = plan.open_seconds if share <= 1 else plan.over_seconds
    found = load.opened(system, server.url, asked, rate=rate, seconds=seconds, seed=4 + turn)
    say(
        f"{model.name}, {system.title} {system.precision}, {share:.0%} of capacity "
        f"({rate:.1f} a second), round {turn}: {found.rate:.1f} answered a second, "
        f"p99 {1000 * found.percentile(99):.0f} ms, by status {found.statuses}"
    )
    return {
        "model": model.name,
        "system": system.name,
        "share": share,
        "round": turn,
        "capacity": round(capacity, 2),
        "offered": round(rate, 2),
        **found.row(),
    }


def costs(system: System, model: Model, plan: Plan, logs: Path) -> list[Row]:
    """What a text costs one caller, by its words and by the labels asked for."""
    kinds = [("words", size, texts.of_length(size, texts.EACH, seed=6)) for size in plan.words]
    kinds += [("labels", size, texts.with_labels(size, texts.EACH, seed=7)) for size in plan.labels]
    rows = []
    with running(system, model, texts.sentences(1, seed=8)[0], logs) as server:
        for kind, size, asked in kinds:
            spent = _one_by_one(server, asked, plan.each_seconds)
            say(
                f"{model.name}, {system.title} {system.precision}, {size} {kind}: "
                f"{1000 * statistics.median(spent):.0f} ms"
            )
            rows.append(
                {
                    "model": model.name,
                    "system": system.name,
                    "by": kind,
                    "size": size,
                    "texts": len(spent),
                    "p50_ms": round(1000 * statistics.median(spent), 1),
                }
            )
    return rows


def _one_by_one(server: Server, asked: Sequence[Question], seconds: float) -> list[float]:
    """Seconds that each answer took; the first question is a warm-up."""
    server.ask(asked[0])
    spent: list[float] = []
    until = time.perf_counter() + seconds
    for one in asked[1:]:
        if time.perf_counter() > until and len(spent) >= _SLOW_TEXTS:
            break
        started = time.perf_counter()
        server.ask(one)
        spent.append(time.perf_counter() - started)
    return spent


def labelled(data: Path, most: int) -> list[Text]:
    """Labelled texts, spread evenly over a folder of JSON lines."""
    found = measure.texts(dataset.read(data))
    return found[:: max(1, -(-len(found) // most))]


def _accuracy(server: Server, model: Model, asked: Sequence[Text]) -> Row:
    """F1 of what a system answers over HTTP."""
    labels = sorted({label for one in asked for label in one.labels})
    truths = [scoring.truth(one.row, one.labels) for one in asked]
    answers: list[set[scoring.Mention]] = []
    failed = 0
    for one in asked:
        try:
            found = server.ask(Question(one.text, one.labels))
        except Refused:  # fast-gliner breaks on texts that are too long for a BERT
            found, failed = [], failed + 1
        answers.append({(each["start"], each["end"], each["label"]) for each in found})
    score = scoring.f1(scoring.tally(truths, answers, labels).micro)
    system = server.system
    say(f"{model.name}, {system.title} {system.precision}: F1 {score:.4f}")
    return {
        "model": model.name,
        "system": system.name,
        "texts": len(asked),
        "failed": failed,
        "f1": round(score, 4),
    }
