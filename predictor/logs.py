"""Logs: one JSON object a line, and never a word of a user's.

Exception texts and formatted arguments of other people's libraries can quote what a caller
sent, so their records are reduced to the message template, the exception's type and where
it was raised.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from typing import Any

import orjson

from predictor.context import RequestContext, current

OURS = "predictor"
_FOREIGN_LEVEL = logging.WARNING


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON: time (UTC), level, logger, message, request and its fields."""
        ours = record.name == OURS or record.name.startswith(f"{OURS}.")
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage() if ours else str(record.msg).split("\n")[0],
        }
        context = current()
        if context.request_id:
            line["request_id"] = context.request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
            line["at"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(record.exc_info[2])[-8:]
            ]
        return orjson.dumps(line).decode()

    @staticmethod
    def converter(seconds: float | None) -> Any:
        """Times are UTC."""
        return time.gmtime(seconds)


def configure(level: str) -> None:
    """Send every logger of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=_FOREIGN_LEVEL, handlers=[handler], force=True)
    logging.getLogger(OURS).setLevel(level)
    # KServe configures these itself unless they have a handler. Its errors repeat, with
    # the text of the exception, what our own line about the request says without it. The form
    # parser quotes what a caller sent.
    for name in ("kserve", "kserve.trace", "python_multipart"):
        foreign = logging.getLogger(name)
        foreign.handlers = [handler]
        foreign.propagate = False
        foreign.setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.access").disabled = True
    # Warns of every try to reach a registry that is down; we log that once.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # Advice for programmers, some of it with the data that gave rise to it.
    warnings.simplefilter("ignore")


def log_request(context: RequestContext, status: int | str, seconds: float) -> None:
    """The one line that each request leaves."""
    fields: dict[str, Any] = {
        "request_id": context.request_id,
        "protocol": context.protocol,
        "endpoint": context.endpoint,
        "status": status,
        "ms": round(seconds * 1000, 2),
        **context.counts,
    }
    if context.model:
        fields["model_version"] = context.model.version
    if context.caller:
        fields["caller"] = context.caller
    if context.trace_id:
        fields["trace_id"] = context.trace_id
    if context.error:
        fields["error"] = context.error
    level = logging.DEBUG if context.protocol == "ops" and not context.error else logging.INFO
    logging.getLogger(OURS).log(level, "request", extra={"fields": fields})


def log_failure(error: BaseException) -> None:
    """Log where our code or a library broke: frames and the type, not the text."""
    logging.getLogger(OURS).error(
        "request failed", exc_info=(type(error), error, error.__traceback__)
    )
