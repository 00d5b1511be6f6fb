"""Our HTTP routes beside KServe's: the page, plain web endpoints and the docs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from kserve.protocol.dataplane import DataPlane
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from predictor import __version__, forms, openapi
from predictor.cloudevents import media_type
from predictor.errors import InvalidRequest, MethodNotAllowed, NoVersions
from predictor.following import Follower
from predictor.guard import Guard, reraise
from predictor.json_body import check_content_type, load_json
from predictor.keys import Keys
from predictor.model import GlinerModel
from predictor.predictions import Predictions
from predictor.presets import Preset
from predictor.settings import Settings

PAGE = Path(__file__).with_name("page")
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI and ReDoc come with a script in the page, and ReDoc works in a worker.
_DOCS_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
)
_ASSETS = "/api/assets"
_WEB_FIELDS = ("text", "labels", "threshold", "thresholds", "flat_ner", "multi_label")


@dataclass(frozen=True, slots=True)
class Site:
    """What the routes show of the server."""

    settings: Settings
    presets: Mapping[str, Preset]
    model: GlinerModel
    follower: Follower | None = None
    """Changes the model where its source moves."""
    keys: Keys | None = None
    """Who may ask; None lets everybody."""

    def install(self, app: FastAPI, dataplane: DataPlane) -> None:
        """Add routes, error handlers and the guard to KServe's application."""
        app.title, app.version = "gliner-kserve", __version__
        app.add_middleware(Predictions, dataplane=dataplane)
        app.add_middleware(
            Guard,
            max_body_bytes=self.settings.max_body_bytes,
            timeout_seconds=self.settings.request_timeout_seconds,
            draining=lambda: self.model.draining,
            keys=self.keys,
        )
        # FastAPI has a form of its own for these two; the guard gives them ours.
        app.add_exception_handler(HTTPException, reraise)
        app.add_exception_handler(RequestValidationError, reraise)
        _install_refusals(app)
        self._install_page(app)
        self._install_web(app)
        _install_docs(app, keyed=self.keys is not None)

    def _install_page(self, app: FastAPI) -> None:
        @app.get("/", include_in_schema=False)
        async def page(request: Request) -> Response:
            # KServe's clients and probes ask here whether the server lives.
            if "text/html" not in request.headers.get("accept", ""):
                return JSONResponse({"status": "alive"})
            return FileResponse(
                PAGE / "index.html",
                headers={"content-security-policy": _PAGE_POLICY, "cache-control": "no-cache"},
            )

        app.mount("/page", _Fresh(directory=PAGE), name="page")

        @app.get("/api/v1/config", tags=["web"])
        async def config() -> dict[str, Any]:
            """The model, what it follows, defaults, limits and presets."""
            return {
                "model": self.model.facts,
                "following": asdict(self.follower.status) if self.follower else None,
                "defaults": {
                    "threshold": self.settings.threshold,
                    "flat_ner": self.settings.flat_ner,
                    "multi_label": self.settings.multi_label,
                },
                "limits": {
                    "max_text_chars": self.settings.max_text_chars,
                    "max_labels": self.settings.max_labels,
                    "max_instances": self.settings.max_instances,
                },
                "presets": {name: preset.model_dump() for name, preset in self.presets.items()},
            }

    def _install_web(self, app: FastAPI) -> None:
        @app.post("/predict", tags=["web"])
        async def predict(request: Request) -> dict[str, Any]:
            """Entities of one text, grouped by label."""
            found = await self._ask(await _fields(request))
            grouped: dict[str, list[dict[str, Any]]] = {}
            for entity in found["entities"]:
                grouped.setdefault(entity.pop("label"), []).append(entity)
            return {"entities": grouped}

        @app.post("/api/v1/predict", tags=["web"])
        async def api_predict(request: Request) -> dict[str, Any]:
            """Entities of one text and the seconds it took."""
            started = time.monotonic()
            fields = await _fields(request)
            if "entity_type" in fields:
                if "labels" in fields:
                    raise InvalidRequest("send this or labels, not both", field="entity_type")
                fields["labels"] = fields.pop("entity_type")
            found = await self._ask(fields)
            return {
                "entities": found["entities"],
                "processing_time": round(time.monotonic() - started, 4),
            }

    async def _ask(self, fields: dict[str, Any]) -> dict[str, Any]:
        for name in fields:
            if name not in _WEB_FIELDS:
                raise InvalidRequest(
                    f"unknown field; the fields here are {', '.join(_WEB_FIELDS)}", field=name
                )
        labels = fields.get("labels")
        if isinstance(labels, str) and labels not in self.presets:
            fields = {**fields, "labels": [one.strip() for one in labels.split(",")]}
        try:
            answer, _ = await self.model({"instances": [fields]})
        except InvalidRequest as error:
            raise error.without_index() from None
        prediction: dict[str, Any] = answer["predictions"][0]
        return prediction


class _Fresh(StaticFiles):
    """Files that a browser asks about each time: after an upgrade no old part is left."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        answer = super().file_response(*args, **kwargs)
        answer.headers["cache-control"] = "no-cache"
        return answer


async def _fields(request: Request) -> dict[str, Any]:
    """The fields of a form or of a JSON object."""
    kind = media_type(request.headers)
    body = await request.body()
    if kind in forms.TYPES:
        return forms.read(body, request.headers["content-type"])
    check_content_type(kind)
    fields = load_json(body)
    if not isinstance(fields, dict):
        raise InvalidRequest('the body must be a JSON object with "text"')
    return fields


def _install_refusals(app: FastAPI) -> None:
    @app.get("/v1/models/{model_name}:{verb}", include_in_schema=False)
    async def verb() -> None:
        # KServe would take the verb for a part of the model's name and answer 404.
        raise MethodNotAllowed("POST")

    @app.post("/v2/models/{model_name}/versions/{version}/infer", include_in_schema=False)
    async def infer_version() -> None:
        # KServe would first read the body, with all that `infer_body` keeps out.
        raise NoVersions


def _install_docs(app: FastAPI, *, keyed: bool) -> None:
    app.openapi = lambda: openapi.document(app, keyed=keyed)  # type: ignore[method-assign]
    assets = Path(str(files("fastapi_offline") / "static"))
    redoc_script = (assets / "redoc.standalone.js").read_text("utf-8")
    # ReDoc would show a logo from its makers' host, Swagger a badge from a validator's.
    redoc_script = redoc_script.replace("https://cdn.redoc.ly/redoc/logo-mini.svg", "data:,")

    @app.get(f"{_ASSETS}/redoc.standalone.js", include_in_schema=False)
    async def script() -> Response:
        return Response(redoc_script, media_type="text/javascript")

    app.mount(_ASSETS, StaticFiles(directory=assets))
    options: dict[str, Any] = {"openapi_url": "/api/openapi.json", "title": "gliner-kserve"}

    @app.get("/api/openapi.json", include_in_schema=False)
    async def schema() -> dict[str, Any]:
        return app.openapi()

    @app.get("/api/docs", include_in_schema=False)
    async def swagger() -> HTMLResponse:
        return _documented(
            get_swagger_ui_html(
                **options,
                swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
                swagger_css_url=f"{_ASSETS}/swagger-ui.css",
                swagger_favicon_url="data:,",
                swagger_ui_parameters={"validatorUrl": None},
            )
        )

    @app.get("/api/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        return _documented(
            get_redoc_html(
                **options,
                redoc_js_url=f"{_ASSETS}/redoc.standalone.js",
                redoc_favicon_url="data:,",
                with_google_fonts=False,
            )
        )


def _documented(page: HTMLResponse) -> HTMLResponse:
    page.headers["content-security-policy"] = _DOCS_POLICY
    return page
