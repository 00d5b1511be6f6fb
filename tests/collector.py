"""A collector of traces: takes OTLP over HTTP as OpenTelemetry's protocol has it, and keeps spans.

What a real one would refuse it refuses, and writes down.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import http_server
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire

KINDS = {Wire.SPAN_KIND_INTERNAL: "internal", Wire.SPAN_KIND_SERVER: "server"}


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it came. Ids are hex, times seconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    kind: str
    begun: float
    ended: float
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    failed: bool
    resource: Mapping[str, Any]


@dataclass
class Collector:
    """What came.

    Attributes:
        bodies: each request, as text of all that is in it.
        headers: of each request, names in lower case.
        wrong: what is not OTLP, in words.
        status: what it answers.
    """

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    status: int = 200
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def env(self) -> dict[str, str]:
        """Variables that send spans here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def of(self, trace: str) -> dict[str, Span]:
        """A trace's spans by name; each name must be there once."""
        with self.lock:
            found = [one for one in self.spans if one.trace == trace]
        assert len({one.name for one in found}) == len(found), [one.name for one in found]
        return {one.name: one for one in found}

    def all(self, name: str) -> list[Span]:
        """All spans of a name."""
        with self.lock:
            return [one for one in self.spans if one.name == name]

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Take one export."""
        if path != "/v1/traces":
            self.wrong.append(f"path {path}")
        if headers.get("content-type") != "application/x-protobuf":
            self.wrong.append(f"content type {headers.get('content-type')}")
        content = gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body
        request = ExportTraceServiceRequest.FromString(content)
        self.headers.append(dict(headers))
        self.bodies.append(str(MessageToDict(request)))
        for group in request.resource_spans:
            resource = attributes(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans.extend(self._read(one, resource) for one in scope.spans)

    def _read(self, one: Wire, resource: Mapping[str, Any]) -> Span:
        ids = (len(one.trace_id), len(one.span_id), len(one.parent_span_id))
        if ids not in ((16, 8, 8), (16, 8, 0)) or not any(one.trace_id) or not any(one.span_id):
            self.wrong.append(f"{one.name}: ids of {ids} bytes")
        if not one.name or not 0 < one.start_time_unix_nano <= one.end_time_unix_nano:
            self.wrong.append(f"{one.name!r} from {one.start_time_unix_nano} ns on")
        return Span(
            one.name,
            one.trace_id.hex(),
            one.span_id.hex(),
            one.parent_span_id.hex(),
            KINDS.get(one.kind, "another"),
            one.start_time_unix_nano / 1e9,
            one.end_time_unix_nano / 1e9,
            attributes(one.attributes),
            tuple((link.trace_id.hex(), link.span_id.hex()) for link in one.links),
            one.status.code == one.status.STATUS_CODE_ERROR,
            resource,
        )


def attributes(pairs: Any) -> dict[str, Any]:
    """Plain values."""

    def plain(one: KeyValue) -> Any:
        return getattr(one.value, str(one.value.WhichOneof("value")))

    return {one.key: plain(one) for one in pairs}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect on this machine, for as long as it is open."""
    collector = Collector()

    class Handler(http_server.Handler):
        def serve(self) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            body = self.body()
            with collector.lock:
                collector.take(self.path, headers, body)
            content = ExportTraceServiceResponse().SerializeToString()
            self.send_response_only(collector.status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with http_server.serving(Handler) as collector.url:
        yield collector
