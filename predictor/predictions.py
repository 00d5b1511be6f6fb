"""Predictions over V1 and V2, from their addresses to the data plane and back."""

from __future__ import annotations

import re

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from starlette.types import ASGIApp, Receive, Scope, Send

from predictor import infer_body


class Predictions:
    """ASGI middleware that answers predictions, and passes all else on.

    FastAPI would take them through five layers, hold each against twenty patterns and look for
    dependencies: a sixth of the time that the event loop has for one over V2.

    Args:
        app: answers all else.
        dataplane: what has the model.
    """

    def __init__(self, app: ASGIApp, dataplane: DataPlane) -> None:
        self._app = app
        self._dataplane = dataplane
        self._answers = (
            (re.compile(r"/v1/models/([^/]+):predict"), V1Endpoints(dataplane).predict),
            (re.compile(r"/v2/models/([^/]+)/infer"), self._infer),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for address, answer in self._answers:
                if found := address.fullmatch(scope["path"]):
                    response = await answer(found[1], Request(scope, receive, send))
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _infer(self, name: str, request: Request) -> Response:
        # KServe's own function has pydantic coerce types and drop unknown fields.
        await self._dataplane.model_ready(name, True)
        headers = dict(request.headers)
        payload = infer_body.read(await request.body(), headers, name)
        answer, _ = await self._dataplane.infer(name, payload, headers)
        content, json_length = answer.to_rest()
        if json_length is None:
            return JSONResponse(content)
        return Response(
            content,
            media_type="application/octet-stream",
            headers={infer_body.LENGTH_HEADER: str(json_length)},
        )
