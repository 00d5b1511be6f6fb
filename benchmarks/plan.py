"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.models import FORMS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        rounds: how often each system has its turn at `callers` callers.
        accurate_rounds: the same for models whose answers mean something.
        forms: of ours.
        peers: which systems stand beside ours on the medium shape, by name; None: all.
        accurate_peers: the same for models whose answers mean something.
        seconds: how long a closed load is measured at least.
        answers: how many answers of each caller it is measured at least, so that a system which
            answers in batches is not judged by where one of them falls.
        warm_up: seconds before that.
        callers: the number that ratios are of.
        more_callers: other numbers, once each.
        shares: arrivals as parts of a system's capacity.
        open_rounds: how often each of these is offered to ours; to peers once. What is above
            capacity is offered once to each.
        open_seconds: how long each of these is measured.
        over_seconds: the same above capacity: longer than a queue takes to fill.
        words: lengths of texts.
        labels: numbers of labels.
        each_seconds: how long one caller asks about each of these.
        lone_seconds: how long a lone caller and the bare engine take turns.
        texts: most labelled texts.
    """

    rounds: int = 3
    accurate_rounds: int = 1
    forms: tuple[str, ...] = FORMS
    peers: tuple[str, ...] | None = None
    accurate_peers: tuple[str, ...] | None = None
    seconds: float = 8.0
    answers: int = 4
    warm_up: float = 3.0
    callers: int = 16
    more_callers: tuple[int, ...] = (1, 4, 64)
    shares: tuple[float, ...] = (0.25, 0.5, 0.7, 0.85, 1.0, 1.5)
    open_rounds: int = 3
    open_seconds: float = 15.0
    over_seconds: float = 50.0
    words: tuple[int, ...] = (10, 30, 100, 300, 1000, 2000)
    labels: tuple[int, ...] = (1, 5, 10, 25, 50, 100)
    each_seconds: float = 3.0
    lone_seconds: float = 40.0
    texts: int = 500


FULL = Plan()
QUICK = Plan(
    rounds=1,
    forms=("int8", "bf16"),
    peers=("flask", "ray", "fast-gliner-int8", "onnx-int8"),  # each where it is fastest
    accurate_peers=("flask",),
    seconds=3.0,
    answers=1,
    warm_up=1.0,
    more_callers=(),
    shares=(0.7, 1.5),
    open_rounds=1,
    open_seconds=8.0,
    over_seconds=35.0,
    words=(),
    labels=(),
    lone_seconds=10.0,
    texts=60,
)
