"""Fine-tune a model on labelled data."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import dataset, training
from pipeline import settings as configuration
from pipeline.data import folders, sources
from pipeline.errors import DataError, PipelineError
from pipeline.progress import say
from pipeline.registry import Registry, faults
from pipeline.settings import Settings
from pipeline.training import TrainParameters
from pipeline.training.checkpoints import Checkpoints
from predictor import bundle
from predictor.bundle import Bundle, Manifest
from predictor.errors import BundleError

if TYPE_CHECKING:
    from pipeline.training.trainer import Trained


def run(
    base: str,
    train: Path,
    evaluation: Path,
    out: Path,
    *,
    job: str,
    parameters: TrainParameters,
    settings: Settings | None = None,
) -> None:
    """Train, and write the best weights as a bundle into `out`.

    Killed and run again, it goes on at its last checkpoint.

    Args:
        base: a source as `sources.fetch` knows it.
        train: a folder with the training data.
        evaluation: a folder with the data that decides which weights are best.

    Raises:
        DataError: the data cannot be trained on.
        PipelineError: the base cannot be trained.
        Unavailable: MLflow or the place of the checkpoints does not answer at the start.
    """
    settings = settings or configuration.load()
    rows, held_out = dataset.read(train), dataset.read(evaluation)
    digest = dataset.digest(rows)
    with tempfile.TemporaryDirectory(prefix="gliner-train-") as name:
        work = Path(name)
        found = sources.fetch(base, work / "base", settings)
        key = training.key(found.digest, digest, dataset.digest(held_out), parameters)
        checkpoints = Checkpoints(key, settings)
        curve = _Curve(Registry(settings), job)
        curve.parameters({**parameters.model_dump(), "base": base, "base_digest": found.digest})
        try:
            result = _train(
                found,
                rows,
                held_out,
                work,
                parameters=parameters,
                checkpoints=checkpoints,
                log=curve,
            )
            manifest = _manifest(found, digest, key)
            card = _card(found, digest, parameters, result)
            _write(work / "trained", manifest, card, out)
        except BundleError as error:
            raise PipelineError(str(error)) from error
    curve.finish(result)
    _clear(checkpoints)
    say(
        f"trained {found.manifest.id} for {result.steps} steps; best after {result.best_step}, "
        f"with {parameters.metric} {result.best:.4f}"
        + (f"; ended since {result.stopped}" if result.stopped else "")
    )


def _train(
    found: Bundle,
    files: Sequence[dataset.File],
    held_out: Sequence[dataset.File],
    work: Path,
    *,
    parameters: TrainParameters,
    checkpoints: Checkpoints,
    log: _Curve,
) -> Trained:
    from pipeline.training import trainer  # torch and transformers take seconds to import

    model, engine = trainer.load(found.folder)
    rows = training.examples(files, engine, parameters)
    evaluation = training.examples(held_out, engine, parameters)
    for name, given in (("training", rows), ("evaluation", evaluation)):
        if not given:
            raise DataError(f"the {name} data has no labelled mention; bring some that has")
    result = trainer.fit(
        engine,
        model,
        rows,
        evaluation,
        held_out,
        parameters=parameters,
        folder=work / "trainer",
        checkpoints=checkpoints,
        log=log,
    )
    model.save_pretrained(str(work / "trained"), safe_serialization=True)
    return result


def _manifest(found: Bundle, digest: str, key: str) -> Manifest:
    base = found.manifest.revision or found.digest[:12]
    return Manifest(id=found.manifest.id, revision=f"{base}+{key[:12]}", dataset_digest=digest)


def _card(found: Bundle, digest: str, parameters: TrainParameters, result: Trained) -> str:
    file = found.folder / "MODEL_CARD.md"
    text = file.read_text(encoding="utf-8") if file.is_file() else f"# {found.manifest.id}\n"
    rows = "\n".join(f"| {name} | {value} |" for name, value in parameters.model_dump().items())
    return (
        f"{text.rstrip()}\n\n## Fine-tuning\n\n"
        f"These weights were fine-tuned from `{found.manifest.id}` (digest `{found.digest}`) on "
        f"data with digest `{digest}`: {result.steps} steps, the weights of step "
        f"{result.best_step} taken, whose {parameters.metric} on the evaluation data was "
        f"{result.best:.4f}. What is said above of scores is about the base.\n\n"
        f"| parameter | value |\n|---|---|\n{rows}\n"
    )


def _write(trained: Path, manifest: Manifest, card: str, out: Path) -> None:
    """Make a bundle of the trained files; `out` has all of it or none."""
    (trained / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    (trained / "bundle.json").write_text(json.dumps(asdict(manifest)), encoding="utf-8")
    with faults.translated("the trained bundle"), folders.replaced(out) as part:
        bundle.write(str(trained), part)


def _clear(checkpoints: Checkpoints) -> None:
    try:
        checkpoints.clear()
    except PipelineError as error:
        say(f"the checkpoints stay where they are: {error}")


class _Curve:
    """Parameters and loss curve in the MLflow run; training goes on while MLflow is away."""

    def __init__(self, registry: Registry, job: str) -> None:
        self._registry = registry
        self._run_id = registry.run(job).info.run_id
        self._waiting: list[Any] = []
        with self._asking():
            history = registry.client.get_metric_history(self._run_id, "train_loss")
        # What a training that was killed has logged already.
        self._last = max((one.step for one in history), default=-1)

    def parameters(self, values: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        with self._asking():
            self._registry.client.log_batch(
                self._run_id,
                params=[Param(f"train.{name}", str(one)) for name, one in values.items()],
            )

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        if step > self._last or "train_loss" not in values:
            at = time.time_ns() // 1_000_000
            self._waiting += [Metric(name, one, at, step) for name, one in values.items()]
        self._send()

    def finish(self, result: Trained) -> None:
        at = {"train_steps": result.steps, "train_best_step": result.best_step}
        self(result.steps, {name: float(one) for name, one in at.items()})
        if self._waiting:
            say("part of the loss curve is not in MLflow, which did not answer")

    def _send(self) -> None:
        try:
            with self._asking():
                self._registry.client.log_batch(self._run_id, metrics=self._waiting[-1_000:])
        except PipelineError as error:
            say(f"the loss curve waits: {error}")
        else:
            self._waiting.clear()

    def _asking(self) -> Any:
        return faults.translated(f"MLflow at {self._registry.settings.tracking_uri}")
