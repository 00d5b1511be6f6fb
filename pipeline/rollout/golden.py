"""Golden requests through a route: does what answers there give what its bundle recorded?"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from botocore.exceptions import BotoCoreError, ClientError
from mlflow import artifacts
from mlflow.exceptions import MlflowException
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_random_exponential

from pipeline.errors import RolloutFailed, Unavailable
from pipeline.registry import Registry, Version
from pipeline.rollout import Route
from pipeline.rollout.probes import Answer, Caller, Instance, check_digest
from predictor import golden
from predictor.errors import BundleError
from predictor.extraction import Entity, Extraction, Extractor, Query

_PATIENCE_SECONDS = 20.0
_LATER = (0, 429, 502, 503, 504)
"""Answers that say nothing of the model: no connection, too much load, a route on its way."""
_MISSING = re.compile(r"\b404\b|NoSuchKey|RESOURCE_DOES_NOT_EXIST|No such (file|artifact)")


@dataclass(frozen=True, slots=True)
class Golden:
    """What a version must answer, as its bundle's `golden.json` has it."""

    text: str

    @classmethod
    def fetch(cls, registry: Registry, version: Version) -> Golden:
        """Download that one file of the version's bundle.

        Raises:
            RolloutFailed: the bundle has none, or it holds no golden requests.
            Unavailable: the store does not answer.
        """
        uri = f"{registry.bundle_uri(version)}{golden.FILE}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = artifacts.download_artifacts(
                    uri, dst_path=folder, tracking_uri=registry.settings.tracking_uri
                )
                found = cls(Path(file).read_text(encoding="utf-8"))
            except (MlflowException, BotoCoreError, ClientError, OSError) as error:
                first = str(error).strip().splitlines()[0][:300]
                if _is_missing(error):
                    raise RolloutFailed(
                        f"version {version.number} has no {golden.FILE} in its bundle ({first})"
                    ) from error
                raise Unavailable(f"{uri} cannot be read: {first}") from error
        try:
            found.instances()
        except (ValueError, KeyError, TypeError) as error:
            raise RolloutFailed(
                f"version {version.number}: {golden.FILE} holds no golden requests: "
                f"{type(error).__name__}"
            ) from error
        return found

    def instances(self) -> list[Instance]:
        """The requests, as V1 takes them."""
        rows = json.loads(self.text)["requests"]
        found = [_instance(row["text"], list(row["labels"])) for row in rows]
        if not found:
            raise ValueError("empty")
        return found

    def check(self, route: Route, digest: str, timeout_seconds: float) -> int:
        """Send the golden requests along a route and compare the answers.

        Returns:
            How many there were.

        Raises:
            RolloutFailed: an answer failed, differs, or came from another version.
        """
        caller = Caller(route, timeout_seconds)
        try:
            remote = _Remote(caller, digest)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / golden.FILE
                file.write_text(self.text, encoding="utf-8")
                try:
                    return golden.check(cast(Extractor, remote), file)
                except BundleError as error:
                    # What follows is advice to whoever starts a predictor.
                    reason = str(error).removeprefix(f"{file}: ").partition("; a library")[0]
                    raise RolloutFailed(f"golden {reason}") from error
        finally:
            caller.close()


DEFAULT = Golden(
    json.dumps({"requests": [{"text": text, "labels": one} for text, one in golden.REQUESTS]})
)
"""Requests to probe with where no answers are compared."""


class _Remote:
    """As much of an `Extractor` as `predictor.golden` asks for, at the other end of a route."""

    def __init__(self, caller: Caller, digest: str) -> None:
        self._caller = caller
        self._digest = digest
        facts = self._asked(caller.config, "/api/v1/config")
        try:
            precision = str(facts["model"]["precision"])
        except (KeyError, TypeError):
            raise RolloutFailed("/api/v1/config does not name the model's precision") from None
        if precision not in golden.TOLERANCE:
            raise RolloutFailed(f"no golden tolerance is known for precision {precision!r}")
        self.engine = SimpleNamespace(precision=precision)

    def extract(self, queries: Sequence[Query]) -> list[Extraction]:
        return [self._extract(index, query) for index, query in enumerate(queries)]

    def _extract(self, index: int, query: Query) -> Extraction:
        instance = _instance(query.text, [one.name for one in query.labels])
        body = self._asked(lambda: self._caller.predict(instance), f"golden request {index}")
        try:
            [prediction] = body["predictions"]
            entities = tuple(
                Entity(**{key: row[key] for key in ("text", "label", "start", "end", "score")})
                for row in prediction["entities"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RolloutFailed(f"golden request {index}: not a V1 answer") from error
        return Extraction(entities, words=0, windows=1)

    def _asked(self, ask: Any, what: str) -> Any:
        """The body of a successful answer, however often one must ask for it."""
        tries = Retrying(
            retry=retry_if_result(lambda one: one.status in _LATER),
            stop=stop_after_delay(_PATIENCE_SECONDS),
            wait=wait_random_exponential(multiplier=0.2, max=3),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        answer: Answer = tries(ask)
        if answer.status != 200:
            raise RolloutFailed(f"{what}: {answer.detail or 'no answer'}")
        if what != "/api/v1/config":
            check_digest(answer, self._digest)
        return answer.body


def _instance(text: str, labels: list[str]) -> Instance:
    """A request whose answer no server's defaults can change."""
    return {
        "text": text,
        "labels": labels,
        "threshold": 0.5,
        "flat_ner": True,
        "multi_label": False,
    }


def _is_missing(error: Exception) -> bool:
    # What S3 says comes wrapped into MLflow's words, as text.
    return isinstance(error, FileNotFoundError) or bool(_MISSING.search(str(error)))
