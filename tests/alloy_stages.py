"""What Alloy's `loki.process` makes of a line: the stages that our configuration uses.

Written after what Alloy 1.18 does, and used in tests only. A key that a stage does not have, and a
stage that is not here, are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from alloy_config import Block

_CRI = re.compile(r"^(\S+) (stdout|stderr) ([FP])(?::\S*)? ?(.*)$", re.DOTALL)
_FRACTION = re.compile(r"\.(\d{1,9})")
# The only kind of template that we write: the value, or a word where there is none.
_TEMPLATE = re.compile(r"{{ if \.Value }}{{ \.Value }}{{ else }}(\w+){{ end }}")


@dataclass
class Entry:
    """A line on its way to Loki.

    Attributes:
        line: the text that is kept.
        labels: what makes a stream.
        metadata: what is kept beside the line.
        nanoseconds: its moment, since the epoch.
    """

    line: str
    labels: dict[str, str]
    metadata: dict[str, str] = field(default_factory=dict)
    nanoseconds: int = 0
    extracted: dict[str, Any] = field(default_factory=dict)
    partial: bool = False


def process(stages: Iterable[Block], lines: Iterable[str], labels: dict[str, str]) -> list[Entry]:
    """What is sent to Loki of the lines of a container's file."""
    steps = [(_STAGES[one.kind], one.settings) for one in stages]
    found, begun = [], ""
    for line in lines:
        entry = Entry(line, dict(labels))
        for at, (step, settings) in enumerate(steps):
            step(entry, **settings)
            if at == 0 and begun:
                entry.line, begun = begun + entry.line, ""
            if entry.partial:
                break
        if entry.partial:
            begun = entry.line
        else:
            found.append(entry)
    return found


def nanoseconds(text: str) -> int:
    """A time as Go's RFC3339Nano has it.

    Raises:
        ValueError: it is not one.
    """
    fraction = _FRACTION.search(text)
    whole = datetime.fromisoformat(_FRACTION.sub("", text).replace("Z", "+00:00"))
    if whole.tzinfo is None or "T" not in text:
        raise ValueError(text)
    seconds = int(whole.astimezone(timezone.utc).timestamp())
    return seconds * 10**9 + int((fraction[1] if fraction else "0").ljust(9, "0"))


def matches(pattern: str, text: str) -> bool:
    """Whether a rule's expression, which has to fit all of a text, does."""
    return re.fullmatch(pattern, text) is not None


def _cri(entry: Entry) -> None:
    found = _CRI.match(entry.line)
    if not found:
        return
    entry.extracted.update(zip(("time", "stream", "flags", "content"), found.groups(), strict=True))
    entry.nanoseconds, entry.line = nanoseconds(found[1]), found[4]
    entry.labels["stream"] = found[2]
    entry.partial = found[3] == "P"


def _json(entry: Entry, *, expressions: dict[str, str]) -> None:
    try:
        data = json.loads(entry.line)
    except ValueError:
        return
    if not isinstance(data, dict):
        return
    for name, path in expressions.items():
        # More than a name is JMESPath, which we have no need of.
        assert re.fullmatch(r"\w+", path), path
        entry.extracted[name] = data.get(path)


def _template(entry: Entry, *, source: str, template: str) -> None:
    found = _TEMPLATE.fullmatch(template)
    assert found, template
    entry.extracted[source] = _text(entry.extracted.get(source)) or found[1]


def _timestamp(entry: Entry, *, source: str, **how: str) -> None:
    assert how == {"format": "RFC3339Nano", "action_on_failure": "skip"}
    try:
        entry.nanoseconds = nanoseconds(_text(entry.extracted.get(source)) or "")
    except ValueError:
        return


def _labels(entry: Entry, *, values: dict[str, str]) -> None:
    for name, source in values.items():
        text = _text(entry.extracted.get(source or name))
        if text is not None:
            entry.labels[name] = text


def _structured_metadata(entry: Entry, *, values: dict[str, str]) -> None:
    for name, source in values.items():
        text = _text(entry.extracted.get(source or name))
        if text is not None:
            entry.metadata[name] = text
        if (source or name) in entry.labels:
            entry.metadata[name] = entry.labels.pop(source or name)


def _label_drop(entry: Entry, *, values: list[str]) -> None:
    for name in values:
        entry.labels.pop(name, None)


def _text(value: Any) -> str | None:
    """What Alloy makes of a value of JSON: nothing of null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))


_STAGES: dict[str, Callable[..., None]] = {
    "stage.cri": _cri,
    "stage.json": _json,
    "stage.template": _template,
    "stage.timestamp": _timestamp,
    "stage.labels": _labels,
    "stage.structured_metadata": _structured_metadata,
    "stage.label_drop": _label_drop,
}
