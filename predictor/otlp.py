"""Where traces go: OpenTelemetry's own variables, read without OpenTelemetry.

Whoever exports no traces imports none of it.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from predictor.errors import StartupError

PROTOCOL = "http/protobuf"


def endpoint() -> str | None:
    """The address that `OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT` names.

    Returns:
        None where it is not set, or traces are switched off by `OTEL_SDK_DISABLED=true` or
        `OTEL_TRACES_EXPORTER=none`.

    Raises:
        StartupError: it is no address, or a variable asks for another exporter or protocol.
    """
    name, address = _first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if not address or disabled or exporter == "none":
        return None
    if exporter != "otlp":
        raise StartupError(f"OTEL_TRACES_EXPORTER={exporter!r}: must be otlp or none")
    asked, protocol = _first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in ("", PROTOCOL):
        raise StartupError(
            f"{asked}={protocol!r}: must be {PROTOCOL}, which collectors take at port 4318"
        )
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise StartupError(f"{name}={address!r}: must be an address like http://collector:4318")
    return address


def _first(*names: str) -> tuple[str, str]:
    """The first variable that is set, with its value; the last with nothing where none is."""
    for name in names:
        if value := os.environ.get(name, "").strip():
            return name, value
    return names[-1], ""
