"""What a server that follows the registry says of itself, and how to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from servers import RunningServer


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def config(server: RunningServer) -> dict[str, Any]:
    """`/api/v1/config`."""
    answer: dict[str, Any] = server.http.get("/api/v1/config").json()
    return answer


def serves(server: RunningServer, number: int) -> bool:
    """Whether a version serves."""
    return bool(config(server)["model"]["version"] == str(number))


def state(server: RunningServer) -> str:
    """How it stands to its source."""
    return str(config(server)["following"]["state"])


def samples(server: RunningServer, name: str) -> list[tuple[dict[str, str], float]]:
    """The samples of a metric, with their labels."""
    return [
        (one.labels, one.value)
        for family in text_string_to_metric_families(server.http.get("/metrics").text)
        for one in family.samples
        if one.name == name
    ]


def gauge(server: RunningServer, name: str) -> float:
    """A metric without labels."""
    [(_, value)] = samples(server, name)
    return value


def lines(server: RunningServer, message: str) -> list[dict[str, Any]]:
    """Log lines with a message."""
    return [one for one in server.log_lines() if one["message"] == message]
