"""Logs hold what operators need, and not a word of a caller's."""

from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest

from predictor import logs
from predictor.context import RequestContext

SECRET = "Rosebud"


def written(record_with: Any, name: str) -> dict[str, Any]:
    """The line that a call on a logger of that name leaves."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.Logger(name)
    logger.addHandler(handler)
    record_with(logger)
    [line] = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def fail(logger: logging.Logger) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        logger.exception("could not read %s", SECRET)


def test_foreign_records_lose_their_values() -> None:
    """A library's record keeps its template, the exception's type and the place."""
    line = written(fail, "some.library")

    assert SECRET not in json.dumps(line)
    assert (line["message"], line["exception"]) == ("could not read %s", "ValueError")
    assert line["at"][-1].endswith(" fail")


def test_our_failures_lose_the_text_of_the_exception() -> None:
    """Our own line about a failure says where and what kind, not what it said."""
    line = written(
        lambda logger: logger.error("request failed", exc_info=ValueError(SECRET)), logs.OURS
    )

    assert SECRET not in json.dumps(line)
    assert line["exception"] == "ValueError"


def test_request_line(caplog: pytest.LogCaptureFixture) -> None:
    """One line a request: ids, route, status, milliseconds and counts."""
    context = RequestContext("abc", trace_id="t" * 32, protocol="v1", endpoint="predict")
    context.counts.update(texts=2, words=9)
    with caplog.at_level(logging.INFO, logs.OURS):
        logs.log_request(context, 200, 0.0123)

    fields = caplog.records[0].fields  # type: ignore[attr-defined]
    assert fields == {
        "request_id": "abc",
        "protocol": "v1",
        "endpoint": "predict",
        "status": 200,
        "ms": 12.3,
        "texts": 2,
        "words": 9,
        "trace_id": "t" * 32,
    }
