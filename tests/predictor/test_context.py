"""What a request's headers say of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import copy_context

import pytest

from predictor.context import RequestContext, check_time, open_request
from predictor.errors import DeadlineExceeded, InvalidRequest


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


@pytest.mark.parametrize(("given", "seconds"), [("2.5", 2.5), ("3s", 3), ("1e-9", 1e-9)])
def test_request_timeout(given: str, seconds: float) -> None:
    """It counts from the request's beginning."""
    context = opened({"x-request-timeout": given})

    assert context.deadline is not None
    assert context.deadline - context.started == pytest.approx(seconds, abs=1e-8)
    assert context.deadline >= context.started


@pytest.mark.parametrize("given", ["0", "-1", "-0.0", "1e-9", "0s"])
def test_time_that_is_over(given: str) -> None:
    """A request that comes too late is told so, in figures that make sense."""
    headers = {"x-request-timeout": given}
    context = opened(headers)
    time.sleep(0.001)

    with pytest.raises(DeadlineExceeded, match=r"^not finished within 0 s; "):
        check_time(context, headers)


@pytest.mark.parametrize("given", ["soon", "500ms", "nan", "inf", "1,5", "2.5 2.5"])
def test_time_that_is_none(given: str) -> None:
    """What is no number of seconds is refused by name, and bounds nothing."""
    headers = {"x-request-timeout": given}
    context = opened(headers)

    assert context.deadline is None
    with pytest.raises(
        InvalidRequest, match=r"^x-request-timeout: must be seconds .* such as 2\.5, "
    ):
        check_time(context, headers)


@pytest.mark.parametrize("given", ["", " ", "2.5"])
def test_time_that_is_left(given: str) -> None:
    """A header that says nothing, and one that leaves time, are no mistake."""
    headers = {"x-request-timeout": given}

    check_time(opened(headers), headers)
