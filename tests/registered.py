"""Bundles in a real MLflow registry, laid out as the register step lays them out."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.settings import Settings


def client(settings: Settings) -> MlflowClient:
    """MLflow's own client for the server that `settings` leads to."""
    from mlflow import MlflowClient

    return MlflowClient(settings.tracking_uri, settings.tracking_uri)


def register(settings: Settings, folder: Path, digest: str | None = None) -> int:
    """Register a bundle as the next version, whether or not another has the same files.

    Args:
        settings: which registry, and which model in it.
        folder: the bundle.
        digest: what its tag `bundle_digest` says; None takes the true one, an empty string
            sets no tag.

    Returns:
        The version's number.
    """
    from predictor import bundle

    mlflow = client(settings)
    if not mlflow.search_registered_models(f"name = '{settings.model_name}'"):
        mlflow.create_registered_model(settings.model_name)
    found = mlflow.get_experiment_by_name(settings.experiment)
    experiment = found.experiment_id if found else mlflow.create_experiment(settings.experiment)
    model = mlflow.create_logged_model(experiment, name="gliner")
    with TemporaryDirectory() as temporary:
        shutil.copytree(folder, Path(temporary) / "artifacts" / "bundle")
        # What a pyfunc has beside it, which no predictor needs.
        (Path(temporary) / "python_model.pkl").write_bytes(b"none of a predictor's business")
        mlflow.log_model_artifacts(model.model_id, temporary)
    mlflow.finalize_logged_model(model.model_id, "READY")
    digest = bundle.digest(folder) if digest is None else digest
    version = mlflow.create_model_version(
        settings.model_name,
        source=f"models:/{model.model_id}",
        model_id=model.model_id,
        tags={"bundle_digest": digest} if digest else {},
    )
    return int(version.version)


def point(settings: Settings, number: int, alias: str = "champion") -> None:
    """Move an alias to a version."""
    client(settings).set_registered_model_alias(settings.model_name, alias, str(number))
