"""Kibana's query language, as much of it as our searches use, on events as Filebeat sends them.

Written after what Elastic documents, and used in tests only; what it does not know is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase

from filebeat_events import Event, value

Wanted = Callable[[Event], bool]
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|>=|<=|[():<>]|[^\s():<>"]+)')


class Refused(Exception):
    """Kibana would answer with an error."""


def parse(text: str) -> Wanted:
    """What a query asks of an event.

    Raises:
        Refused: it is no KQL.
    """
    if _TOKEN.sub("", text).strip():
        raise Refused(f"cannot read {text!r}")
    tokens = [found[1] for found in _TOKEN.finditer(text)]
    wanted = _either(tokens)
    if tokens:
        raise Refused(f"{tokens[0]!r} is too much in {text!r}")
    return wanted


def fields(text: str) -> set[str]:
    """The fields that a query asks for."""
    return set(re.findall(r"([A-Za-z_@][\w.@/]*)\s*(?::|>=|<=|<|>)", text))


def _either(tokens: list[str]) -> Wanted:
    parts = [_both(tokens)]
    while tokens and tokens[0].lower() == "or":
        tokens.pop(0)
        parts.append(_both(tokens))
    return lambda event: any(one(event) for one in parts)


def _both(tokens: list[str]) -> Wanted:
    parts = [_one(tokens)]
    while tokens and tokens[0].lower() == "and":
        tokens.pop(0)
        parts.append(_one(tokens))
    return lambda event: all(one(event) for one in parts)


def _one(tokens: list[str]) -> Wanted:
    if not tokens:
        raise Refused("something is missing at the end")
    first = tokens.pop(0)
    if first.lower() == "not":
        inner = _one(tokens)
        return lambda event: not inner(event)
    if first == "(":
        inner = _either(tokens)
        _take(tokens, ")")
        return inner
    how = tokens.pop(0) if tokens else ""
    if how not in (":", ">", ">=", "<", "<="):
        raise Refused(f"{first!r} asks for no field")
    if how != ":":
        return _number(first, how, float(tokens.pop(0)))
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        values = [tokens.pop(0)]
        while tokens and tokens[0].lower() == "or":
            tokens.pop(0)
            values.append(tokens.pop(0))
        _take(tokens, ")")
    else:
        values = [tokens.pop(0)] if tokens else []
    if not values:
        raise Refused(f"{first!r} has no value")
    checks = [_same(first, one) for one in values]
    return lambda event: any(one(event) for one in checks)


def _take(tokens: list[str], wanted: str) -> None:
    if not tokens or tokens.pop(0) != wanted:
        raise Refused(f"{wanted} is missing")


def _same(name: str, text: str) -> Wanted:
    quoted = text.startswith('"')
    wanted = text[1:-1] if quoted else text

    def step(event: Event) -> bool:
        found = value(event, name)
        if found is None:
            return False
        # A star by itself asks for any value at all.
        return str(found) == wanted if quoted else fnmatchcase(str(found), wanted)

    return step


def _number(name: str, how: str, limit: float) -> Wanted:
    def step(event: Event) -> bool:
        found = value(event, name)
        if not isinstance(found, int | float):
            return False
        return {
            ">": found > limit,
            ">=": found >= limit,
            "<": found < limit,
            "<=": found <= limit,
        }[how]

    return step
