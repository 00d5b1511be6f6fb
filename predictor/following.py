"""Keeps a running server on the version that an alias of the registry names.

A version is downloaded, checked, loaded and warmed up beside the one that serves, which goes
on until the other is ready and stays where the other cannot be.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from predictor import memory, metrics
from predictor.errors import BundleError, Missing, StartupError, Unavailable
from predictor.logs import OURS
from predictor.origin import Origin
from predictor.registry import Version
from predictor.served import Served

log = logging.getLogger(OURS)

State = Literal["current", "loading", "failed", "retrying", "missing", "unreachable"]
"""`failed`: the wanted version cannot serve; `retrying`: its files cannot be had just now;
`missing`: the alias or the model is gone; `unreachable`: the registry does not answer. In these
four the last good version serves."""

SHORTEST_PAUSE = 0.1
"""Seconds between two questions to the registry at least."""

LONGEST_PAUSE = 300.0
"""Seconds between tries of a version whose files cannot be had just now."""


@dataclass(frozen=True, slots=True)
class Following:
    """How the server stands to its source, for people and for rollouts.

    Attributes:
        source: what it follows.
        state: see `State`.
        wanted_version: what the alias names; empty where that is not known.
        reason: why that does not serve, in one line; empty where it does.
    """

    source: str
    state: State
    wanted_version: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A version that could not be taken up."""

    version: Version
    reason: str
    tries: int
    retry_at: float
    """`time.monotonic()` from which another try makes sense; infinity where none does."""

    def of(self, wanted: Version) -> bool:
        """Whether it says anything of this one: with another digest it may be right."""
        return (self.version, self.version.digest) == (wanted, wanted.digest)

    @property
    def state(self) -> State:
        return "failed" if self.retry_at == math.inf else "retrying"


class Follower:
    """Asks the registry now and then what should serve, and takes it up.

    Args:
        origin: where versions come from.
        version: the one that serves.
        served: the same, loaded.
        swap: puts another in its place, from any thread.
        seconds: between two questions.
    """

    def __init__(
        self,
        origin: Origin,
        version: Version,
        served: Served,
        swap: Callable[[Served], None],
        seconds: float,
    ) -> None:
        self._origin = origin
        self._swap = swap
        self._seconds = max(seconds, SHORTEST_PAUSE)
        self._failure: _Failure | None = None
        # Its `put` may be called from a finalizer, wherever that happens to run.
        self._words: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.status = Following(str(origin.source), "current", version.number)
        self._adopt(version, served)

    def start(self) -> None:
        """Follow, on a thread of its own."""
        metrics.FOLLOW_PERIOD.set(self._seconds)
        metrics.FOLLOW_CHECKED.set_to_current_time()
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Stop following.

        Returns:
            Whether it has stopped within the time.
        """
        self._stopping = True
        self._speak()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self._words.get(timeout=self._seconds)
            except queue.Empty:
                # A thread for each: the threads that OpenMP adds to one end with it.
                thread = threading.Thread(target=self._check, name="follower-check", daemon=True)
                thread.start()
                thread.join()
            else:
                if self._stopping:
                    return
                memory.release()

    def _speak(self) -> None:
        """Have the thread look at what it may stop for, or what memory it may give back."""
        self._words.put(None)

    def _check(self) -> None:
        try:
            self.check()
        except Exception:  # following goes on whatever happens
            log.exception("following failed")

    def check(self) -> None:
        """Ask once, and take up what is new."""
        try:
            wanted = self._origin.wanted()
        except Missing as error:
            self._lose("missing", error)
            return
        except BundleError as error:
            self._lose("unreachable", error)
            return
        metrics.FOLLOW_CHECKED.set_to_current_time()
        if self.status.state in ("missing", "unreachable"):
            log.info("following again", extra={"fields": {"source": self.status.source}})
        failure = self._failure if self._failure and self._failure.of(wanted) else None
        if wanted == self._version:
            self._failure = None
            self._show("current", wanted.number)
        elif failure and time.monotonic() < failure.retry_at:
            self._show(failure.state, wanted.number, failure.reason)
        else:
            self._take_up(wanted, failure)

    def _lose(self, state: State, error: BundleError) -> None:
        """Note once that nobody knows what should serve."""
        reason = self._told(error)
        if self.status.state != state:
            log.error(
                "following failed",
                extra={"fields": {"source": self.status.source, "state": state, "reason": reason}},
            )
        self._show(state, "", reason)

    def _take_up(self, wanted: Version, before: _Failure | None) -> None:
        started = time.monotonic()
        self._show("loading", wanted.number, before.reason if before else "")
        try:
            served = self._origin.prepare(wanted)
        except StartupError as error:
            self._fail(wanted, self._told(error), isinstance(error, Unavailable), before)
        except Exception as error:  # a broken version must not end the server
            log.exception("loading failed")
            self._fail(wanted, f"{type(error).__name__} while loading; see the log", False, before)
        else:
            old = self._identity
            self._swap(served)
            self._adopt(wanted, served)
            self._failure = None
            self._show("current", wanted.number)
            metrics.SWAPS.labels("ok").inc()
            log.info(
                "swapped",
                extra={
                    "fields": {
                        "source": self.status.source,
                        "old_version": old.version,
                        "old_digest": old.digest,
                        "new_version": served.identity.version,
                        "new_digest": served.identity.digest,
                        "seconds": round(time.monotonic() - started, 2),
                    }
                },
            )
            self._origin.downloads.prune(served.bundle.folder)

    def _fail(self, wanted: Version, reason: str, may_pass: bool, before: _Failure | None) -> None:
        """Stay with what serves, and say so once for each version and kind of failure."""
        tries = before.tries + 1 if before else 1
        pause = min(LONGEST_PAUSE, self._seconds * 2**tries) if may_pass else math.inf
        self._failure = _Failure(wanted, reason, tries, time.monotonic() + pause)
        self._show(self._failure.state, wanted.number, reason)
        metrics.SWAPS.labels("failed").inc()
        if not (before and may_pass):
            log.error(
                "swap failed",
                extra={
                    "fields": {
                        "source": self.status.source,
                        "old_version": self._identity.version,
                        "old_digest": self._identity.digest,
                        "new_version": wanted.number,
                        "new_digest": wanted.digest,
                        "reason": reason,
                        "tries_again": may_pass,
                    }
                },
            )
        self._speak()  # what was half loaded is free

    def _adopt(self, version: Version, served: Served) -> None:
        self._version = version
        self._identity = served.identity
        # Once the last request that began on it is done, its memory goes back.
        weakref.finalize(served, self._speak).atexit = False

    def _show(self, state: State, wanted: str, reason: str = "") -> None:
        self.status = Following(self.status.source, state, wanted, reason)
        if state != "loading":
            metrics.FOLLOW_FAILED.set(state != "current")

    def _told(self, error: StartupError) -> str:
        """An error for callers, who are not told where files are on this machine."""
        return str(error).replace(f"{self._origin.downloads.folder}/", "")
