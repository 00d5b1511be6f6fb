"""The two graphs. `refresh` makes and judges a version; `rollout` moves traffic to one.

A run is red in Kubeflow when a step could not do its work. What the graph decided (refused,
waiting for a review, promoted, rolled back) is not a failure of the run: it is its outcome, on
the MLflow run, in Slack, and as the exit code of the command line.
"""

# kfp has no types, and knows plain `dict` and `list` alone.
# mypy: disable-error-code="untyped-decorator, type-arg"

from dataclasses import dataclass, replace
from pathlib import Path

from kfp import compiler, dsl, kubernetes

from pipeline import components as step
from pipeline.parameters import COMPILED

JOB = dsl.PIPELINE_JOB_ID_PLACEHOLDER
HOUR = 3_600
DAY = 24 * HOUR

CONFIG_MAP = "gliner-pipeline"
S3_SECRET = "gliner-s3"  # noqa: S105 - the name of a Secret
SLACK_SECRET = "gliner-slack"  # noqa: S105 - the name of a Secret
KEY_SECRET = "gliner-api-key"  # noqa: S105 - the name of a Secret
CONFIG = (
    "PIPELINE_TRACKING_URI",
    "PIPELINE_MLFLOW_URL",
    "PIPELINE_EXPERIMENT",
    "PIPELINE_MODEL_NAME",
    "PIPELINE_PREDICTOR_URL",
    "PIPELINE_PREDICTOR_HOST",
    "PIPELINE_DASHBOARD_URL",
    "PIPELINE_PROMETHEUS_URL",
    "PIPELINE_ROLLOUT",
    "PIPELINE_NAMESPACE",
    "PIPELINE_INFERENCE_SERVICE",
    "PIPELINE_DEPLOYMENT_MODE",
    "PIPELINE_REVIEW_HOURS",
    "PIPELINE_ALERT_F1_BELOW",
    "PIPELINE_ALERT_F1_ABOVE",
    "PIPELINE_CHECKPOINTS",
    "AWS_ENDPOINT_URL_S3",
    "MLFLOW_S3_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
)
"""Keys of the config map, each an environment variable; all are optional but the first."""


@dataclass(frozen=True)
class Need:
    """What a step may take.

    Attributes:
        cpu, cpu_limit: cores asked for, and at most.
        memory, memory_limit: the same for memory, in Kubernetes' notation.
        seconds: longest time of one try.
    """

    cpu: str = "250m"
    cpu_limit: str = "1"
    memory: str = "1Gi"
    memory_limit: str = "2Gi"
    seconds: int = 900


LIGHT = Need()
FETCH = replace(LIGHT, seconds=HOUR)
MODEL = Need("2", "4", "4Gi", "8Gi", HOUR)
TRAINING = Need("4", "8", "8Gi", "16Gi", 4 * HOUR)
UPLOAD = replace(LIGHT, memory="2Gi", memory_limit="4Gi", seconds=HOUR)
ROLLOUT = replace(LIGHT, seconds=3 * HOUR)


def placed(
    task: dsl.PipelineTask, need: Need = LIGHT, *, slack: bool = False, asks: bool = False
) -> dsl.PipelineTask:
    """A task with its limits, its environment and its retries."""
    task.set_cpu_request(need.cpu).set_cpu_limit(need.cpu_limit)
    task.set_memory_request(need.memory).set_memory_limit(need.memory_limit)
    # No step is a function of its inputs alone: the registry, the champion and the clock change.
    task.set_caching_options(enable_caching=False)
    # For pods that are lost: for servers that are, steps try again by themselves. A try begins
    # when the one before has ended; should a lost node's pod live on, the rollout's lock holds.
    task.set_retry(2, backoff_duration="30s", backoff_factor=2.0, backoff_max_duration="300s")
    kubernetes.set_timeout(task, need.seconds)
    for optional, names in ((False, CONFIG[:1]), (True, CONFIG[1:])):
        keys = {one: one for one in names}
        kubernetes.use_config_map_as_env(task, CONFIG_MAP, keys, optional=optional)
    s3 = {one: one for one in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    # Optional: where pods have an identity of the cloud's own, there are no keys.
    kubernetes.use_secret_as_env(task, S3_SECRET, s3, optional=True)
    if slack:
        key = {"url": "PIPELINE_SLACK_WEBHOOK_URL"}
        kubernetes.use_secret_as_env(task, SLACK_SECRET, key, optional=True)
    if asks:
        key = {"key": "PIPELINE_API_KEY"}
        kubernetes.use_secret_as_env(task, KEY_SECRET, key, optional=True)
    return task


@dsl.pipeline(
    name="gliner-refresh",
    pipeline_config=dsl.PipelineConfig(
        # A refresh that takes longer has missed its night: it ends, and the next one may begin.
        active_deadline_seconds=8 * HOUR,
        ttl_seconds_after_finished=7 * DAY,
    ),
)
def refresh(
    eval_data: str,
    model: str = "embedded",
    train_data: str = "",
    training: dict = {},  # noqa: B006 - kfp reads the default
    max_data_age_hours: float = 0.0,
    min_examples: int = 5,
    tolerance: float = 0.005,
    min_f1: float = 0.5,
    min_precision: float = 0.0,
    min_recall: float = 0.0,
    min_label_f1: dict = {},  # noqa: B006
    max_regression: float = 0.0,
    protected_labels: list = [],  # noqa: B006
    max_p95_ms: float = 0.0,
    max_size_mb: float = 0.0,
    force: bool = False,
    review: str = "required",
    strategy: str = "canary",
    canary_steps: list = [10, 50, 100],  # noqa: B006
    min_requests: int = 50,
    hold_seconds: float = 30.0,
    max_seconds: float = 600.0,
    max_error_rate: float = 0.01,
    max_latency_ratio: float = 1.5,
) -> None:
    """Measure a candidate, register it, judge it, and roll it out.

    Args:
        eval_data: Labelled data to measure on, a folder or s3://bucket/prefix with *.jsonl files.
        model: Where the candidate comes from; embedded, a folder, a hub id, models:/NAME@ALIAS
            or models:/NAME/VERSION. With training data it is what training starts from.
        train_data: Labelled data to fine-tune on, as eval_data; empty takes the model as it is.
        training: Training parameters by name, as a JSON object; see docs/pipeline.md.
        max_data_age_hours: Oldest that the newest file of the data may be; 0 takes any age.
        min_examples: Fewest mentions of each label in the data.
        tolerance: F1 that a faster engine may lose.
        min_f1: Lowest F1 that the gate accepts.
        min_precision: Lowest precision that the gate accepts.
        min_recall: Lowest recall that the gate accepts.
        min_label_f1: Lowest F1 of single labels, as a JSON object.
        max_regression: F1 that the candidate may lose against the champion, overall and for each
            protected label; what counts is the whole 95 % interval.
        protected_labels: Labels that may not get worse, as a JSON array.
        max_p95_ms: Longest p95 latency for one text with the engine chosen; 0 has no limit.
        max_size_mb: Largest size of the weights; 0 has no limit.
        force: Let the version pass although checks failed; the verdict says so.
        review: required waits for the tag review=approved in MLflow, none goes on at once.
        strategy: canary goes through canary_steps, blue_green gives all traffic after the checks.
        canary_steps: Shares of the traffic in percent, rising to 100, as a JSON array.
        min_requests: Requests that the candidate must answer before a step is judged.
        hold_seconds: How long a step is held at least.
        max_seconds: A step that is not through after this is rolled back.
        max_error_rate: Share of requests that the candidate may fail.
        max_latency_ratio: How many times the champion's p95 latency the candidate may take.
    """
    with dsl.ExitHandler(placed(step.notify(job=JOB), slack=True)):
        data = placed(
            step.fetch_data(
                job=JOB,
                source=eval_data,
                max_age_hours=max_data_age_hours,
                min_examples=min_examples,
                # A misspelt label is found before anything is trained.
                protected_labels=protected_labels,
                min_label_f1=min_label_f1,
            ),
            FETCH,
        )
        prepared = placed(
            step.prepare(
                job=JOB,
                model=model,
                train_data=train_data,
                training=training,
                max_age_hours=max_data_age_hours,
                min_examples=min_examples,
                evaluation=data.output,
            ),
            TRAINING,
        )
        optimised = placed(
            step.optimise(
                job=JOB, tolerance=tolerance, candidate=prepared.output, data=data.output
            ),
            MODEL,
        )
        # What is measured and judged is what will serve: the engine is chosen before.
        evaluated = placed(
            step.evaluate(job=JOB, candidate=optimised.output, data=data.output), MODEL
        )
        registered = placed(
            step.register(job=JOB, candidate=optimised.output, report=evaluated.output), UPLOAD
        )
        judged = placed(
            step.gate(
                job=JOB,
                version=registered.output,
                min_f1=min_f1,
                min_precision=min_precision,
                min_recall=min_recall,
                min_label_f1=min_label_f1,
                max_regression=max_regression,
                protected_labels=protected_labels,
                max_p95_ms=max_p95_ms,
                max_size_mb=max_size_mb,
                force=force,
                report=evaluated.output,
            )
        )
        with dsl.If(judged.output == "accepted", "accepted"):
            reviewed = placed(
                step.review(job=JOB, version=registered.output, mode=review), slack=True
            )
            with dsl.If(reviewed.output == "approved", "approved"):
                placed(
                    step.roll_out(
                        job=JOB,
                        version=registered.output,
                        strategy=strategy,
                        canary_steps=canary_steps,
                        min_requests=min_requests,
                        hold_seconds=hold_seconds,
                        max_seconds=max_seconds,
                        max_error_rate=max_error_rate,
                        max_latency_ratio=max_latency_ratio,
                    ),
                    ROLLOUT,
                    asks=True,
                )


@dsl.pipeline(
    name="gliner-rollout",
    pipeline_config=dsl.PipelineConfig(
        active_deadline_seconds=4 * HOUR, ttl_seconds_after_finished=7 * DAY
    ),
)
def rollout(
    version: int,
    strategy: str = "canary",
    canary_steps: list = [10, 50, 100],  # noqa: B006
    min_requests: int = 50,
    hold_seconds: float = 30.0,
    max_seconds: float = 600.0,
    max_error_rate: float = 0.01,
    max_latency_ratio: float = 1.5,
) -> None:
    """Roll out a version that was approved.

    Args:
        version: The number of the version in MLflow.
        strategy: canary goes through canary_steps, blue_green gives all traffic after the checks.
        canary_steps: Shares of the traffic in percent, rising to 100, as a JSON array.
        min_requests: Requests that the candidate must answer before a step is judged.
        hold_seconds: How long a step is held at least.
        max_seconds: A step that is not through after this is rolled back.
        max_error_rate: Share of requests that the candidate may fail.
        max_latency_ratio: How many times the champion's p95 latency the candidate may take.
    """
    with dsl.ExitHandler(placed(step.notify(job=JOB), slack=True)):
        placed(
            step.roll_out(
                job=JOB,
                version=version,
                strategy=strategy,
                canary_steps=canary_steps,
                min_requests=min_requests,
                hold_seconds=hold_seconds,
                max_seconds=max_seconds,
                max_error_rate=max_error_rate,
                max_latency_ratio=max_latency_ratio,
            ),
            ROLLOUT,
            asks=True,
        )


GRAPHS = {"refresh": refresh, "rollout": rollout}


def compile_all(folder: Path = COMPILED) -> list[Path]:
    """Write the graphs as YAML: the same bytes for the same source."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, graph in GRAPHS.items():
        file = folder / f"{name}.yaml"
        compiler.Compiler().compile(graph, str(file))
        files.append(file)
    return files
