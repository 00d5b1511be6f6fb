"""A bundle as a model that MLflow can load, uploaded whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError, Unavailable
from pipeline.progress import say
from pipeline.registry import BUNDLE_PATH, Registry, Tag, faults
from predictor.bundle import Bundle

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import ModelSignature

CODE = Path(__file__).with_name("pyfunc.py")
REQUIREMENTS = ("gliner", "torch", "transformers")
EXAMPLE = "Ada Lovelace was born in London."


def upload(
    registry: Registry, run: Run, found: Bundle, params: Mapping[str, str], labels: tuple[str, ...]
) -> str:
    """Upload a bundle with the code that loads it, and see that all of it arrived.

    Files that an earlier try uploaded whole are taken again.

    Args:
        params: what MLflow shows as the model's parameters.
        labels: what the model looks for where a caller names nothing.

    Returns:
        MLflow's id of the model. It is READY: nothing else may be registered.

    Raises:
        Unavailable: MLflow or the store does not answer; what arrived counts for nothing.
        PipelineError: the model cannot be loaded by MLflow, or the disk is full.
    """
    experiment = run.info.experiment_id
    with faults.translated(f"MLflow at {registry.settings.tracking_uri}"):
        there = registry.client.search_logged_models(
            [experiment], filter_string=f"tags.{Tag.BUNDLE_DIGEST} = '{found.digest}'"
        )
        for model in there:
            if model.status == "READY" and not _missing(registry, model, _bundle_files(found)):
                return str(model.model_id)
        model = registry.client.create_logged_model(
            experiment,
            name="model",
            source_run_id=run.info.run_id,
            tags={Tag.BUNDLE_DIGEST: found.digest},
            params=dict(params),
            model_type="ner",
        )
    try:
        with faults.translated(f"the files of {model.model_id}"):
            _send(registry, run, model, found, labels)
    except PipelineError:
        with suppress(PipelineError), faults.translated("MLflow"):
            registry.client.finalize_logged_model(model.model_id, "FAILED")
        raise
    return str(model.model_id)


def _send(
    registry: Registry, run: Run, model: LoggedModel, found: Bundle, labels: tuple[str, ...]
) -> None:
    from mlflow.entities import LoggedModelOutput

    with tempfile.TemporaryDirectory(prefix="gliner-upload-") as work:
        folder = Path(work) / "model"
        _save(folder, run, model, found, labels)
        _try(folder)
        files = {
            str(file.relative_to(folder)): file.stat().st_size
            for file in folder.rglob("*")
            if file.is_file()
        }
        say(f"uploading {sum(files.values()) / 1e6:.0f} MB to {model.artifact_location}")
        registry.client.log_model_artifacts(model.model_id, str(folder))
    if missing := _missing(registry, model, files):
        raise Unavailable(f"{missing} did not arrive whole at {model.artifact_location}; try again")
    registry.client.finalize_logged_model(model.model_id, "READY")
    registry.client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])


def _save(
    folder: Path, run: Run, model: LoggedModel, found: Bundle, labels: tuple[str, ...]
) -> None:
    """Write MLflow's form of the model."""
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import Model

    # MLflow names what it copies after the folder and not after the key, and follows no link.
    bundle = folder.parent / Path(BUNDLE_PATH).name
    shutil.copytree(found.folder, bundle)
    mlflow.pyfunc.save_model(
        path=str(folder),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            model_uuid=model.model_id,
            run_id=run.info.run_id,
            model_id=model.model_id,
        ),
        python_model=str(CODE),
        artifacts={"bundle": str(bundle)},
        pip_requirements=[f"{name}=={_public(version(name))}" for name in REQUIREMENTS],
        signature=signature(labels),
        input_example=pd.DataFrame({"text": [EXAMPLE]}),
    )


def signature(labels: tuple[str, ...]) -> ModelSignature:
    """What the model takes and gives, for MLflow and those who call it."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array, Object, Property

    entity = Object(
        [
            Property("text", DataType.string),
            Property("label", DataType.string),
            Property("start", DataType.long),
            Property("end", DataType.long),
            Property("score", DataType.double),
        ]
    )
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.string, "text"),
                ColSpec(Array(DataType.string), "labels", required=False),
            ]
        ),
        outputs=Schema([ColSpec(Array(entity))]),
        params=ParamSchema(
            [
                ParamSpec("labels", DataType.string, list(labels), shape=(-1,)),
                ParamSpec("threshold", DataType.double, 0.5),
                ParamSpec("flat_ner", DataType.boolean, True),
            ]
        ),
    )


def _try(folder: Path) -> None:
    """Load what was written as a stranger would, and ask it."""
    import mlflow.pyfunc
    import pandas as pd

    try:
        mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"text": [EXAMPLE]}))
    except Exception as error:  # whatever a model's code raises
        raise PipelineError(
            f"MLflow cannot load the model: {type(error).__name__}: {str(error)[:300]}"
        ) from error


def _missing(registry: Registry, model: LoggedModel, files: Mapping[str, int]) -> str:
    """The first file that is not in the store with its size; empty when all are."""
    there = dict(_listed(registry, model, ""))
    return next((name for name, size in files.items() if there.get(name) != size), "")


def _listed(registry: Registry, model: LoggedModel, path: str) -> Iterator[tuple[str, int]]:
    found: list[Any] = registry.client.list_logged_model_artifacts(model.model_id, path or None)
    for one in found:
        if one.is_dir:
            yield from _listed(registry, model, one.path)
        else:
            yield one.path, one.file_size


def _bundle_files(found: Bundle) -> dict[str, int]:
    return {
        f"{BUNDLE_PATH}/{file.relative_to(found.folder)}": file.stat().st_size
        for file in found.folder.rglob("*")
        if file.is_file()
    }


def _public(release: str) -> str:
    """Without a build such as `+cpu`, which package indexes do not have."""
    return release.partition("+")[0]
