"""A model from any source: what `predictor.bundle` knows, and versions of the registry."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import PipelineError, SettingsError
from pipeline.registry import Registry
from pipeline.settings import Settings
from predictor import bundle
from predictor.bundle import Bundle
from predictor.errors import StartupError

_VERSION = re.compile(r"^models:/(?P<name>[^/@]+)(/(?P<number>\d+)|@(?P<alias>[\w-]+))$")


def fetch(source: str, folder: Path, settings: Settings) -> Bundle:
    """Find a model; what is in a registry is downloaded into `folder`.

    Args:
        source: `embedded`, a folder, a hub id, `models:/NAME/3` or `models:/NAME@champion`.

    Raises:
        SettingsError: no such source.
        PipelineError: there is one, and it holds no model that can be used.
        Unavailable: MLflow or the store does not answer.
    """
    if source.startswith("models:/"):
        folder = _download(source, folder, settings)
        source = str(folder)
    try:
        return bundle.locate(source)
    except StartupError as error:
        raise PipelineError(str(error)) from error


def _download(source: str, folder: Path, settings: Settings) -> Path:
    match = _VERSION.match(source)
    if match is None:
        raise SettingsError(
            f"{source}: a version of the registry is models:/NAME/NUMBER or models:/NAME@ALIAS"
        )
    registry = Registry(settings.model_copy(update={"model_name": match["name"]}))
    version = (
        registry.version(int(match["number"]))
        if match["number"]
        else registry.aliased(match["alias"])
    )
    if version is None:
        raise SettingsError(f"{source}: MLflow at {settings.tracking_uri} has no such version")
    return registry.download(version, folder)
