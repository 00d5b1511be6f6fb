"""How much of everything is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does.

    Attributes:
        skipped: systems that are left out, by name, unless they are asked for.
        rounds: how often each system has its turn at `callers` callers.
        accurate_rounds: the same for models whose answers mean something.
        accurate_peers: whether all peers serve these, or Flask alone.
        seconds: how long a closed load is measured at least.
        answers: how many answers of each caller it is measured at least, so that a system which
            answers in batches is not judged by where one of them falls.
        warm_up: seconds before that.
        callers: the number that ratios are of.
        more_callers: other numbers, once each.
        shares: arrivals as parts of a system's capacity.
        open_seconds: how long each of these is measured.
        over_seconds: the same above capacity: longer than a queue takes to fill.
        words: lengths of texts.
        labels: numbers of labels.
        each_seconds: how long one caller asks about each of these.
        lone_seconds: how long a lone caller and the bare engine take turns.
        texts: most labelled texts.
    """

    skipped: tuple[str, ...] = ()
    rounds: int = 3
    accurate_rounds: int = 1
    accurate_peers: bool = True
    seconds: float = 8.0
    answers: int = 4
    warm_up: float = 3.0
    callers: int = 16
    more_callers: tuple[int, ...] = (1, 4, 64)
    shares: tuple[float, ...] = (0.25, 0.5, 0.7, 0.85, 1.0, 1.5)
    open_seconds: float = 15.0
    over_seconds: float = 50.0
    words: tuple[int, ...] = (10, 30, 100, 300, 1000, 2000)
    labels: tuple[int, ...] = (1, 5, 10, 25, 50, 100)
    each_seconds: float = 3.0
    lone_seconds: float = 40.0
    texts: int = 500


FULL = Plan()
QUICK = Plan(
    skipped=("fast-gliner-fp32", "onnx-fp32"),  # each is there in int8, which is faster
    rounds=1,
    accurate_peers=False,
    seconds=3.0,
    answers=1,
    warm_up=1.0,
    more_callers=(),
    shares=(0.7, 1.5),
    open_seconds=8.0,
    over_seconds=35.0,
    words=(),
    labels=(),
    lone_seconds=10.0,
    texts=60,
)
