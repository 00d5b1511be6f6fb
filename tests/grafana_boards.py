"""Grafana's dashboards, and the queries in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_rules import ROOT

FILES = sorted((ROOT / "dashboards").glob("*.json"))
_VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(?!__)(\w+)")


@dataclass(frozen=True)
class Query:
    """One statement or expression.

    Attributes:
        where: dashboard and panel, for messages.
        source: the data source's uid.
        text: SQL, PromQL or LogQL, with variables and macros.
        format: `time_series` or `table`; LogQL has none.
    """

    where: str
    source: str
    text: str
    format: str


def boards() -> list[tuple[Path, dict[str, Any]]]:
    """All dashboards with their files."""
    return [(file, json.loads(file.read_text("utf-8"))) for file in FILES]


def queries(source: str) -> list[Query]:
    """Every query of a data source: in panels, annotations and variables."""
    return [
        query
        for file, board in boards()
        for query in _of_board(file.stem, board)
        if query.source == source
    ]


def filled(text: str, values: dict[str, str]) -> str:
    """A query with its dashboard's variables put in, as the browser does.

    Raises:
        KeyError: a variable that the dashboard does not have.
    """

    def value(found: re.Match[str]) -> str:
        plain = values[found[1] or found[3]]
        if found[2] in (None, "raw"):
            return plain
        assert found[2] == "sqlstring", found[0]
        return "'" + plain.replace("'", "''") + "'"

    return _VARIABLE.sub(value, text)


def _of_board(name: str, board: dict[str, Any]) -> Iterator[Query]:
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            text = target.get("rawSql") or target["expr"]
            where = f"{name}/{panel['id']} {panel['title']}"
            yield Query(where, target["datasource"]["uid"], text, target.get("format", ""))
    for one in board["annotations"]["list"]:
        if "target" in one:
            where, sql = f"{name}/{one['name']}", one["target"]["rawSql"]
            yield Query(where, one["datasource"]["uid"], sql, "table")
    for one in board["templating"]["list"]:
        if one["type"] == "query":
            # Loki's is an object, and says in words what it asks for.
            text = one.get("definition", one["query"])
            yield Query(f"{name}/${one['name']}", one["datasource"]["uid"], text, "table")
