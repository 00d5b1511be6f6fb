"""What a request's headers say of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import copy_context

import pytest

from predictor.context import RequestContext, open_request


def opened(headers: Mapping[str, str]) -> RequestContext:
    """The context of a request, which no other test finds itself in."""
    return copy_context().run(open_request, headers)


@pytest.mark.parametrize(
    ("headers", "trace_id"),
    [
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, "a" * 32),
        ({"x-b3-traceid": "c" * 16}, "c" * 16),
        ({"traceparent": "Rosebud"}, ""),
        ({}, ""),
    ],
)
def test_trace_id(headers: dict[str, str], trace_id: str) -> None:
    """The trace id comes from W3C's or Zipkin's header, when it is one."""
    assert opened(headers).trace_id == trace_id


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "é", "a\nb"])
def test_request_ids_that_are_none(given: str) -> None:
    """An id that could not be a header or would break a log line is replaced."""
    made = opened({"x-request-id": given}).request_id

    assert made != given
    assert len(made) == 32


@pytest.mark.parametrize(("given", "bounded"), [("2.5", True), ("3s", True), ("soon", False)])
def test_request_timeout(given: str, bounded: bool) -> None:
    """Seconds bound a request; what is no number does not."""
    assert (opened({"x-request-timeout": given}).deadline is not None) == bounded
