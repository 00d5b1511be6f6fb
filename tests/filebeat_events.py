"""What Filebeat's processors make of a line: those that our values use.

Written after what Elastic documents, and used in tests only. A processor or an option that is not
here is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

Event = dict[str, Any]
"""Fields by their dotted names; `gliner` has objects within it."""

_LAYOUT = "2006-01-02T15:04:05.999Z07:00"


def process(processors: list[dict[str, Any]], message: str, at: str) -> Event:
    """A line as it is sent to Elasticsearch.

    Args:
        message: the line, without the runtime's prefix.
        at: the moment that the runtime wrote.
    """
    event: Event = {"message": message, "@timestamp": at}
    for one in processors:
        [(name, options)] = one.items()
        options = dict(options)
        if _applies(event, options.pop("when", None)):
            _PROCESSORS[name](event, **options)
    return event


def value(event: Event, path: str) -> Any:
    """A field by its dotted name, or None."""
    found: Any = event
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def put(event: Event, path: str, value: Any) -> None:
    """Set a field by its dotted name."""
    *above, last = path.split(".")
    for name in above:
        event = event.setdefault(name, {})
    event[last] = value


def _applies(event: Event, when: dict[str, Any] | None) -> bool:
    if when is None:
        return True
    [(name, what)] = when.items()
    match name:
        case "not":
            return not _applies(event, what)
        case "has_fields":
            return all(value(event, one) is not None for one in what)
        case "regexp":
            return all(re.search(how, value(event, one) or "") for one, how in what.items())
    raise AssertionError(name)


def _decode_json_fields(event: Event, *, fields: list[str], target: str, max_depth: int) -> None:
    assert max_depth == 1
    for one in fields:
        try:
            put(event, target, json.loads(value(event, one)))
        except ValueError:
            continue


def _timestamp(
    event: Event, *, field: str, layouts: list[str], test: list[str], **how: bool
) -> None:
    assert layouts == [_LAYOUT]
    assert how == {"ignore_missing": True, "ignore_failure": True}
    for text in [*test, value(event, field)]:
        try:
            moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
        except ValueError:
            assert text not in test
            return
    utc = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    event["@timestamp"] = utc.replace("+00:00", "Z")


def _convert(event: Event, *, fields: list[dict[str, str]], **how: bool) -> None:
    assert how == {"ignore_missing": True, "fail_on_error": False}
    for one in fields:
        found = value(event, one["from"])
        if found is not None:
            assert one["type"] == "string"
            put(event, one["from"], found if isinstance(found, str) else json.dumps(found))


def _copy_fields(event: Event, *, fields: list[dict[str, str]], **how: bool) -> None:
    assert how == {"ignore_missing": True, "fail_on_error": False}
    for one in fields:
        found = value(event, one["from"])
        if found is not None:
            put(event, one["to"], found)


def _add_fields(event: Event, *, target: str, fields: dict[str, Any]) -> None:
    for name, what in fields.items():
        put(event, f"{target}.{name}", what)


def _add_kubernetes_metadata(event: Event, *, host: str, matchers: list[Any]) -> None:
    """Names of pods, which no test has."""


_PROCESSORS: dict[str, Callable[..., None]] = {
    "add_kubernetes_metadata": _add_kubernetes_metadata,
    "decode_json_fields": _decode_json_fields,
    "timestamp": _timestamp,
    "convert": _convert,
    "copy_fields": _copy_fields,
    "add_fields": _add_fields,
}
