"""SQL as Grafana's MySQL data source runs it: macros expanded, rows turned into labelled series.

Written after what Grafana does, quirks included, and used in tests only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pymysql

_MACRO = re.compile(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)")
_REFUSED = re.compile(
    r"\s*show\s+grants(?=[\s,;]|$)"
    r"|[\s,](?:(?:session_user|system_user|user)\([^)]*\)|current_user(?:\([^)]*\))?)(?=[\s,;]|$)",
    re.IGNORECASE | re.MULTILINE,
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class QueryFailed(Exception):
    """Grafana would show an error in place of data."""


@dataclass(frozen=True)
class Window:
    """A time range in seconds since the epoch."""

    start: int
    end: int


@dataclass(frozen=True)
class Series:
    """Values over time under one set of labels."""

    name: str
    labels: dict[str, str]
    points: tuple[tuple[float, float | None], ...]


def expand(sql: str, window: Window, interval: str = "1m") -> str:
    """Replace macros.

    An argument ends at the first `)`, whatever was opened before it: a call inside a macro is
    cut in the middle, as in Grafana.

    Raises:
        QueryFailed: an unknown macro, or a function that Grafana refuses.
    """
    if _REFUSED.search(sql):
        raise QueryFailed("Grafana refuses functions that name the user")
    sql = sql.replace("$__interval_ms", str(_seconds(interval) * 1000))
    sql = sql.replace("$__interval", interval)
    sql = sql.replace("$__unixEpochFrom()", str(window.start))
    sql = sql.replace("$__unixEpochTo()", str(window.end))

    def replaced(found: re.Match[str]) -> str:
        name, arguments = found[1], [one.strip(" ") for one in found[2].split(",")]
        if name not in _MACROS:
            raise QueryFailed(f"unknown macro {name}")
        return _MACROS[name](arguments, window)

    return _MACRO.sub(replaced, sql)


def query(connection: Any, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of a statement that has no macros left.

    Raises:
        QueryFailed: the database refuses it or does not answer.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return [one[0] for one in cursor.description], list(cursor.fetchall())
    except (pymysql.Error, OSError) as error:
        raise QueryFailed(str(error)) from error


def series(columns: list[str], rows: list[tuple[Any, ...]]) -> list[Series]:
    """What `format: time_series` makes of rows: strings become labels, numbers become values.

    Raises:
        QueryFailed: no time column, or rows with labels that do not ascend in time.
    """
    times = [at for at, name in enumerate(columns) if name.lower() in ("time", "time_sec")]
    if not times:
        raise QueryFailed("no time column found")
    if not rows:
        return []
    texts = [at for at in range(len(columns)) if any(isinstance(row[at], str) for row in rows)]
    values = [at for at in range(len(columns)) if at not in (*times, *texts)]
    stamps = [float(row[times[0]]) for row in rows]
    if texts and stamps != sorted(stamps):
        raise QueryFailed("long series must be sorted ascending by time to be converted")
    found: dict[tuple[str, tuple[tuple[str, str], ...]], list[tuple[float, float | None]]] = {}
    for stamp, row in zip(stamps, rows, strict=True):
        labels = tuple((columns[at], row[at] or "") for at in texts)
        for at in values:
            value = None if row[at] is None else float(row[at])
            found.setdefault((columns[at], labels), []).append((stamp, value))
    return [
        _named(name, dict(labels), tuple(points), len(columns))
        for (name, labels), points in found.items()
    ]


def _named(
    name: str, labels: dict[str, str], points: tuple[tuple[float, float | None], ...], width: int
) -> Series:
    # With three columns the one called `metric` becomes the name, and is a label no longer.
    if width == 3 and list(labels) == ["metric"]:
        return Series(labels["metric"], {}, points)
    return Series(name, labels, points)


def _seconds(interval: str) -> int:
    found = re.fullmatch(r"(\d+)([smhdw])", interval.strip("'\""))
    if not found:
        raise QueryFailed(f"error parsing interval {interval}")
    return int(found[1]) * _UNITS[found[2]]


def _group(arguments: list[str], template: str) -> str:
    if len(arguments) < 2:
        raise QueryFailed("the macro needs a time column and an interval")
    # A third argument fills gaps after the query, which nothing of ours asks for.
    assert len(arguments) == 2, arguments
    return template.format(arguments[0], _seconds(arguments[1]))


_MACROS: dict[str, Callable[[list[str], Window], str]] = {
    "__time": lambda given, _: f"UNIX_TIMESTAMP({given[0]}) as time_sec",
    "__timeEpoch": lambda given, _: f"UNIX_TIMESTAMP({given[0]}) as time_sec",
    "__unixEpochNanoFilter": lambda given, span: (
        f"{given[0]} >= {span.start}000000000 AND {given[0]} <= {span.end}000000000"
    ),
    "__unixEpochNanoFrom": lambda _, span: f"{span.start}000000000",
    "__unixEpochNanoTo": lambda _, span: f"{span.end}000000000",
    "__timeFilter": lambda given, span: (
        f"{given[0]} BETWEEN FROM_UNIXTIME({span.start}) AND FROM_UNIXTIME({span.end})"
    ),
    "__timeFrom": lambda _, span: f"FROM_UNIXTIME({span.start})",
    "__timeTo": lambda _, span: f"FROM_UNIXTIME({span.end})",
    "__timeGroup": lambda given, _: _group(given, "UNIX_TIMESTAMP({0}) DIV {1} * {1}"),
    "__timeGroupAlias": lambda given, _: _group(
        given, 'UNIX_TIMESTAMP({0}) DIV {1} * {1} AS "time"'
    ),
    "__unixEpochFilter": lambda given, span: (
        f"{given[0]} >= {span.start} AND {given[0]} <= {span.end}"
    ),
    "__unixEpochGroup": lambda given, _: _group(given, "{0} DIV {1} * {1}"),
    "__unixEpochGroupAlias": lambda given, _: _group(given, '{0} DIV {1} * {1} AS "time"'),
}
