"""Thin wrappers that make Kubeflow components of the steps: paths, texts and numbers in and out.

kfp puts each function's source into the compiled graph and runs it there alone, so each imports
what it needs, and annotations must be types and not texts (no `from __future__` here). All run
in the project's image, and nothing is installed at run time.
"""

# kfp has no types, and knows plain `dict` and `list` alone.
# mypy: disable-error-code="untyped-decorator, type-arg"

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output, PipelineTaskFinalStatus

from pipeline import __version__

IMAGE = f"gliner-kserve-pipeline:{__version__}"
"""The image of all steps; `PIPELINE_IMAGE` takes its place where a graph is sent to Kubeflow."""

component = dsl.component(base_image=IMAGE, packages_to_install=[], install_kfp_package=False)


@component
def fetch_data(
    job: str,
    source: str,
    max_age_hours: float,
    min_examples: int,
    protected_labels: list,
    min_label_f1: dict,
    data: Output[Dataset],
) -> None:
    """Fetch and check the data that candidate and champion are measured on."""
    from pathlib import Path

    from pipeline.runs import attempt
    from pipeline.steps import fetch_data as step

    attempt.call(
        step.run,
        source,
        Path(data.path),
        role="eval",
        job=job,
        max_age_hours=max_age_hours,
        min_examples=min_examples,
        labels=(*protected_labels, *min_label_f1),
    )


@component
def prepare(
    job: str,
    model: str,
    train_data: str,
    training: dict,
    max_age_hours: float,
    min_examples: int,
    evaluation: Input[Dataset],
    candidate: Output[Model],
) -> None:
    """Fine-tune the model where there is training data, else take it as it is."""
    import tempfile
    from pathlib import Path

    from pipeline.runs import attempt
    from pipeline.steps import candidate as untrained
    from pipeline.steps import fetch_data, train
    from pipeline.training import TrainParameters

    if not train_data:
        attempt.call(untrained.run, model, Path(candidate.path), job=job)
        return
    with tempfile.TemporaryDirectory() as folder:
        attempt.call(
            fetch_data.run,
            train_data,
            Path(folder),
            role="train",
            job=job,
            max_age_hours=max_age_hours,
            min_examples=min_examples,
            disjoint_from=Path(evaluation.path),
        )
        attempt.call(
            train.run,
            model,
            Path(folder),
            Path(evaluation.path),
            Path(candidate.path),
            job=job,
            parameters=attempt.call(TrainParameters.parse, training),
        )


@component
def evaluate(
    job: str, candidate: Input[Model], data: Input[Dataset], report: Output[Artifact]
) -> None:
    """Measure candidate and champion on the same data."""
    from pathlib import Path

    from pipeline.runs import attempt
    from pipeline.steps import evaluate as step

    attempt.call(step.run, Path(candidate.path), Path(data.path), Path(report.path), job=job)


@component
def optimise(
    job: str,
    tolerance: float,
    candidate: Input[Model],
    data: Input[Dataset],
    optimised: Output[Model],
) -> None:
    """Choose the fastest engine whose F1 stays within the tolerance."""
    from pathlib import Path

    from pipeline.runs import attempt
    from pipeline.steps import optimise as step

    attempt.call(
        step.run,
        Path(candidate.path),
        Path(data.path),
        Path(optimised.path),
        job=job,
        tolerance=tolerance,
    )


@component
def register(job: str, candidate: Input[Model], report: Input[Artifact]) -> int:
    """Register the candidate in MLflow, or find the version that it is."""
    from pathlib import Path

    from pipeline.runs import attempt
    from pipeline.steps import register as step

    return attempt.call(step.run, Path(candidate.path), Path(report.path), job=job)


@component
def gate(
    job: str,
    version: int,
    min_f1: float,
    min_precision: float,
    min_recall: float,
    min_label_f1: dict,
    max_regression: float,
    protected_labels: list,
    max_p95_ms: float,
    max_size_mb: float,
    force: bool,
    report: Input[Artifact],
) -> str:
    """Hold the scores against the limits: `accepted` or `refused`."""
    from pathlib import Path

    from pipeline.runs import attempt
    from pipeline.steps import gate as step

    limits = attempt.call(
        step.GateLimits.parse,
        min_f1=min_f1,
        min_precision=min_precision,
        min_recall=min_recall,
        min_label_f1=min_label_f1,
        max_regression=max_regression,
        protected_labels=tuple(protected_labels),
        max_p95_ms=max_p95_ms,
        max_size_mb=max_size_mb,
    )
    verdict = attempt.call(
        step.run, version, Path(report.path), job=job, limits=limits, force=force
    )
    return "accepted" if verdict.accepted else "refused"


@component
def review(job: str, version: int, mode: str) -> str:
    """Ask for a review where one is required: `approved`, `pending` or `refused`."""
    from pipeline.runs import attempt
    from pipeline.steps import review as step

    return attempt.answer(step.run, version, job=job, mode=mode)  # type: ignore[arg-type]


@component
def roll_out(
    job: str,
    version: int,
    strategy: str,
    canary_steps: list,
    min_requests: int,
    hold_seconds: float,
    max_seconds: float,
    max_error_rate: float,
    max_latency_ratio: float,
) -> str:
    """Give the version all traffic step by step, or take it back."""
    from pipeline.rollout.plan import Plan
    from pipeline.runs import attempt
    from pipeline.steps import roll_out as step

    plan = attempt.call(
        Plan.parse,
        strategy=strategy,
        steps=canary_steps,
        min_requests=min_requests,
        hold_seconds=hold_seconds,
        max_seconds=max_seconds,
        max_error_rate=max_error_rate,
        max_latency_ratio=max_latency_ratio,
    )
    return attempt.call(step.run, version, job=job, plan=plan)


@component
def notify(job: str, status: PipelineTaskFinalStatus) -> None:
    """Tell what the run came to. A message that cannot be sent fails nothing."""
    from pipeline.runs import attempt
    from pipeline.steps import notify as step

    attempt.call_softly(step.run, job=job, state=status.state, error=status.error_message or "")
