"""CloudEvents around V1 bodies.

In the binary mode the attributes stand in `ce-*` headers and the body is the V1 body; in the
structured mode all of it is one JSON object with the V1 body under `data`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from predictor.errors import InvalidRequest, quote

_REQUIRED = ("id", "source", "specversion", "type")
_VERSIONS = ("1.0", "0.3")
_STRUCTURED = "application/cloudevents+json"


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def unwrap(payload: Any, headers: Mapping[str, str]) -> tuple[Any, dict[str, Any]]:
    """The V1 body in a payload, and the event's attributes; none for what is no event.

    Args:
        payload: the parsed body.
        headers: lower-case.

    Raises:
        InvalidRequest: it is an event that lacks an attribute or its data.
    """
    if any(f"ce-{name}" in headers for name in _REQUIRED):
        given = {
            key.removeprefix("ce-"): value for key, value in headers.items() if key[:3] == "ce-"
        }
        return payload, _attributes(given, "ce-")
    # No V1 body has a `specversion`: KServe takes events under any JSON content type.
    is_event = media_type(headers) == _STRUCTURED or (
        isinstance(payload, dict) and "specversion" in payload
    )
    if not is_event:
        return payload, {}
    if not isinstance(payload, dict):
        raise InvalidRequest("a CloudEvent must be a JSON object")
    attributes = _attributes({**payload}, "")
    if "data" not in attributes:
        raise InvalidRequest("is required in a CloudEvent: the V1 body", field="data")
    return attributes.pop("data"), attributes


def _attributes(given: dict[str, Any], prefix: str) -> dict[str, Any]:
    for name in _REQUIRED:
        if not isinstance(given.get(name), str) or not given[name]:
            raise InvalidRequest("is required in a CloudEvent: a string", field=f"{prefix}{name}")
    if given["specversion"] not in _VERSIONS:
        raise InvalidRequest(
            f"must be {' or '.join(_VERSIONS)}, got {quote(given['specversion'])}",
            field=f"{prefix}specversion",
        )
    # KServe takes the time for granted where it merges attributes into the answer.
    return {"time": "", **given}
