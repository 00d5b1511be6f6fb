"""Spans on their way to a collector, over OTLP as HTTP.

The provider is nobody else's: were it OpenTelemetry's global one, FastAPI would add spans of its
own, with addresses in them, and log records with the texts of exceptions.
"""

from __future__ import annotations

import logging
import platform
import re
import threading
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from predictor import __version__

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
_B3_TRACE = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}")
_B3_SPAN = re.compile(r"[0-9a-f]{16}")
_W3C = TraceContextTextMapPropagator()


class Traces:
    """Exports spans in batches, on a thread of its own: whoever makes one never waits.

    Sampling, headers, batches and limits are OpenTelemetry's variables (`OTEL_…`).

    Args:
        service: the service's name where `OTEL_SERVICE_NAME` has none.
        tell: told when spans no longer reach the collector (False) and when they do again (True);
            called once for each change.
        ids: makes trace and span ids.

    Attributes:
        tracer: makes spans.
        provider: OpenTelemetry's, for its sampler.
    """

    def __init__(
        self, service: str, tell: Callable[[bool], None], ids: IdGenerator | None = None
    ) -> None:
        # What the environment says of it comes first; OpenTelemetry's own name would be
        # `unknown_service`. A pod's host name is its own.
        ours = Resource(
            {
                SERVICE_NAME: service,
                SERVICE_VERSION: __version__,
                SERVICE_INSTANCE_ID: platform.node(),
            }
        )
        theirs = OTELResourceDetector().detect()
        resource = Resource.create().merge(ours).merge(theirs)
        self.provider = TracerProvider(resource=resource, id_generator=ids, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(_Told(OTLPSpanExporter(), tell)))
        self.tracer: Tracer = self.provider.get_tracer("gliner-kserve", __version__)
        # What is wrong with a variable has been said by now. From here on it would warn of each
        # try to export, of each span for which there is no room, and of a caller's headers.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def stop(self, seconds: float) -> bool:
        """Export what is left, for so long at most.

        Returns:
            Whether the collector was done with it in time.
        """
        # It would wait for a collector that is silent, half a minute.
        last = threading.Thread(target=self.provider.shutdown, daemon=True)
        last.start()
        last.join(seconds)
        return not last.is_alive()


class _Told(SpanExporter):
    """An exporter whose owner hears when it begins and ceases to fail."""

    def __init__(self, exporter: SpanExporter, tell: Callable[[bool], None]) -> None:
        self._exporter = exporter
        self._tell = tell
        self._well = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        well = result is SpanExportResult.SUCCESS
        if well != self._well:
            self._well = well
            self._tell(well)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def parent(headers: Mapping[str, str]) -> Context:
    """The caller's span out of (lower-case) headers, W3C's or else Zipkin's; an empty context
    where there is none."""
    found = _W3C.extract(headers, Context())
    if get_current_span(found).get_span_context().is_valid:
        return found
    trace, span = headers.get("x-b3-traceid", ""), headers.get("x-b3-spanid", "")
    if not (_B3_TRACE.fullmatch(trace) and _B3_SPAN.fullmatch(span)):
        return Context()
    declined = headers.get("x-b3-sampled", "").lower() in ("0", "false")
    return remote(int(trace, 16), int(span, 16), UNSAMPLED if declined else SAMPLED)


def remote(trace_id: int, span_id: int, flags: TraceFlags) -> Context:
    """A context with another process's span."""
    there = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(there), Context())
