"""The folder of a run on this machine, and those that earlier runs left."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.settings import Settings

KEPT = 10
"""Runs whose files stay, with the one that begins."""


@contextmanager
def opened(job: str, settings: Settings) -> Iterator[Path]:
    """The folder of a run, for as long as it runs; the oldest that nobody runs in go.

    Raises:
        SettingsError: `PIPELINE_HOME` cannot be used.
    """
    folder = settings.folder("runs", job)
    with _held(folder, fcntl.LOCK_SH):
        os.utime(folder)  # a job that is run again is as new as any
        _thin_out(folder.parent)
        yield folder


def _thin_out(runs: Path) -> None:
    # Another run may be at it too.
    with suppress(OSError):
        found = [one for one in runs.iterdir() if one.is_dir() and not one.is_symlink()]
        for old in sorted(found, key=lambda one: one.stat().st_mtime)[:-KEPT]:
            with suppress(BlockingIOError), _held(old, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    """Hold a folder; the system lets go of it when this process dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
