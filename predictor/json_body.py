"""JSON bodies: strict UTF-8, bounded depth, no NaN."""

from __future__ import annotations

from typing import Any

import orjson

from predictor.errors import InvalidRequest, quote


def load_json(body: bytes) -> Any:
    """Parse a body.

    Raises:
        InvalidRequest: it is not JSON in UTF-8, nests too deep, or holds NaN.
    """
    if not body.strip():
        raise InvalidRequest("the body is empty; send a JSON object")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from None


def check_content_type(given: str) -> None:
    """Make sure that a body claims to be JSON; with any parameters, or without a claim.

    Raises:
        InvalidRequest: it claims to be something else.
    """
    kind = given.partition(";")[0].strip().lower()
    if kind and not kind.endswith(("/json", "+json")) and kind != "application/octet-stream":
        raise InvalidRequest(
            f"the content type must be application/json, got {quote(kind)}; with curl add "
            "-H 'Content-Type: application/json'"
        )
