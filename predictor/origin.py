"""The registry as the place where models come from: which one, and ready to serve."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from predictor import bundle, registry
from predictor.bundle import Bundle
from predictor.downloads import Downloads
from predictor.errors import Missing, StartupError, Unavailable
from predictor.logs import OURS
from predictor.registry import Version
from predictor.served import Served

log = logging.getLogger(OURS)


class Origin:
    """What a source of the registry names.

    Args:
        source: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        downloads: where files go.
        load: makes a bundle ready to serve.

    Raises:
        BundleError: the source is malformed, or no registry is configured.
    """

    def __init__(self, source: str, downloads: Downloads, load: Callable[[Bundle], Served]) -> None:
        self.source = registry.parse(source)
        self.downloads = downloads
        self._registry = registry.Registry()
        self._load = load

    def wanted(self) -> Version:
        """What the source names just now.

        Raises:
            Missing: nothing.
            Unavailable: the registry does not answer.
        """
        return self._registry.find(self.source)

    def prepare(self, version: Version) -> Served:
        """A version, ready to serve. What cannot serve does not stay on the disk.

        Raises:
            Unavailable: its files cannot be had just now.
            StartupError: it cannot serve.
        """
        found = bundle.fetch(version, self._registry, self.downloads)
        try:
            return self._load(found)
        except StartupError:
            self.downloads.discard(found.folder)
            raise

    def first(self, wait_seconds: float) -> tuple[Version, Served]:
        """What the source names, ready to serve.

        Args:
            wait_seconds: how long to wait for a registry or an alias that is not there yet.

        Raises:
            StartupError: it cannot be had, or cannot serve.
        """
        deadline = time.monotonic() + wait_seconds
        told = False
        while True:
            try:
                version = self.wanted()
                served = self.prepare(version)
            except (Missing, Unavailable) as error:
                if time.monotonic() >= deadline:
                    raise
                if not told:
                    log.warning("waiting for a model", extra={"fields": {"reason": str(error)}})
                told = True
                time.sleep(1)
            else:
                self.downloads.prune(served.bundle.folder)
                return version, served
