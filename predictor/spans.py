"""The spans of a prediction: the request, and within it reading, waiting, passes and merging.

Attributes are counts, ids and names of ours: never a text, a label or an address.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.url_attributes import URL_SCHEME
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.util.types import AttributeValue

from predictor import traces
from predictor.context import RequestContext
from predictor.errors import NerError
from predictor.extraction import Extractor, Query, Reading
from predictor.line import Outcome

ROUTES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("v1", "predict"): "/v1/models/{model_name}:predict",
        ("v2", "infer"): "/v2/models/{model_name}/infer",
        ("web", "/predict"): "/predict",
        ("web", "/api/v1/predict"): "/api/v1/predict",
    }
)
"""What is traced over HTTP, by protocol and endpoint: predictions."""

RPC = "inference.GRPCInferenceService/ModelInfer"
"""What is traced over gRPC."""

_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))
# Statuses of gRPC that are the server's fault, by OpenTelemetry's conventions.
_FAULTS = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)


class RequestSpans:
    """The spans of one request that is recorded. May be called from any thread.

    Times are `time.monotonic()`.

    Args:
        tracer: makes the spans.
        server: the span of the request.
    """

    def __init__(self, tracer: Tracer, server: Span) -> None:
        self._tracer = tracer
        self._server = server
        self._within = set_span_in_context(server)
        self._clock = time.time() - time.monotonic()
        self._read_since: float | None = None
        self._read = {"texts": 0, "words": 0, "windows": 0}

    def ask(self, extractor: Extractor, queries: Sequence[Query]) -> None:
        """Note what is asked, and of what."""
        engine = extractor.engine
        self._server.set_attributes(
            {
                "gliner.texts": len(queries),
                "gliner.labels": max((len(one.labels) for one in queries), default=0),
                "gliner.engine": engine.name,
                "gliner.precision": engine.precision,
            }
        )

    def read(
        self,
        since: float,
        readings: Sequence[Reading],
        *,
        last: bool,
        error: Exception | None = None,
    ) -> None:
        """Add texts that were split into words and windows; show it all after the last."""
        if self._read_since is None:
            self._read_since = since
        self._read["texts"] += len(readings)
        self._read["words"] += sum(len(one.words) for one in readings)
        self._read["windows"] += sum(len(one.slices) for one in readings)
        if last or error:
            counts = {f"gliner.{name}": count for name, count in self._read.items()}
            self._child("read", self._read_since, counts, error=error)

    def queued(self, since: float) -> None:
        """Show the wait that ends now, with the request's first window going into the model."""
        self._child("queue", since)

    def passed(
        self,
        own: Mapping[RequestSpans, int],
        since: float,
        positions: int,
        error: Exception | None = None,
    ) -> None:
        """Show a forward pass that has ended, in the trace of each request in it.

        The span in this request's trace is linked with those in the others'.

        Args:
            own: the requests with a trace, this one first, and how many windows each had in it.
            positions: of all its windows, with padding.
            error: what it failed with.
        """
        counts = {
            "gliner.pass.windows": sum(own.values()),
            "gliner.pass.requests": len(own),
            "gliner.pass.positions": positions,
        }
        shown: list[Span] = []
        for spans, windows in own.items():
            links = [Link(shown[0].get_span_context())] if shown else []
            attributes = {**counts, "gliner.windows": windows}
            shown.append(spans._begin("pass", since, attributes, links))
        first, *others = shown
        for other in others:
            first.add_link(other.get_span_context())
        for span, spans in zip(shown, own, strict=True):
            spans._end(span, error)

    def merged(self, since: float, outcome: Outcome) -> None:
        """Show how spans of the windows became entities."""
        if isinstance(outcome, Exception):
            self._child("merge", since, error=outcome)
        else:
            entities = sum(len(one.entities) for one in outcome)
            self._child("merge", since, {"gliner.entities": entities})

    def end(self, context: RequestContext, status: int | str) -> None:
        """End the request's own span."""
        span = self._server
        if isinstance(status, str):
            span.set_attribute("rpc.response.status_code", status)
        elif status:
            span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
        span.set_attributes({f"gliner.{name}": count for name, count in context.counts.items()})
        if context.model:
            span.set_attribute("gliner.model.version", context.model.version)
        if context.error:
            span.set_attribute(ERROR_TYPE, context.error)
        if status in _FAULTS or (isinstance(status, int) and status >= 500):
            span.set_status(StatusCode.ERROR)
        span.end()

    def _child(
        self,
        name: str,
        since: float,
        attributes: Mapping[str, AttributeValue] | None = None,
        *,
        error: Exception | None = None,
    ) -> None:
        self._end(self._begin(name, since, attributes or {}, ()), error)

    def _begin(
        self,
        name: str,
        since: float,
        attributes: Mapping[str, AttributeValue],
        links: Sequence[Link],
    ) -> Span:
        return self._tracer.start_span(
            name,
            self._within,
            attributes=attributes,
            links=links,
            start_time=self._wall(since),
        )

    def _end(self, span: Span, error: Exception | None) -> None:
        if error:
            # Its kind alone: a message can quote what a caller sent.
            kind = error.kind if isinstance(error, NerError) else type(error).__name__
            span.set_attribute(ERROR_TYPE, kind)
            span.set_status(StatusCode.ERROR)
        span.end(self._wall(time.monotonic()))

    def _wall(self, at: float) -> int:
        return int((self._clock + at) * 1e9)


class RequestTracer:
    """Begins the spans of requests.

    Args:
        tracer: makes them.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def begin(
        self, context: RequestContext, headers: Mapping[str, str], method: str
    ) -> RequestSpans | None:
        """Begin the span of a request and give its context the trace's id.

        Args:
            headers: lower-case.
            method: HTTP's.

        Returns:
            None where it is no prediction, or is not sampled.
        """
        route = ROUTES.get((context.protocol, context.endpoint))
        attributes: dict[str, AttributeValue]
        if context.protocol == "grpc":
            name = RPC
            attributes = {"rpc.system.name": "grpc", "rpc.method": RPC}
        elif route:
            known = method if method in _METHODS else "_OTHER"
            name = f"{'HTTP' if known == '_OTHER' else known} {route}"
            attributes = {HTTP_REQUEST_METHOD: known, HTTP_ROUTE: route, URL_SCHEME: "http"}
        else:
            return None
        span = self._tracer.start_span(
            name, traces.parent(headers), SpanKind.SERVER, attributes=attributes
        )
        context.trace_id = f"{span.get_span_context().trace_id:032x}"
        return RequestSpans(self._tracer, span) if span.is_recording() else None
