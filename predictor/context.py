"""What is known of the request in hand, wherever the code is: its ids, deadline and counts.

KServe hands a model the headers and nothing else. The outermost layer of each protocol
(`guard` for HTTP, `server` for gRPC) opens a context; everything within the same task reads it.
"""

from __future__ import annotations

import math
import re
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib import parse

from predictor.errors import DeadlineExceeded, InvalidRequest, quote

if TYPE_CHECKING:
    # Only where traces are exported is it imported: it brings OpenTelemetry.
    from predictor.spans import RequestSpans, RequestTracer

_ID = re.compile(r"^[\x21-\x7e]{1,128}$")
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_TIMEOUT = "x-request-timeout"
_B3 = re.compile(r"^[0-9a-f]{16,32}$")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model answered.

    Attributes:
        version: its number in the registry, else its revision or name.
        digest: SHA-256 over the files that decide its answers.
    """

    version: str
    digest: str

    def headers(self) -> dict[str, str]:
        """The same as HTTP headers and gRPC metadata, which take visible ASCII only."""
        return {
            "x-model-version": parse.quote(self.version, safe="/@:+=, "),
            "x-model-digest": self.digest,
        }


@dataclass(slots=True)
class RequestContext:
    """One request on its way.

    Attributes:
        request_id: taken from `x-request-id` or made; echoed in the answer.
        trace_id: of its spans; where there are none from `traceparent` or `x-b3-traceid`, else
            empty.
        deadline: `time.monotonic()` after which the answer is of no use, or None.
        started: `time.monotonic()` when the request came.
        protocol: `v1`, `v2`, `grpc`, `web` (page and compatibility endpoints) or `ops`.
        endpoint: the route, with names of models and tensors left out.
        counts: how many texts, words, windows and entities it had; never which.
        model: the model that answers it, once that is known.
        spans: where it is traced.
        caller: whose API key was shown, where keys are asked for.
    """

    request_id: str
    trace_id: str = ""
    deadline: float | None = None
    started: float = field(default_factory=time.monotonic)
    protocol: str = "ops"
    endpoint: str = "other"
    counts: dict[str, int] = field(default_factory=dict)
    error: str = ""
    model: Identity | None = None
    spans: RequestSpans | None = None
    caller: str = ""

    def ends(self, longest: float) -> float:
        """`time.monotonic()` when its time is over: `longest` seconds after it came, or before."""
        return min(self.deadline or math.inf, self.started + longest)


_tracer: RequestTracer | None = None
_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def open_request(headers: Mapping[str, str], timeout: float | None = None) -> RequestContext:
    """Start a context for a request with these (lower-case) headers.

    Args:
        headers: the request's headers or gRPC metadata.
        timeout: seconds left by the protocol's own deadline, where it has one.

    Never fails: what is wrong with the time that the caller gives is for `check_time` to say.
    """
    given = headers.get("x-request-id", "")
    trace = _TRACEPARENT.match(headers.get("traceparent", ""))
    b3 = _B3.match(headers.get("x-b3-traceid", ""))
    asked = _seconds(headers.get(_TIMEOUT, ""))
    left = [one for one in (timeout, asked) if one is not None]
    now = time.monotonic()
    context = RequestContext(
        request_id=given if _ID.match(given) else uuid.uuid4().hex,
        trace_id=trace.group(1) if trace else (b3.group(0) if b3 else ""),
        deadline=now + min(left) if left else None,
        started=now,
    )
    _current.set(context)
    return context


def check_time(context: RequestContext, headers: Mapping[str, str]) -> None:
    """Refuse a request whose time is over when it comes, as a proxy may say of one that waited.

    Raises:
        InvalidRequest: `x-request-timeout` is no number of seconds.
        DeadlineExceeded: there is no time left.
    """
    given = headers.get(_TIMEOUT, "")
    if given.strip() and _seconds(given) is None:
        raise InvalidRequest(
            f"must be seconds as a decimal number, such as 2.5, got {quote(given)}",
            field=_TIMEOUT,
        )
    if context.deadline is not None and context.deadline <= time.monotonic():
        raise DeadlineExceeded(max(0.0, round(context.deadline - context.started, 3)))


def trace_requests(tracer: RequestTracer | None) -> None:
    """Trace the requests that come from now on."""
    global _tracer
    _tracer = tracer


def begin_trace(context: RequestContext, headers: Mapping[str, str], method: str = "") -> None:
    """Begin the spans of a request, once its protocol and endpoint are known."""
    if _tracer:
        context.spans = _tracer.begin(context, headers, method)


def current() -> RequestContext:
    """The request in hand; one without an id outside of any request."""
    return _current.get() or RequestContext(request_id="")


def _seconds(raw: str) -> float | None:
    """`x-request-timeout`: seconds as a decimal number, `2.5` or `2.5s`."""
    try:
        value = float(raw.strip().removesuffix("s"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
