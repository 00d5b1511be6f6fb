"""Who hears of an alert, by its severity, by the hour, and by how long it has lasted."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from grafana_format import AlertingFile, Interval, Route
from grafana_rules import ALERTING

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
# A Wednesday at noon, its night, and the Saturday after.
NOON = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
NIGHT = datetime(2026, 11, 25, 23, 30, tzinfo=timezone.utc)
SATURDAY = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)


def file(name: str) -> AlertingFile:
    """A file of alerting as its format has it."""
    return AlertingFile.model_validate(yaml.safe_load((ALERTING / name).read_text("utf-8")))


[POLICY] = file("policies.yaml").policies
MUTED = {one.name: one.time_intervals for one in file("mute-timings.yaml").muteTimes}


def routes(labels: dict[str, str], among: list[Route] | None = None) -> list[Route]:
    """The policies that an alert meets: the first that matches, and more where one continues."""
    found: list[Route] = []
    for route in POLICY.routes if among is None else among:
        if all(
            _matches(labels.get(name, ""), how, what) for name, how, what in route.object_matchers
        ):
            found += routes(labels, route.routes) or [route]
            if not route.continue_:
                break
    return found


def told(labels: dict[str, str], at: datetime, lasted: str = "1m") -> set[str]:
    """Who has a first message by now of an alert that has lasted so long.

    A policy with a mute time that holds now tells nobody; what is muted is told later.
    """
    return {
        route.receiver
        for route in routes(labels)
        if _seconds(route.group_wait or POLICY.group_wait) <= _seconds(lasted)
        and not any(_holds(one, at) for name in route.mute_time_intervals for one in MUTED[name])
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"severity": "critical"}, ["gliner-page", "gliner-lead"]),
        ({"severity": "warning"}, ["gliner-chat", "gliner-digest"]),
        ({"severity": "info"}, ["gliner-digest"]),
        ({"severity": "critical", "alertname": "DatasourceError"}, ["gliner-chat"]),
        ({"service": "another"}, []),
    ],
)
def test_routes(labels: dict[str, str], expected: list[str]) -> None:
    """Severity decides who hears of it; a failing statement never rings a phone for each rule.
    What no policy matches goes to the root's."""
    assert expected == [one.receiver for one in routes(labels)]
    assert POLICY.receiver == "gliner-chat"


@pytest.mark.parametrize(
    ("severity", "lasted", "expected"),
    [
        ("critical", "1m", {"gliner-page"}),
        ("critical", "4h", {"gliner-page", "gliner-lead"}),
        ("warning", "1m", {"gliner-chat"}),
        ("warning", "12h", {"gliner-chat", "gliner-digest"}),
        ("info", "1m", set()),
        ("info", "1h", {"gliner-digest"}),
    ],
)
def test_escalation_by_time(severity: str, lasted: str, expected: set[str]) -> None:
    """What lasts reaches more people."""
    assert expected == told({"severity": severity}, NOON, lasted)


@pytest.mark.parametrize("at", [NIGHT, SATURDAY, NIGHT + timedelta(hours=7)])
def test_quiet_hours(at: datetime) -> None:
    """At night and on weekends a warning waits, its daily mail and what is critical do not."""
    assert told({"severity": "warning"}, at) == set()
    assert told({"severity": "warning"}, at, "1d") == {"gliner-digest"}
    assert told({"severity": "critical"}, at) == {"gliner-page"}


@pytest.mark.parametrize(
    ("clock", "quiet"),
    [("06:59", True), ("07:00", False), ("18:59", False), ("19:00", True), ("00:00", True)],
)
def test_edges_of_the_night(clock: str, quiet: bool) -> None:
    """The night has no gap at midnight, and ends on the minute."""
    hour, minute = map(int, clock.split(":"))

    heard = told({"severity": "warning"}, NOON.replace(hour=hour, minute=minute))

    assert quiet == (heard == set())


def _matches(value: str, how: str, what: str) -> bool:
    equal = re.fullmatch(what, value) is not None if how.endswith("~") else value == what
    return equal != how.startswith("!")


def _holds(interval: Interval, at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(interval.location))
    clock = local.strftime("%H:%M")
    hours: list[Any] = interval.times
    return (not hours or any(one.start_time <= clock < one.end_time for one in hours)) and (
        not interval.weekdays or local.strftime("%A").lower() in interval.weekdays
    )


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * UNITS[duration[-1]]
