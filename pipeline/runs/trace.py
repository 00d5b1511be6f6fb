"""The trace of a run: each step leaves its span, and the last one that of the run.

Steps are processes that know the run's id and nothing of each other, here as on Kubeflow. So the
ids of the trace and of the run's span follow from it. Where no endpoint is set nothing happens
here, and OpenTelemetry is not imported.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pipeline import settings as settings_of
from pipeline.errors import PipelineError
from pipeline.progress import say
from predictor import otlp
from predictor.errors import StartupError

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from predictor.traces import Traces

LAST = "notify"
"""The exit handler, which ends each run."""

SERVICE = "gliner-pipeline"
_FLUSH_SECONDS = 3.0
"""How long a collector that does not answer may hold up the end of a step."""


def ids(job: str) -> tuple[int, int]:
    """The ids of a run's trace and of its own span in it, from the run's id."""
    digest = hashlib.sha256(job.encode()).digest()
    return int.from_bytes(digest[:16], "big"), int.from_bytes(digest[16:24], "big")


@contextmanager
def step(name: str, job: str) -> Iterator[None]:
    """Leave a span of what a step of a run does within.

    Args:
        name: the step's.
        job: the run's id; empty for what belongs to no run.
    """
    traces = _traces() if job else None
    if traces is None:
        yield
        return
    begun = time.time_ns()
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        _show(traces, name, job, begun, failure)
        if name == LAST:
            _show_run(job, begun)
        _stop(traces)


def _traces(job: str = "") -> Traces | None:
    """Where spans go; those of a run itself get its ids."""
    try:
        if not otlp.endpoint():
            return None
    except StartupError as error:  # no reason to lose a night's run
        say(f"no traces: {error}")
        return None
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    from predictor.traces import Traces

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return ids(job)[0]

        def generate_span_id(self) -> int:
            return ids(job)[1]

    return Traces(SERVICE, _tell, Ids() if job else None)


def _show(traces: Traces, name: str, job: str, begun: int, failure: BaseException | None) -> None:
    from opentelemetry.trace import StatusCode

    attributes = {"pipeline.job": job, "pipeline.step": name}
    span = traces.tracer.start_span(
        name, _parent(traces, job), attributes=attributes, start_time=begun
    )
    if failure:
        # Its kind alone: a message can quote the data.
        span.set_attribute("error.type", type(failure).__name__)
        span.set_status(StatusCode.ERROR)
    span.end()


def _parent(traces: Traces, job: str) -> Context:
    """The run's span, sampled or not as it will be."""
    from opentelemetry.sdk.trace.sampling import Decision

    from predictor.traces import SAMPLED, UNSAMPLED, remote

    trace_id, span_id = ids(job)
    decision = traces.provider.sampler.should_sample(None, trace_id, "run").decision
    sampled = decision is Decision.RECORD_AND_SAMPLE
    return remote(trace_id, span_id, SAMPLED if sampled else UNSAMPLED)


def _show_run(job: str, begun: int) -> None:
    """Show the run, from what MLflow knows of it."""
    from opentelemetry.trace import StatusCode

    from pipeline.registry import Registry, RunTag
    from pipeline.runs.outcome import FAILED

    attributes = {"pipeline.job": job}
    with suppress(PipelineError):  # without MLflow it is as long as its last step
        run = Registry(settings_of.load()).run(job)
        begun = min(begun, int(run.info.start_time) * 1_000_000)
        if outcome := run.data.tags.get(RunTag.OUTCOME):
            attributes["pipeline.outcome"] = outcome
    traces = _traces(job)
    if traces is None:
        return
    span = traces.tracer.start_span("run", attributes=attributes, start_time=begun)
    if attributes.get("pipeline.outcome") == FAILED:
        span.set_status(StatusCode.ERROR)
    span.end()
    _stop(traces)


def _stop(traces: Traces) -> None:
    if not traces.stop(_FLUSH_SECONDS):
        _tell(well=False)


def _tell(well: bool) -> None:
    if not well:
        say("traces are not exported: the collector does not take them")
