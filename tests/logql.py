"""LogQL, as much of it as our dashboards and documents use, on entries as a collector sends them.

Written after what Loki documents, and used in tests only; what it does not know is refused.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from alloy_stages import Entry

_TEXT = r'"(?:[^"\\]|\\.)*"|`[^`]*`'
_MATCHER = re.compile(rf"\s*(\w+)\s*(=~|!~|!=|=)\s*({_TEXT})\s*(,|$)")
_STAGE = re.compile(
    rf"\s*(?:(?P<line>\|=|!=|\|~|!~)\s*(?P<text>{_TEXT})"
    rf"|\|\s*(?P<json>json)(?=\s|$)"
    rf"|\|\s*(?P<label>\w+)\s*(?P<how>=~|!~|!=|>=|<=|=|>|<)\s*(?P<value>{_TEXT}|[\d.]+))\s*"
)
_COUNT = re.compile(
    r"sum(?: by \((?P<by>[\w, ]+)\))? ?\(count_over_time\((?P<log>.+?) ?\[(?P<span>[^\]]+)\]\)\)",
    re.DOTALL,
)


class Refused(Exception):
    """Loki would answer with an error."""


@dataclass(frozen=True)
class Query:
    """A query of lines.

    Attributes:
        labels: those that its selector asks for, which must be labels of the stream.
        fields: those that stages ask for.
        parsed: whether the line's JSON is taken apart.
    """

    labels: tuple[str, ...]
    fields: tuple[str, ...]
    parsed: bool
    _steps: tuple[Callable[[dict[str, str], str], bool], ...]

    def keeps(self, entry: Entry) -> dict[str, str] | None:
        """The labels of an entry after all stages, or None where it is left out."""
        found = dict(entry.labels)
        # What stands in the selector looks at labels alone.
        for step in self._steps[: len(self.labels)]:
            if not step(found, entry.line):
                return None
        found.update({name: text for name, text in entry.metadata.items() if name not in found})
        for step in self._steps[len(self.labels) :]:
            if not step(found, entry.line):
                return None
        return found

    def lines(self, entries: Iterable[Entry]) -> list[str]:
        """The lines that it finds."""
        return [entry.line for entry in entries if self.keeps(entry) is not None]


@dataclass(frozen=True)
class Counting:
    """How many lines a query finds, by some labels."""

    by: tuple[str, ...]
    query: Query

    def counts(self, entries: Iterable[Entry]) -> dict[tuple[str, ...], int]:
        """The numbers by the values of the labels; an absent label is empty."""
        kept = (self.query.keeps(entry) for entry in entries)
        return Counter(
            tuple(one.get(name, "") for name in self.by) for one in kept if one is not None
        )


def parse(text: str) -> Query | Counting:
    """A query of lines, or of their number.

    Raises:
        Refused: it is neither.
    """
    text = text.strip()
    found = _COUNT.fullmatch(text)
    if not found:
        return _lines(text)
    by = tuple(one.strip() for one in (found["by"] or "").split(",") if one.strip())
    return Counting(by, _lines(found["log"].strip()))


def _lines(text: str) -> Query:
    if not text.startswith("{") or "}" not in text:
        raise Refused(f"no selector in {text!r}")
    selector, _, rest = text[1:].partition("}")
    labels, steps, narrow = [], [], False
    at = 0
    while at < len(selector):
        found = _MATCHER.match(selector, at)
        if not found:
            raise Refused(f"cannot read {selector[at:]!r}")
        step = _compared(found[1], found[2], _value(found[3]))
        labels.append(found[1])
        steps.append(step)
        narrow = narrow or not step({}, "")
        at = found.end()
    if not narrow:
        raise Refused("one matcher at least must not match what is empty")
    fields, parsed = [], False
    at = 0
    while at < len(rest):
        found = _STAGE.match(rest, at)
        if not found:
            raise Refused(f"cannot read {rest[at:]!r}")
        if found["json"]:
            parsed = True
            steps.append(_json)
        elif found["line"]:
            steps.append(_line(found["line"], _value(found["text"])))
        else:
            fields.append(found["label"])
            value = found["value"]
            if value[0] in '"`':
                steps.append(_compared(found["label"], found["how"], _value(value)))
            else:
                steps.append(_number(found["label"], found["how"], float(value)))
        at = found.end()
    return Query(tuple(labels), tuple(fields), parsed, tuple(steps))


def _value(text: str) -> str:
    return text[1:-1] if text[0] == "`" else str(json.loads(text))


def _json(labels: dict[str, str], line: str) -> bool:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        labels["__error__"] = "JSONParserErr"
        return True
    for name, value in found.items():
        # Lists are left out.
        if not isinstance(value, list | dict):
            text = value if isinstance(value, str) else json.dumps(value)
            labels[f"{name}_extracted" if name in labels else name] = text
    return True


def _compared(name: str, how: str, value: str) -> Callable[[dict[str, str], str], bool]:
    if how not in ("=", "!=", "=~", "!~"):
        raise Refused(f"{how} takes a number")

    def step(labels: dict[str, str], line: str) -> bool:
        found = labels.get(name, "")
        same = re.fullmatch(value, found) is not None if "~" in how else found == value
        return same != how.startswith("!")

    return step


def _number(name: str, how: str, limit: float) -> Callable[[dict[str, str], str], bool]:
    compare: dict[str, Callable[[float], bool]] = {
        ">": lambda value: value > limit,
        ">=": lambda value: value >= limit,
        "<": lambda value: value < limit,
        "<=": lambda value: value <= limit,
        "=": lambda value: value == limit,
        "!=": lambda value: value != limit,
    }
    if how not in compare:
        raise Refused(f"{how} takes a text")

    def step(labels: dict[str, str], line: str) -> bool:
        # A line that could not be taken apart passes: only a text can filter it out.
        if "__error__" in labels:
            return True
        try:
            return compare[how](float(labels[name]))
        except (KeyError, ValueError):
            return False

    return step


def _line(how: str, value: str) -> Callable[[dict[str, str], str], bool]:
    def step(labels: dict[str, str], line: str) -> bool:
        found = re.search(value, line) is not None if "~" in how else value in line
        return found != how.startswith("!")

    return step
