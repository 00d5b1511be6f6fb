"""Versions of the registry on this disk, each whole or not there."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from predictor.errors import Unavailable
from predictor.registry import Registry, Version

_PARTIAL = ".partial-"


class Downloads:
    """A folder of downloaded versions.

    Args:
        folder: one of this process's own, which may be there from an earlier start; None
            takes one that goes with the process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _of_this_process()

    def get(self, version: Version, registry: Registry) -> Path:
        """The folder of a version, downloaded unless it is there.

        Raises:
            Unavailable: the registry, its file store or the disk fails.
        """
        known = hashlib.sha256(version.files.encode()).hexdigest()[:16]
        folder = self.folder / f"{quote(version.name, safe='')}-{version.number}-{known}"
        try:
            if folder.is_dir():
                os.utime(folder)  # `prune` keeps what was used last
                return folder
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=self.folder) as partial:
                whole = Path(partial) / "whole"
                registry.download(version, whole)
                whole.rename(folder)
        except OSError as error:
            raise Unavailable(
                f"{self.folder}: cannot be written ({error.strerror}); GLINER_CACHE_DIR names "
                "a folder with room for three versions"
            ) from error
        return folder

    def discard(self, inside: Path) -> None:
        """Delete the version that a path belongs to."""
        shutil.rmtree(self._version(inside), ignore_errors=True)

    def prune(self, inside: Path) -> None:
        """Delete all but the version that a path belongs to, and the one used last before it."""
        serving = self._version(inside)
        others = [one for one in self.folder.iterdir() if one.is_dir() and one != serving]
        whole = [one for one in others if not one.name.startswith(_PARTIAL)]
        previous = max(whole, key=lambda one: one.stat().st_mtime, default=None)
        for one in others:
            if one != previous:
                shutil.rmtree(one, ignore_errors=True)

    def _version(self, inside: Path) -> Path:
        return self.folder / inside.relative_to(self.folder).parts[0]


@lru_cache(maxsize=1)
def _of_this_process() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="gliner-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
