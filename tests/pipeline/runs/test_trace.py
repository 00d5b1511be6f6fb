"""A run's trace: steps in processes of their own, and the run above them."""

# No `from __future__`: kfp needs annotations that are types.
# mypy: disable-error-code="untyped-decorator"

from collections.abc import Iterator
from pathlib import Path

import collector as collectors
import pytest
from collector import Collector
from kfp import compiler, dsl
from servers import ROOT

from pipeline import components, parameters
from pipeline.errors import DataError
from pipeline.graph import JOB
from pipeline.runs import attempt, trace
from pipeline.runs import local as localrun
from pipeline.settings import Settings


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that this process and those it starts export to."""
    with collectors.collecting() as found:
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        yield found
    assert found.wrong == []


def hexed(job: str) -> tuple[str, str]:
    """The ids of a run's trace and span, as they are sent."""
    trace_id, span_id = trace.ids(job)
    return f"{trace_id:032x}", f"{span_id:016x}"


@pytest.mark.server
def test_a_run_is_one_trace(
    settings: Settings, collected: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of our steps in kfp's processes: the run is their parent, and as long as both."""

    @dsl.pipeline(name="traced")
    def traced(source: str) -> None:
        """A step and the exit handler.

        Args:
            source: Labelled data.
        """
        with dsl.ExitHandler(components.notify(job=JOB)):
            components.fetch_data(
                job=JOB,
                source=source,
                max_age_hours=0.0,
                min_examples=1,
                protected_labels=[],
                min_label_f1={},
            )

    compiler.Compiler().compile(traced, str(tmp_path / "refresh.yaml"))
    monkeypatch.setattr(parameters, "COMPILED", tmp_path)

    result = localrun.run("refresh", {"source": str(ROOT / "examples" / "eval")}, settings)

    assert result.exit_code == 0
    trace_id, run_id = hexed(result.job)
    spans = collected.of(trace_id)
    assert set(spans) == {"run", "fetch_data", "notify"}
    run, fetch, notify = spans["run"], spans["fetch_data"], spans["notify"]
    assert (run.id, run.parent) == (run_id, "")
    assert {fetch.parent, notify.parent} == {run_id}
    # MLflow's clock, which the run begins by, has milliseconds.
    assert run.begun - 0.001 <= fetch.ended < notify.begun <= notify.ended <= run.ended
    assert fetch.attributes == {"pipeline.job": result.job, "pipeline.step": "fetch_data"}
    assert not any(one.failed for one in spans.values())
    assert {one.resource["service.name"] for one in spans.values()} == {"gliner-pipeline"}


def test_a_failed_step_names_its_kind(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason, which may name data, is not exported."""
    monkeypatch.setattr(attempt, "_note", lambda *_: None)

    def step(*, job: str) -> None:
        raise DataError(f"{job}: line 3 speaks of Ada")

    with pytest.raises(SystemExit):
        attempt.call(step, job="job-1")

    [span] = collected.of(hexed("job-1")[0]).values()
    assert (span.name, span.failed) == ("test_trace", True)
    assert span.attributes["error.type"] == "DataError"
    assert not any("Ada" in body for body in collected.bodies)


def test_what_belongs_to_no_run(collected: Collector) -> None:
    """A check of a step's parameters leaves no span."""
    assert attempt.call(int, "7") == 7

    assert collected.spans == []


def test_a_sampler_decides_for_the_run(
    collected: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a run is recorded or nothing, since all decide by the trace's id."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    jobs = [f"job-{number}" for number in range(8)]
    for job in jobs:
        for name in ("fetch_data", "train"):
            with trace.step(name, job):
                pass

    counts = {len(collected.of(hexed(job)[0])) for job in jobs}
    assert counts == {0, 2}


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "nowhere"])
def test_no_collector(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step does its work all the same, and says in one line that there are no traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setattr(trace, "_FLUSH_SECONDS", 0.2)

    def step(*, job: str) -> str:
        return job

    assert attempt.call(step, job="job-1") == "job-1"
    [line] = [one for one in capsys.readouterr().out.splitlines() if one]
    assert "traces" in line
