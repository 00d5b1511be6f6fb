"""MLflow's model registry as a source: `models:/NAME@ALIAS` and `models:/NAME/VERSION`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from predictor.errors import BundleError, Missing, Unavailable

SCHEME = "models:/"
BUNDLE = "bundle"
"""The folder below a logged model's `artifacts` that holds the bundle."""

_SOURCE = re.compile(
    r"models:/(?P<name>[^/:]+)(?:@(?P<alias>[^/:@]+)|/(?P<number>[1-9][0-9]{0,9}))"
)
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's codes for a missing model or version, and for a missing alias."""
_PASSWORD = re.compile(r"//[^/@\s]+@")
_RETRIES = 2
_SECONDS = 20
"""MLflow's own defaults would let one question take many minutes."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a source names: a model, and a version of it by an alias or by its number."""

    name: str
    alias: str = ""
    number: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}" + (f"@{self.alias}" if self.alias else f"/{self.number}")


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version.

    Attributes:
        number: from 1, as text.
        files: what MLflow registered as its files; never the same for two versions.
        digest: the tag `bundle_digest`, where it is set.
    """

    name: str
    number: str
    files: str
    digest: str = field(default="", compare=False)


def parse(source: str) -> Source:
    """Take a source apart.

    Raises:
        BundleError: it has another form.
    """
    match = _SOURCE.fullmatch(source)
    if not match:
        raise BundleError(
            f"{source}: not a version in the registry; write models:/NAME@ALIAS or "
            "models:/NAME/NUMBER"
        )
    return Source(**{key: value for key, value in match.groupdict().items() if value})


class Registry:
    """Reads the registry that `MLFLOW_TRACKING_URI` leads to. Safe to use from any thread.

    Every method raises `Missing` for what the registry does not know, and `Unavailable` when
    it or its file store does not answer, after a few tries.

    Raises:
        BundleError: `MLFLOW_TRACKING_URI` is not set, or leads to nothing that can be read.
    """

    def __init__(self) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(_RETRIES))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_SECONDS))
        import mlflow
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        if not mlflow.is_tracking_uri_set():  # type: ignore[no-untyped-call]
            raise BundleError(
                "a model of the registry needs MLFLOW_TRACKING_URI, such as http://mlflow:5000"
            )
        self._where = _safe(mlflow.get_tracking_uri())
        try:
            self._client = MlflowClient()
        except MlflowException as error:
            raise BundleError(f"MLFLOW_TRACKING_URI={self._where}: {_safe(error)}") from error

    def find(self, source: Source) -> Version:
        """The version that a source names just now."""
        with self._asking(f"{source}: "):
            found = (
                self._client.get_model_version_by_alias(source.name, source.alias)
                if source.alias
                else self._client.get_model_version(source.name, source.number)
            )
        return Version(
            source.name,
            str(found.version),
            f"{found.source} {found.creation_timestamp}",
            found.tags.get("bundle_digest", ""),
        )

    def download(self, version: Version, out: Path) -> None:
        """Download the bundle of a version, or all its files where it has no such folder."""
        from mlflow import artifacts

        what = f"version {version.number} of {version.name}: "
        with self._asking(what):
            root = self._client.get_model_version_download_uri(version.name, version.number)
        below = f"{root.rstrip('/')}/artifacts"
        try:
            listed = artifacts.list_artifacts(artifact_uri=below)
            inside = any(PurePosixPath(one.path).name == BUNDLE and one.is_dir for one in listed)
            artifacts.download_artifacts(
                artifact_uri=f"{below}/{BUNDLE}" if inside else root, dst_path=str(out)
            )
        except Exception as error:  # MLflow, boto3 and the disk raise all sorts
            raise Unavailable(f"{what}its files cannot be had: {_safe(error)}") from error

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, ValueError) as error:
            if getattr(error, "error_code", "") in _MISSING:
                raise Missing(f"{what}MLflow at {self._where}: {_safe(error)}") from error
            raise Unavailable(
                f"{what}MLflow at {self._where} does not answer: {_safe(error)}"
            ) from error


def _safe(error: object) -> str:
    """The first line of a text, without a password that an address in it may have."""
    first = _PASSWORD.sub("//", str(error)).strip().partition("\n")[0]
    return first[:300] or type(error).__name__
