"""The right to decide on reviews: one process at a time, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline.errors import RolloutBusy, Unavailable

if TYPE_CHECKING:
    from pipeline.settings import Settings

LOCK_SECONDS = 20.0
"""Longest wait for another process that is deciding."""


@contextmanager
def deciding(settings: Settings) -> Iterator[None]:
    """Hold the right; the system takes it from a process that dies.

    Raises:
        RolloutBusy: another process holds it for long.
        Unavailable: the lock file cannot be written.
    """
    file = settings.home / f"review-{settings.model_name}.lock"
    lock = FileLock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise RolloutBusy("another process is deciding on a review; try again") from None
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}; PIPELINE_HOME must be writable") from error
    try:
        yield
    finally:
        lock.release()
