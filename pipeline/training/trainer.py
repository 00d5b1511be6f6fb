"""Fine-tuning with GLiNER's own trainer: seeds, early stopping, checkpoints, progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from gliner.training import Trainer
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from pipeline import scoring
from pipeline.dataset import File, resplit, text_of
from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.training import TrainParameters
from pipeline.training.checkpoints import Checkpoints
from predictor.engines.torch import TorchEngine
from predictor.extraction import Extractor, Label, Query

Log = Callable[[int, Mapping[str, float]], None]
"""Takes the step and what was measured at it."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: how many steps it took, those before a restart included.
        best_step: the step whose weights were taken.
        best: its F1 or loss on the evaluation data.
        stopped: why before all steps were done; empty when they were.
    """

    steps: int
    best_step: int
    best: float
    stopped: str


def load(folder: Path) -> tuple[Any, TorchEngine]:
    """A bundle's model to be trained, on the GPU where there is one, and its engine.

    Raises:
        BundleError: the files do not make a model, or not of a kind that is served.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # What is made once from the weights would go stale with the first step.
    engine = TorchEngine.load(folder, device, "fp32", rewrite=False)
    # Trained and asked by turns: both work on the same weights.
    return engine._model, engine


def fit(
    engine: TorchEngine,
    model: Any,
    rows: Sequence[dict[str, Any]],
    evaluation: Sequence[dict[str, Any]],
    files: Sequence[File],
    *,
    parameters: TrainParameters,
    folder: Path,
    checkpoints: Checkpoints,
    log: Log,
) -> Trained:
    """Train a GLiNER model in place and leave it with its best weights.

    A training that was killed goes on at its last whole checkpoint. On one kind of machine and
    with the same number of threads a CPU then ends with the very weights of a training that
    was never killed; a GPU rounds differently from run to run, and a training that
    `max_minutes` ends depends on the clock.

    Args:
        engine: the same model, to be asked for entities.
        rows: from `training.examples`; `evaluation` likewise, for the loss.
        files: the evaluation data, for F1.
        folder: for the trainer's files, which need not outlive this process.
    """
    every = parameters.eval_every or _steps_an_epoch(len(rows), parameters)
    resume = checkpoints.restore(folder)
    if resume is not None:
        say(f"goes on at step {resume.name.rpartition('-')[2]}, from a checkpoint")
    stop = EarlyStoppingCallback(early_stopping_patience=parameters.patience)
    watch = _Watch(parameters, checkpoints, log)
    trainer = _Trainer(
        model=model,
        args=_arguments(model, folder, every, parameters),
        train_dataset=list(rows),
        eval_dataset=list(evaluation),
        data_collator=model._create_data_collator(),
        processing_class=model.data_processor.transformer_tokenizer,
        callbacks=[stop, watch],
    )
    trainer.remove_callback(PrinterCallback)  # says in dicts what `_Watch` says in sentences
    trainer.measure = lambda: f1(engine, files)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    model.eval()
    state = trainer.state
    if state.best_model_checkpoint is None or state.best_metric is None:
        raise PipelineError(
            f"training gave no usable weights in {state.global_step} steps: its scores are not "
            "numbers; lower encoder_rate and head_rate"
        )
    return Trained(
        steps=state.global_step,
        best_step=int(state.best_model_checkpoint.rpartition("-")[2]),
        best=float(state.best_metric),
        stopped=watch.stopped
        or ("no gain any more" if state.global_step < state.max_steps else ""),
    )


def f1(engine: TorchEngine, files: Sequence[File]) -> float:
    """Micro-F1 on labelled files, each asked for its own labels."""
    extractor = Extractor(engine)
    true, found = [], []
    for file in files:
        labels = tuple(Label(name, name, scoring.THRESHOLD) for name in file.labels)
        rows = [resplit(row) for row in file.rows] if labels else []
        queries = [Query(text_of(row.words)[0], labels, True, False) for row in rows]
        true += [scoring.truth(row, file.labels) for row in rows]
        found += [
            {(one.start, one.end, one.label) for one in answer.entities}
            for answer in extractor.extract(queries)
        ]
    names = sorted({label for file in files for label in file.labels})
    return scoring.f1(scoring.tally(true, found, names).micro)


class _Trainer(Trainer):  # type: ignore[misc]
    """GLiNER's trainer, whose evaluation gives F1 beside the loss."""

    measure: Callable[[], float]

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        output = super().evaluation_loop(*args, **kwargs)
        self.model.eval()
        output.metrics["eval_f1"] = self.measure()
        return output


class _Watch(TrainerCallback):
    """Tells how it goes, keeps checkpoints, and ends a training whose time is over."""

    def __init__(self, parameters: TrainParameters, checkpoints: Checkpoints, log: Log) -> None:
        self._parameters = parameters
        self._checkpoints = checkpoints
        self._log = log
        self._began = time.monotonic()
        self.stopped = ""
        self._over = False
        self._first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._first = state.global_step
        # Killed between its last evaluation and its end, it had come to its end already.
        saved = (state.stateful_callbacks or {}).get("EarlyStoppingCallback", {})
        counter = saved.get("attributes", {}).get("early_stopping_patience_counter", 0)
        self._over = counter >= self._parameters.patience or state.global_step >= state.max_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._over:
            state.global_step = self._first
            control.should_training_stop = True
            control.should_evaluate = control.should_save = control.should_log = False
            return
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        spent = (time.monotonic() - self._began) / 60
        if 0 < self._parameters.max_minutes < spent and not self.stopped:
            self.stopped = f"its {self._parameters.max_minutes:g} minutes are over"
            control.should_training_stop = True
            control.should_evaluate = control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        step, values = state.global_step, dict(logs or {})
        if "loss" in values:
            self._log(
                step, {"train_loss": values["loss"], "learning_rate": values["learning_rate"]}
            )
            say(f"step {step}/{state.max_steps}: loss {values['loss']:.4f}, {self._left(state)}")
        if "eval_loss" in values:
            self._log(step, {"eval_loss": values["eval_loss"], "eval_f1": values["eval_f1"]})
            say(f"step {step}: F1 {values['eval_f1']:.4f}, loss {values['eval_loss']:.4f} on eval")

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        try:
            self._checkpoints.keep(folder, Path(state.best_model_checkpoint or "").name)
        except PipelineError as error:
            # A training is worth more than the chance to take it up again.
            say(f"no checkpoint at step {state.global_step}: {error}")

    def _left(self, state: Any) -> str:
        minutes = (time.monotonic() - self._began) / 60
        each = minutes / max(1, state.global_step - self._first)
        return f"at most {each * (state.max_steps - state.global_step):.1f} min left"


def _arguments(model: Any, folder: Path, every: int, parameters: TrainParameters) -> Any:
    return model.create_training_args(
        output_dir=str(folder),
        learning_rate=parameters.encoder_rate,
        others_lr=parameters.head_rate,
        weight_decay=parameters.weight_decay,
        others_weight_decay=parameters.weight_decay,
        warmup_ratio=parameters.warmup,
        per_device_train_batch_size=parameters.batch_size,
        per_device_eval_batch_size=parameters.batch_size,
        max_steps=parameters.max_steps or -1,
        num_train_epochs=parameters.epochs,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=1,
        logging_steps=max(1, every // 4),
        load_best_model_at_end=True,
        metric_for_best_model=parameters.metric,
        greater_is_better=parameters.metric == "f1",
        restore_callback_states_from_checkpoint=True,
        seed=parameters.seed,
        data_seed=parameters.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
    )


def _steps_an_epoch(rows: int, parameters: TrainParameters) -> int:
    steps = -(-rows // parameters.batch_size)
    return max(1, min(steps, parameters.max_steps or steps))
