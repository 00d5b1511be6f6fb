"""`doctor` on this machine: Python, packages, and room on its disks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed
from pathlib import Path

from packaging.requirements import Requirement

from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.settings import Settings

PACKAGES = "packages"
DISK = "disk"
ROOM = 5 << 30
"""A model, its copy, and the checkpoints of a training."""
_EXTRAS = ("predictor", "pipeline")


def packages() -> Iterator[Finding]:
    """Whether what is installed is what was tested."""
    python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        yield wrong(PACKAGES, f"{python} is not tested", "use Python 3.10, 3.11 or 3.12")
    try:
        wanted = [Requirement(line) for line in requires("gliner-kserve") or []]
    except PackageNotFoundError:
        yield unset(PACKAGES, f"{python}; gliner-kserve itself is not installed, so not compared")
        return
    bad = list(filter(None, (_unmet(one) for one in wanted if _of_pipeline(one))))
    if bad:
        yield wrong(PACKAGES, "; ".join(bad), 'pip install "gliner-kserve[pipeline]"')
    else:
        yield ok(PACKAGES, f"{python}, all as required")


def disk(settings: Settings) -> Iterator[Finding]:
    """Whether models can be written where they are, and there is room."""
    for name, folder in (("PIPELINE_HOME", settings.home), ("TMPDIR", Path(tempfile.gettempdir()))):
        there = folder.absolute()
        while not os.path.exists(there):  # noqa: PTH110 - Path's own raises where it may not look
            there = there.parent
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            why = "cannot be written to" if there.is_dir() else "is a file"
            yield wrong(DISK, f"{there} {why}", f"set {name} to a folder that can be written")
            continue
        free = shutil.disk_usage(there).free
        seen = f"{free / (1 << 30):.0f} GiB free at {there}"
        if free >= ROOM:
            yield ok(DISK, seen)
        else:
            yield wrong(DISK, seen, f"make room, or set {name} to another disk")


def _of_pipeline(wanted: Requirement) -> bool:
    return (
        wanted.name != "gliner-kserve"
        and wanted.marker is not None
        and any(wanted.marker.evaluate({"extra": extra}) for extra in _EXTRAS)
    )


def _unmet(wanted: Requirement) -> str:
    try:
        found = installed(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is missing"
    # Local builds such as 2.13.0+cpu are the same release.
    if wanted.specifier.contains(found.partition("+")[0], prereleases=True):
        return ""
    return f"{wanted.name} {found} is not {wanted.specifier}"
