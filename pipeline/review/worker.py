"""The thread that decides reviews, so that MLflow's deliveries are answered at once."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from pipeline import review
from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.registry import Registry, now
from pipeline.review.lock import LOCK_SECONDS
from pipeline.review.poll import poll_once

if TYPE_CHECKING:
    from pipeline.review import Launch
    from pipeline.settings import Settings

_log = logging.getLogger(__name__)
_END = -1
RETRY_SECONDS = 30.0
"""After a look that MLflow, or another rollout, did not allow."""


class Worker:
    """Looks at the versions it is told of, and at all open reviews now and then.

    Args:
        poll_seconds: between two looks at everything; the first is at the start.
    """

    def __init__(
        self, settings: Settings, registry: Registry, launch: Launch, poll_seconds: float
    ) -> None:
        self.polled_at: str | None = None
        self._settings = settings
        self._registry = registry
        self._launch = launch
        self._poll_seconds = poll_seconds
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="reviews", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way, and end."""
        self._waiting.put(_END)
        self._thread.join(LOCK_SECONDS)

    def look_at(self, number: int) -> None:
        """Have a version looked at soon."""
        self._waiting.put(number)

    def _work(self) -> None:
        next_poll = time.monotonic()
        while True:
            try:
                number = self._waiting.get(timeout=max(0.0, next_poll - time.monotonic()))
            except queue.Empty:
                next_poll = time.monotonic() + self._safely(None)
                continue
            if number is _END:
                return
            next_poll = min(next_poll, time.monotonic() + self._safely(number))

    def _safely(self, number: int | None) -> float:
        """Look at one version, or at all. Returns seconds until all are to be looked at again."""
        try:
            if number is None:
                poll_once(self._settings, self._launch)
                self.polled_at = now()
            else:
                review.decide(number, self._registry, self._launch)
        except PipelineError as error:
            say(f"reviews wait for the next look: {error}")
            return min(RETRY_SECONDS, self._poll_seconds)
        except Exception:  # noqa: BLE001
            # One review that cannot be decided must not keep all others from it.
            _log.exception("a review could not be decided")
        return self._poll_seconds
