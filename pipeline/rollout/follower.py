"""The predictor that serves on this machine, and follows the alias `champion`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from pipeline.errors import PipelineError, Unavailable
from pipeline.registry.versions import CHAMPION
from pipeline.settings import Settings

WAIT_SECONDS = 3600
"""How long the predictor of `command` waits for the first champion."""
_HTTP_PORT = 8080


class Follower:
    """What it says of itself, and how it is started.

    Attributes:
        url: its address, without a slash at the end.
        headers: what a request to it carries.
        source: what it has to follow.
        seen: whether it has answered since this object was made.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.url = settings.predictor_url.rstrip("/")
        self.headers = settings.caller_headers(settings.predictor_host)
        self.source = f"models:/{settings.model_name}@{CHAMPION}"
        self.seen = False

    @property
    def command(self) -> str:
        """A line for a shell that starts it, also before there is a champion."""
        variables = {
            "MLFLOW_TRACKING_URI": self._settings.tracking_uri,
            "GLINER_WAIT_SECONDS": str(WAIT_SECONDS),
        }
        port = urlsplit(self.url).port
        own = [] if port in (None, _HTTP_PORT) else ["--http_port", str(port)]
        return " ".join(
            [
                *(f"{name}={shlex.quote(value)}" for name, value in variables.items()),
                shlex.join([sys.executable, "-m", "predictor", "--model", self.source, *own]),
            ]
        )

    @property
    def missing(self) -> str:
        """That nothing answers, and what to do."""
        return (
            f"no predictor answers at {self.url}; start one with `{self.command}`, or set "
            "PIPELINE_PREDICTOR_URL"
        )

    def check(self) -> None:
        """Make sure that it can be moved.

        Raises:
            Unavailable: nothing answers.
            PipelineError: what answers is not our predictor, or does not follow the alias.
        """
        config = self.config()
        if config is None:
            raise Unavailable(self.missing)
        self.following(config)

    def config(self) -> dict[str, Any] | None:
        """Its `/api/v1/config`; None when nothing answers.

        Raises:
            PipelineError: what answers is not our predictor.
        """
        try:
            answer = httpx.get(
                f"{self.url}/api/v1/config",
                headers=self.headers,
                timeout=self._settings.http_timeout_seconds,
                trust_env=False,
            )
        except httpx.HTTPError:
            return None
        try:
            config: dict[str, Any] = answer.raise_for_status().json()
            _ = config["model"]["digest"]
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            raise PipelineError(
                f"{self.url} is not our predictor ({type(error).__name__} at /api/v1/config); "
                "set PIPELINE_PREDICTOR_URL"
            ) from error
        self.seen = True
        return config

    def following(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """How far it is with the alias, by what it said of itself.

        Raises:
            PipelineError: it follows something else.
        """
        following: Mapping[str, Any] = config.get("following") or {}
        source = following.get("source") or "nothing"
        if source != self.source:
            raise PipelineError(
                f"the predictor at {self.url} follows {source} and not {self.source}; stop it and "
                f"start `{self.command}`"
            )
        return following

    def name(self) -> str:
        """The model's name in addresses."""
        config = self.config()
        return str(config["model"].get("name", "gliner")) if config else "gliner"
