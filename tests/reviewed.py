"""Registered versions for tests about reviews, and a rollout that only remembers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline import review
from pipeline.registry import Registry, Tag, Version

if TYPE_CHECKING:
    from pipeline.settings import Settings


def register(registry: Registry, **tags: object) -> int:
    """One more version, that the gate let through unless the tags say otherwise."""
    from mlflow.exceptions import MlflowException

    # For all but the first, it is there.
    with suppress(MlflowException):
        registry.client.create_registered_model(registry.name)
    made = registry.client.create_model_version(
        registry.name,
        "s3://bucket/model",
        tags={Tag.STATUS: "candidate", Tag.GATE: "passed", **{k: str(v) for k, v in tags.items()}},
    )
    return int(made.version)


def ask(registry: Registry, number: int) -> str:
    """Ask as the step of a run does."""
    return review.ask(number, registry, registry.run("job-1"))


def asked(registry: Registry, **tags: object) -> int:
    """One more version, whose review was asked."""
    number = register(registry, **tags)
    assert ask(registry, number) == "pending"
    return number


def challenger(registry: Registry) -> int | None:
    """The number of the version that waits."""
    found = registry.challenger()
    return found.number if found else None


def tags(registry: Registry, number: int) -> dict[str, str]:
    """A version's tags now."""
    return dict(version(registry, number).tags)


def version(registry: Registry, number: int) -> Version:
    """A version as it is now."""
    found = registry.version(number)
    assert found is not None
    return found


def click(registry: Registry, number: int, word: str) -> None:
    """Set the tag as the MLflow UI does."""
    registry.client.set_model_version_tag(registry.name, str(number), Tag.REVIEW, word)


class Launches:
    """A rollout starter that remembers.

    Args:
        seconds: how long starting one takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.started: list[tuple[int, str]] = []
        self.tries = 0
        self.error: Exception | None = None
        self._seconds = seconds
        self._lock = threading.Lock()

    def __call__(self, number: int, settings: Settings, reason: str) -> None:
        self.tries += 1
        if self.error is not None:
            raise self.error
        time.sleep(self._seconds)
        with self._lock:
            self.started.append((number, reason))

    @property
    def numbers(self) -> list[int]:
        """The versions, in order."""
        return [number for number, _ in self.started]


def eventually(check: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether it comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if check():
            return True
        time.sleep(0.05)
    return bool(check())
