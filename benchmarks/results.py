"""What a run found: all raw figures, and the few that sum them up."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.plan import Plan
from benchmarks.systems import FLASK, SYSTEMS, System
from pipeline.measuring.choice import TOLERANCE

Row = dict[str, Any]


@dataclass(slots=True)
class Results:
    """All that was measured, in rows.

    Attributes:
        machine: what it ran on.
        plan: how much was measured.
        medium: facts of the medium model.
        limits: what the machine could do, a row for each precision and round.
        closed: see `experiments.side_by_side`.
        failed: systems that could not be measured.
        open: see `experiments.open_loop`.
        costs: see `experiments.costs`.
        parts: see `experiments.parts`.
        lone: see `experiments.lone`.
        accuracy: see `experiments.accuracy`.
    """

    machine: Row
    plan: Plan
    medium: Row
    limits: list[Row] = field(default_factory=list)
    closed: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)
    open: list[Row] = field(default_factory=list)
    costs: list[Row] = field(default_factory=list)
    parts: list[Row] = field(default_factory=list)
    lone: list[Row] = field(default_factory=list)
    accuracy: list[Row] = field(default_factory=list)

    def rounds(self, model: str, system: str, callers: int = 0) -> list[Row]:
        """A system's rounds, at the number of callers that ratios are of where none is given."""
        wanted = callers or self.plan.callers
        return [
            row
            for row in self.closed
            if (row["model"], row["system"], row["callers"]) == (model, system, wanted)
        ]

    def median(self, model: str, system: str, name: str = "texts_per_second") -> float:
        """Of a system's rounds; NaN where there are none."""
        found = [row[name] for row in self.rounds(model, system)]
        return float(statistics.median(found)) if found else float("nan")

    def measured(self, model: str) -> Iterator[System]:
        """The systems that were, in their order."""
        return (one for one in SYSTEMS if self.rounds(model, one.name))

    def f1(self, system: str, model: str = "embedded") -> float:
        """On the labelled texts; NaN where it was not asked."""
        asked = (system, model)
        found = (row["f1"] for row in self.accuracy if (row["system"], row["model"]) == asked)
        return next(found, float("nan"))

    def f1_loss(self, system: str, model: str = "embedded") -> float:
        """What a system loses against GLiNER itself."""
        return round(self.f1(FLASK, model) - self.f1(system, model), 4)

    def arrivals(self, system: str) -> list[Row]:
        """What a system answered at each share of its capacity: medians over rounds, and how many
        answers had which status in all of them."""
        rows = [row for row in self.open if row["system"] == system]
        found = []
        for share in sorted({row["share"] for row in rows}):
            turns = [row for row in rows if row["share"] == share]
            medians = {
                name: float(statistics.median(row[name] for row in turns))
                for name in ("offered", "texts_per_second", "p50_ms", "p99_ms")
            }
            statuses = Counter[str]()
            for row in turns:
                statuses.update(row["statuses"])
            found.append({"share": share, **medians, "statuses": dict(statuses)})
        return found

    @property
    def ours(self) -> System:
        """The fastest of ours on the medium shape that loses no more F1 than is allowed, on any
        of the models that were asked about labelled texts."""
        mine = [one for one in self.measured("medium") if one.ours]
        asked = {row["model"] for row in self.accuracy}
        good = [
            one
            for one in mine
            if not any(self.f1_loss(one.name, model) > TOLERANCE for model in asked)
        ]
        return max(good or mine, key=lambda one: self.median("medium", one.name))

    @property
    def best_peer(self) -> System:
        """The fastest of the others."""
        others = [one for one in self.measured("medium") if not one.ours]
        return max(others, key=lambda one: self.median("medium", one.name))

    def ratio(self, system: str, peer: str, model: str = "medium") -> float:
        """How many times a peer's speed a system has: the median over rounds, side by side."""
        return _beside(self.rounds(model, system), self.rounds(model, peer))

    def fraction_of_limit(self, system: System) -> float:
        """Of what the machine could do in the system's precision: the median over rounds, too."""
        limits = [row for row in self.limits if row["precision"] == system.precision]
        return _beside(self.rounds("medium", system.name), limits)

    def summary(self) -> dict[str, float | str]:
        """The figures that everything comes down to."""
        ours, peer = self.ours, self.best_peer
        return {
            "ours": ours.name,
            "best_peer": peer.name,
            "ratio_to_flask": round(self.ratio(ours.name, FLASK), 2),
            "ratio_to_best_peer": round(self.ratio(ours.name, peer.name), 2),
            "fraction_of_limit": round(self.fraction_of_limit(ours), 3),
            "f1_loss": self.f1_loss(ours.name),
        }

    def json(self) -> dict[str, Any]:
        """As the file has it."""
        return {**self.summary(), "targets": [asdict(one) for one in targets(self)], **asdict(self)}


def _beside(rows: Sequence[Row], others: Sequence[Row]) -> float:
    """Speed as a multiple of another's in the same round: the median; NaN without any."""
    theirs = {row["round"]: row["texts_per_second"] for row in others}
    found = [
        row["texts_per_second"] / theirs[row["round"]] for row in rows if theirs.get(row["round"])
    ]
    return float(statistics.median(found)) if found else float("nan")


@dataclass(frozen=True, slots=True)
class Target:
    """Something to reach.

    Attributes:
        what: in words.
        wanted: at least, or at most.
        reached: measured; NaN where it was not.
        most: whether `wanted` is the most.
    """

    what: str
    wanted: float
    reached: float
    most: bool = False
    met: bool = field(init=False)

    def __post_init__(self) -> None:
        within = self.reached <= self.wanted if self.most else self.reached >= self.wanted
        object.__setattr__(self, "met", within)


def targets(found: Results) -> list[Target]:
    """What this project set out to reach on the medium shape, and where it is."""
    ours = found.ours
    lossless = [one.name for one in found.measured("medium") if one.ours and one.lossless]
    mine = found.rounds("medium", ours.name)
    summary = found.summary()
    listed = [
        Target("times Flask", 10, float(summary["ratio_to_flask"])),
        Target(
            "times Flask, without loss",
            8,
            max((found.ratio(one, FLASK) for one in lossless), default=float("nan")),
        ),
        Target("times the best peer", 2, float(summary["ratio_to_best_peer"])),
        Target("of the machine's limit", 0.6, float(summary["fraction_of_limit"])),
        Target("F1 lost", TOLERANCE, float(summary["f1_loss"]), most=True),
        Target("MB of memory", 1500, max(row["memory_mb"] for row in mine), most=True),
        Target(
            "seconds until ready",
            10,
            statistics.median(row["ready_seconds"] for row in mine),
            most=True,
        ),
    ]
    if any(row["model"] == "deberta" for row in found.accuracy):
        lost = found.f1_loss(ours.name, "deberta")
        listed.append(Target("F1 lost, small DeBERTa", TOLERANCE, lost, most=True))
    at = {row["share"]: row for row in found.arrivals(ours.name)}
    if 0.7 in at:
        listed.append(Target("p99 at 70 % of capacity, ms", 500, at[0.7]["p99_ms"], most=True))
    if 1.5 in at:
        over = at[1.5]
        capacity = over["offered"] / 1.5
        listed += [
            Target("of capacity at 150 % load", 0.9, round(over["texts_per_second"] / capacity, 3)),
            Target("lost or timed out at 150 % load", 0, _lost(over["statuses"]), most=True),
        ]
    if found.parts:
        share = statistics.median(row["outside_share"] for row in found.parts)
        what = f"of a request's time outside the model, {found.plan.callers} callers"
        listed.append(Target(what, 0.05, round(share, 3), most=True))
    for row in found.lone:
        listed += [
            Target("ms added to a lone request", 5, row["added_ms"], most=True),
            Target(
                "of a lone request's time outside the engine",
                0.05,
                round(row["added_ms"] / row["http_p50_ms"], 3),
                most=True,
            ),
        ]
    return listed


def _lost(statuses: dict[str, int]) -> int:
    return sum(count for status, count in statuses.items() if status not in ("200", "429"))


def spread(rows: Sequence[Row], name: str = "texts_per_second") -> str:
    """Least and most of some rounds."""
    found = [row[name] for row in rows]
    return f"{min(found):.1f}–{max(found):.1f}" if len(found) > 1 else ""
