"""Noticing decided reviews by asking MLflow now and then, where its webhooks do not reach us."""

from __future__ import annotations

import threading

from pipeline import review
from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.registry import Registry
from pipeline.review import Decision, Launch
from pipeline.review import tags as review_tags
from pipeline.settings import Settings


def poll_once(settings: Settings, launch: Launch | None = None) -> list[Decision]:
    """Look at every review that is open or not told yet, and act on it.

    One that cannot be acted on just now is left for the next time, and said so.

    Raises:
        Unavailable: MLflow does not answer.
    """
    launch = review.own_launch() if launch is None else launch
    registry = Registry(settings)
    decisions = []
    for version in registry.versions():
        if review_tags.settled(version):
            continue
        try:
            decisions.append(review.decide(version.number, registry, launch))
        except PipelineError as error:
            say(f"version {version.number}: its review waits for the next look: {error}")
    return decisions


def poll(
    settings: Settings,
    every_seconds: float,
    launch: Launch | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Look again and again, until `stop` is set; an MLflow that is down is waited for."""
    stop = stop or threading.Event()
    while not stop.is_set():
        try:
            poll_once(settings, launch)
        except PipelineError as error:
            say(f"no look at reviews this time: {error}")
        stop.wait(every_seconds)
