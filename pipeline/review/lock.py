"""The right to decide on reviews: one process at a time, on this machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pipeline.local import lock

if TYPE_CHECKING:
    from pipeline.settings import Settings

LOCK_SECONDS = 20.0
"""Longest wait for another process that is deciding."""


def deciding(settings: Settings) -> AbstractContextManager[None]:
    """Hold the right; the system takes it from a process that dies.

    Raises:
        RolloutBusy: another process holds it for long.
        PipelineError: as `lock.held`.
    """
    busy = "another process is deciding on a review; try again"
    return lock.held("review", settings, busy, seconds=LOCK_SECONDS)
