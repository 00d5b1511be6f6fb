"""What a request costs beside the model. Rows for results, like those of `experiments`."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import load, texts
from benchmarks.experiments import Row
from benchmarks.models import Model
from benchmarks.plan import Plan
from benchmarks.server import Server, running
from benchmarks.systems import NOTHING, System
from benchmarks.texts import Question
from pipeline.progress import say

_LONE = 8
"""Times that each text is asked for by a lone caller, at most."""


def parts(system: System, model: Model, plan: Plan, logs: Path) -> list[Row]:
    """Where the time of a request goes under the callers that ratios are of: in the model, before
    it for others to share the pass, and all else: HTTP and protocol, with the client's own."""
    asked = texts.sentences(texts.MANY, seed=5)
    rows = []
    with running(system, model, asked[0], logs) as server:
        for turn in range(1, plan.rounds + 1):
            load.closed(
                system, server.url, asked, callers=plan.callers, seconds=0, warm_up=plan.warm_up
            )
            before = server.spent()
            found = load.closed(
                system, server.url, asked, callers=plan.callers, seconds=plan.seconds, warm_up=0
            )
            spent = server.spent()
            requests = spent.requests - before.requests
            mean = statistics.mean(found.latencies)
            queue = (spent.queue - before.queue) / requests
            inside = (spent.model - before.model) / requests
            row = {
                "model": model.name,
                "system": system.name,
                "callers": plan.callers,
                "round": turn,
                "mean_ms": round(1000 * mean, 1),
                "queue_ms": round(1000 * queue, 1),
                "model_ms": round(1000 * inside, 1),
                "outside_share": round(1 - inside / mean, 4),
            }
            say(
                f"{model.name}, {system.title} {system.precision}, {plan.callers} callers, round "
                f"{turn}: of {row['mean_ms']} ms a request waits {row['queue_ms']} and is in the "
                f"model {row['model_ms']}; {row['outside_share']:.1%} is outside of it"
            )
            rows.append(row)
    return rows


def lone(system: System, model: Model, plan: Plan, logs: Path) -> Row:
    """A lone request over HTTP beside the same through the bare engine, in turns.

    A third turn is KServe's with a model that does nothing, which is the least that is added.
    """
    asked = texts.of_length(27, texts.EACH, seed=9)
    bare: list[float] = []
    http: list[float] = []
    least: list[float] = []
    command = [sys.executable, "-m", "benchmarks.bare", str(model.ours[system.form])]
    with (
        running(system, model, asked[0], logs) as server,
        running(NOTHING, model, asked[0], logs) as nothing,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other,
    ):
        if other.stdin is None or other.stdout is None:  # both were asked for
            raise RuntimeError
        until = time.perf_counter() + plan.lone_seconds
        for turn, one in enumerate([*asked[:8], *(asked * _LONE)]):
            if time.perf_counter() > until:
                break
            spent, empty = _seconds(server, one), _seconds(nothing, one)
            other.stdin.write(json.dumps([one.text, one.labels]) + "\n")
            other.stdin.flush()
            alone = float(other.stdout.readline())
            if turn >= 8:
                http.append(spent)
                least.append(empty)
                bare.append(alone)
        other.stdin.close()
    over = statistics.median(one - other for one, other in zip(http, bare, strict=True))
    row = {
        "model": model.name,
        "system": system.name,
        "http_p50_ms": round(1000 * statistics.median(http), 2),
        "bare_p50_ms": round(1000 * statistics.median(bare), 2),
        "nothing_p50_ms": round(1000 * statistics.median(least), 2),
        "added_ms": round(1000 * over, 2),
    }
    say(
        f"{model.name}, {system.title}: a lone request takes {row['added_ms']} ms more over HTTP; "
        f"with a model that does nothing KServe takes {row['nothing_p50_ms']} ms for it all"
    )
    return row


def _seconds(server: Server, question: Question) -> float:
    started = time.perf_counter()
    server.ask(question)
    return time.perf_counter() - started
