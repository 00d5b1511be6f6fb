"""The components: every one hands its step what the step takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from kfp.dsl import Artifact, PipelineTaskFinalStatus

from pipeline import components
from pipeline.limits import GateLimits
from pipeline.rollout.plan import Plan
from pipeline.training import TrainParameters

ROLLOUT = {
    "strategy": "canary",
    "canary_steps": [10.0, 100.0],
    "min_requests": 5,
    "hold_seconds": 1.0,
    "max_seconds": 60.0,
    "max_error_rate": 0.01,
    "max_latency_ratio": 2.0,
}
LIMITS = {
    "min_f1": 0.5,
    "min_precision": 0.0,
    "min_recall": 0.0,
    "min_label_f1": {"person": 0.4},
    "max_regression": 0.0,
    "protected_labels": ["person"],
    "max_p95_ms": 0.0,
    "max_size_mb": 0.0,
    "force": False,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Steps that take what their signature allows, note it, and do nothing."""
    found: list[tuple[str, dict[str, Any]]] = []

    def noting(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(run)

        def note(*args: Any, **kwargs: Any) -> Any:
            found.append((name, dict(signature.bind(*args, **kwargs).arguments)))
            return {"register": 3, "review": "approved", "roll_out": "promoted"}.get(
                name, _Verdict()
            )

        return note

    for name in (
        *("fetch_data", "candidate", "train", "evaluate", "optimise"),
        *("register", "gate", "review", "roll_out", "notify"),
    ):
        module = import_module(f"pipeline.steps.{name}")
        monkeypatch.setattr(module, "run", noting(name, module.run))
    return found


class _Verdict:
    accepted = False


def _artifact(path: Path) -> Any:
    return Artifact(name=path.name, uri=str(path), metadata={})


def test_data_is_fetched_for_evaluation(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    """The evaluation data goes where kfp says."""
    components.fetch_data.python_func(
        job="j",
        source="s",
        max_age_hours=1.0,
        min_examples=2,
        protected_labels=["person"],
        min_label_f1={"city": 0.5},
        data=_artifact(tmp_path / "d"),
    )

    [(name, given)] = calls
    assert name == "fetch_data"
    assert (tmp_path / "d", "eval", "j") == (given["out"], given["role"], given["job"])
    assert given["labels"] == ("person", "city")


def test_without_training_data_the_model_is_taken_as_it_is(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    """No data, no training."""
    _prepare(tmp_path, "")

    [(name, given)] = calls
    assert name == "candidate"
    assert ("embedded", tmp_path / "c") == (given["source"], given["out"])


def test_training_data_shares_nothing_with_the_evaluation_data(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    """It is fetched, held against the evaluation data, and trained on."""
    _prepare(tmp_path, "s3://data/train", {"epochs": 1.0, "seed": 3.0})

    [(_, fetched), (_, trained)] = calls
    assert ("train", tmp_path / "e") == (fetched["role"], fetched["disjoint_from"])
    assert fetched["out"] == trained["train"]
    assert TrainParameters(epochs=1, seed=3) == trained["parameters"]


def test_wrong_training_parameter_ends_in_one_line(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the parameter, and the exit code is that of a wrong setting."""
    with pytest.raises(SystemExit) as caught:
        _prepare(tmp_path, "s3://data/train", {"epoch": 1.0})

    assert caught.value.code == 2
    assert capsys.readouterr().out.startswith(
        "error 2: training parameter epoch: Extra inputs are not permitted; known are epochs, "
    )


def _prepare(folder: Path, train_data: str, training: dict[str, Any] | None = None) -> None:
    components.prepare.python_func(
        job="",
        model="embedded",
        train_data=train_data,
        training=training or {},
        max_age_hours=0.0,
        min_examples=1,
        evaluation=_artifact(folder / "e"),
        candidate=_artifact(folder / "c"),
    )


def test_measuring_steps_get_their_folders(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    """Optimise, evaluate and register hand folders to each other."""
    candidate, data, report = (_artifact(tmp_path / one) for one in ("c", "d", "r"))
    optimised = _artifact(tmp_path / "o")

    components.optimise.python_func(
        job="j", tolerance=0.01, candidate=candidate, data=data, optimised=optimised
    )
    components.evaluate.python_func(job="j", candidate=optimised, data=data, report=report)
    version = components.register.python_func(job="j", candidate=optimised, report=report)

    assert version == 3
    assert [name for name, _ in calls] == ["optimise", "evaluate", "register"]
    assert (tmp_path / "o", 0.01) == (calls[0][1]["out"], calls[0][1]["tolerance"])
    assert (tmp_path / "o", tmp_path / "r") == (calls[1][1]["candidate"], calls[1][1]["out"])
    assert (tmp_path / "o", tmp_path / "r") == (calls[2][1]["candidate"], calls[2][1]["report"])


def test_gate_gets_its_limits(calls: list[tuple[str, dict[str, Any]]], tmp_path: Path) -> None:
    """All of them arrive, and a verdict becomes a word that the graph branches on."""
    word = components.gate.python_func(
        job="j", version=3, report=_artifact(tmp_path / "r"), **LIMITS
    )

    [(_, given)] = calls
    wanted = {name: value for name, value in LIMITS.items() if name != "force"}
    assert word == "refused"
    assert GateLimits.parse(**wanted) == given["limits"]
    assert given["force"] is False


def test_rollout_gets_its_plan(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Numbers come out of kfp as floats and are whole again."""
    word = components.roll_out.python_func(job="j", version=3, **ROLLOUT)

    [(_, given)] = calls
    assert word == "promoted"
    assert given["plan"].steps == (10, 100)
    assert isinstance(given["plan"], Plan)


def test_review_hands_on_its_answer(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """The graph branches on the word."""
    assert components.review.python_func(job="j", version=3, mode="none") == "approved"
    assert calls[0][1]["mode"] == "none"


def test_notify_gets_the_end_of_the_run(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """State and error are kfp's."""
    status = PipelineTaskFinalStatus(
        state="FAILED",
        pipeline_job_resource_name="x",
        pipeline_task_name="t",
        error_code=1,
        error_message=None,
    )
    components.notify.python_func(job="j", status=status)

    assert calls == [("notify", {"job": "j", "state": "FAILED", "error": ""})]


@pytest.mark.parametrize("name", ["fetch_data", "prepare", "gate", "roll_out", "notify"])
def test_source_runs_alone(name: str) -> None:
    """kfp runs the text of a component by itself: it has no name of this module."""
    component = getattr(components, name)
    source = component.component_spec.implementation.container.command[-1]
    space: dict[str, Any] = {}

    exec(compile(source, name, "exec"), space)

    assert list(inspect.signature(component.python_func).parameters) == list(
        inspect.signature(space[name]).parameters
    )


def test_every_component_goes_through_an_attempt() -> None:
    """One that called its step directly would end in a traceback."""
    source = inspect.getsource(components)

    assert source.count("from pipeline.runs import attempt\n") == source.count("@component\n")
