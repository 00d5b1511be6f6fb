"""The rollout itself: start, steps, judgement, promotion or rollback, and repair after a kill.

What makes it repairable at every point is one order, the same for every backend:

1. The version is tagged `rollout=running` before the backend is touched.
2. The alias `champion` is the decision. A promotion moves it first and then lets the backend
   follow; a rollback restores it first (where it had moved) and then lets the backend follow.
3. Tags that close the rollout come last, `rollout` itself at the very end.

So a version that is still `running` while the lock is ours belongs to a rollout that was killed:
where the alias names it, it is finished, else undone. `rolling_back` marks a rollback, which is
always completed. All calls state what should be, so each may be repeated.

No two machines' clocks are compared: times are durations on this machine's monotonic clock.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.registry import Registry, Tag, Version
from pipeline.rollout import Backend
from pipeline.rollout.move import ROLLING_BACK, Move, Outcome, unfinished
from pipeline.rollout.plan import Plan
from pipeline.rollout.trial import check_sources


def roll_out(
    version: int,
    registry: Registry,
    backend: Backend,
    plan: Plan,
    *,
    owner: str = "",
    report: Callable[[str], None] = say,
) -> Outcome:
    """Bring a version to all callers step by step, or take it back.

    A candidate that misbehaves is an outcome and not an exception. What else ends this early
    (a bug, Ctrl-C, a signal turned into an exception) is raised on, once the candidate has been
    taken back.

    Args:
        owner: who holds the lock, for others to read; this process by default.
        report: takes a line for people at each step.

    Raises:
        RolloutBusy: another rollout is under way.
        NotServing: no predictor was there to take the version up; it is as it was before.
        Unavailable: a server does not answer; either nothing was begun, or the next run
            repairs what was.
        PipelineError: there is no such version, or the backend serves something else than the
            champion.
    """
    owner = owner or this_process()
    with backend.lock(owner):
        candidate = _existing(registry, version)
        backend.check(registry.champion())
        finished = [
            left.number
            for left in unfinished(registry)
            if Move(registry, backend, plan, report, left, _previous(registry, left)).repair()
        ]
        champion = registry.champion()
        if champion and champion.number == version:
            if version in finished:
                return Outcome("promoted", version, version, "finished what a killed run began")
            _check_serving(champion, backend)
            report(f"version {version} is the champion already")
            return Outcome("unchanged", version, version, "it is the champion already")
        if champion:
            _check_serving(champion, backend)
        check_sources(registry.settings)
        return Move(registry, backend, plan, report, candidate, champion, owner).run()


def roll_back(
    registry: Registry,
    backend: Backend,
    to: int | None = None,
    reason: str = "by hand",
    *,
    by: str = "",
    owner: str = "",
    report: Callable[[str], None] = say,
) -> Outcome:
    """Return to the champion before this one, or to a given version, at once.

    A rollout that was killed is undone first; without `to`, that is all. What is taken back here
    is not rolled out again before a person approves it, see `review.tags.held`.

    Args:
        by: who wants it.

    Raises:
        RolloutBusy: a rollout is under way; ending its process takes its version back.
        PipelineError: there is nothing to return to.
        Unavailable: a server does not answer; run it again.
    """
    held = {Tag.ROLLED_BACK_BY: by or "somebody"}
    with backend.lock(owner or this_process()):
        target = None if to is None else _existing(registry, to)
        for left in unfinished(registry):
            if left.number != to:
                registry.tag(left, held)
            move = Move(registry, backend, Plan(), report, left, _previous(registry, left))
            move.undo(reason)
            if target is None:
                return move.outcome(reason)
        champion = registry.champion()
        if champion is None:
            raise PipelineError("there is no champion, so there is nothing to roll back")
        target = target or _previous(registry, champion)
        if target is None:
            raise PipelineError(
                f"version {champion.number} is the first champion; name a version with --to"
            )
        if target.number == champion.number:
            return _bring_back(champion, registry, backend, report)
        registry.tag(
            champion,
            {
                **held,
                Tag.ROLLOUT_PREVIOUS: target.number,
                Tag.ROLLOUT_REASON: reason,
                Tag.ROLLOUT: ROLLING_BACK,
            },
        )
        move = Move(registry, backend, Plan(), report, champion, target)
        move.undo(reason)
        return move.outcome(reason)


def _previous(registry: Registry, version: Version) -> Version | None:
    """The champion before this version."""
    number = version.tags.get(Tag.ROLLOUT_PREVIOUS, "")
    return _existing(registry, int(number)) if number else None


def _existing(registry: Registry, number: int) -> Version:
    found = registry.version(number)
    if found is None:
        raise PipelineError(f"there is no version {number} of {registry.name} in MLflow")
    return found


def _check_serving(champion: Version, backend: Backend) -> None:
    """Make sure that the champion is what serves: nothing else can be compared with or kept."""
    state = backend.state()
    if state.stable != champion.digest:
        raise PipelineError(
            f"version {champion.number} is the champion, but what serves is "
            f"{state.stable[:12] or 'nothing'}{f' ({state.reason})' if state.reason else ''}; "
            f"`python -m pipeline rollback --to {champion.number}` brings it back"
        )


def _bring_back(
    champion: Version, registry: Registry, backend: Backend, report: Callable[[str], None]
) -> Outcome:
    """Make the backend serve what the alias names, where somebody changed it."""
    state = backend.state()
    if state.stable != champion.digest or state.canary:
        backend.roll_back(registry.find(state.canary or state.stable) or champion, champion)
        registry.event(champion, "brought back by hand")
    report(f"version {champion.number} serves")
    return Outcome("unchanged", champion.number, champion.number, "it is the champion")


def this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
