"""Macros and series as Grafana makes them, with its quirks: what the other tests rest on."""

from __future__ import annotations

import pytest
from grafana_sql import QueryFailed, Window, expand, series

WINDOW = Window(1_000, 2_000)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("$__timeFilter(at)", "at BETWEEN FROM_UNIXTIME(1000) AND FROM_UNIXTIME(2000)"),
        ("$__unixEpochFilter( at )", "at >= 1000 AND at <= 2000"),
        ("$__unixEpochNanoFilter(at)", "at >= 1000000000000 AND at <= 2000000000000"),
        ("$__unixEpochFrom() + $__unixEpochTo()", "1000 + 2000"),
        ("$__timeFrom()", "FROM_UNIXTIME(1000)"),
        ("$__timeGroup(at, '5m')", "UNIX_TIMESTAMP(at) DIV 300 * 300"),
        ("$__unixEpochGroupAlias(at, 1h)", 'at DIV 3600 * 3600 AS "time"'),
        ("$__interval_ms, '$__interval'", "60000, '1m'"),
    ],
)
def test_macro(written: str, sent: str) -> None:
    """Each becomes what MySQL reads."""
    assert sent == expand(written, WINDOW)


def test_argument_ends_at_the_first_bracket() -> None:
    """A call inside a macro is cut in the middle: what is left is no SQL, or worse, is."""
    assert (
        expand("$__timeFilter(FROM_UNIXTIME(at))", WINDOW)
        == "FROM_UNIXTIME(at BETWEEN FROM_UNIXTIME(1000) AND FROM_UNIXTIME(2000))"
    )


@pytest.mark.parametrize(
    "written",
    [
        *("$__nonsense(at)", "$__timeGroup(at)", "$__timeGroup(at, soon)"),
        *("SELECT 1, user()", "SELECT current_user FROM x", "SHOW GRANTS"),
    ],
)
def test_refused(written: str) -> None:
    """An unknown macro, a missing argument, and functions that name the user."""
    with pytest.raises(QueryFailed):
        expand(written, WINDOW)


def test_user_as_a_column_is_not_refused() -> None:
    """Only the functions are; a column may have the name."""
    assert expand("SELECT user_id FROM runs", WINDOW) == "SELECT user_id FROM runs"


def test_strings_are_labels_and_numbers_are_values() -> None:
    """One series for each set of labels and each column of numbers."""
    rows = [(1, "a", 5, 7), (2, "b", 6, None)]

    found = series(["time", "model", "x", "y"], rows)

    assert [(one.name, one.labels, one.points) for one in found] == [
        ("x", {"model": "a"}, ((1.0, 5.0),)),
        ("y", {"model": "a"}, ((1.0, 7.0),)),
        ("x", {"model": "b"}, ((2.0, 6.0),)),
        ("y", {"model": "b"}, ((2.0, None),)),
    ]


def test_a_column_called_metric_is_no_label() -> None:
    """Where there are three columns it becomes the name, so two models would be one series."""
    [three] = series(["time", "metric", "value"], [(1, "a", 5)])
    [four] = series(["time", "metric", "version", "value"], [(1, "a", "7", 5)])

    assert (three.name, three.labels) == ("a", {})
    assert (four.name, four.labels) == ("value", {"metric": "a", "version": "7"})


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(["at", "value"], [(1, 2)]), (["time", "model", "value"], [(2, "a", 1), (1, "b", 1)])],
)
def test_no_series(columns: list[str], rows: list[tuple[object, ...]]) -> None:
    """Without a time column, and with labels whose rows do not ascend, Grafana shows an error."""
    with pytest.raises(QueryFailed):
        series(columns, rows)
