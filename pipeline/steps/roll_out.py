"""Step: give a version all traffic step by step, or take it back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import settings as configuration
from pipeline.registry import Registry, RunTag, Tag
from pipeline.rollout import Backend, controller
from pipeline.rollout.plan import Plan
from pipeline.settings import Settings


class Terminated(SystemExit):
    """SIGTERM, as an exception that ends the process with the code that shells know it by."""


def run(version: int, *, job: str, plan: Plan, settings: Settings | None = None) -> str:
    """Roll a version out.

    Args:
        version: its number in the registry.
        job: the pipeline run.

    Returns:
        `promoted`, `rolled_back` or `unchanged`.

    Raises:
        RolloutBusy: another rollout is under way.
        Unavailable: a server does not answer; the next try repairs what was begun.
        Terminated: SIGTERM came; the version was taken back first.
    """
    settings = settings or configuration.load()
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    with _ended_in_order():
        outcome = controller.roll_out(
            version, registry, backend(settings), plan, owner=f"{job} ({controller.this_process()})"
        )
    state, reason = outcome.state, outcome.reason
    if state == "unchanged" and _began_here(registry, version, job):
        # An earlier try was killed after its work, before anybody heard of it.
        state, reason = "promoted", ""
    registry.note(run_id, {RunTag.OUTCOME: state, RunTag.VERSION: version, RunTag.REASON: reason})
    return state


def _began_here(registry: Registry, version: int, job: str) -> bool:
    """Whether this pipeline run is the one that rolled the version out."""
    found = registry.version(version)
    return found is not None and found.tags.get(Tag.ROLLOUT_BY, "").startswith(f"{job} (")


def backend(settings: Settings) -> Backend:
    """What moves traffic where the settings say so."""
    if settings.rollout == "local":
        from pipeline.rollout.local import Local

        return Local(settings)
    from pipeline.rollout.kserve import KServe

    return KServe(settings)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the candidate is taken back before the end.

    Only the first: what it began must not be ended by a second.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Terminated(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
