"""The guard by itself: what its own code does, whatever application is behind it."""

from __future__ import annotations

import asyncio
import copy
import gc
import weakref
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from predictor.errors import InvalidRequest
from predictor.guard import Guard


class Body:
    """What a refused request has brought."""


@pytest.mark.parametrize("failure", [InvalidRequest("no"), HTTPException(400, "bad")], ids=str)
def test_what_was_refused_is_gone_with_its_answer(failure: Exception) -> None:
    """At once: Python looks for garbage in cycles rarely, and bodies may have 16 MB."""
    kept: list[weakref.ref[Body]] = []
    sent: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = Body()
        kept.append(weakref.ref(body))
        raise copy.copy(failure)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> bool:
        guard = Guard(app, max_body_bytes=100, timeout_seconds=60, draining=lambda: False)
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        gc.collect()
        gc.disable()
        try:
            await guard(scope, receive, send)
            return kept[0]() is None
        finally:
            gc.enable()

    assert asyncio.run(ask())
    assert sent[0]["status"] == 400
