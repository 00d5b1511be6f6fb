"""The compiled graphs: what is committed is what the source says, and every step has its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import graph, parameters
from pipeline.settings import Settings

GRAPHS = ("refresh", "rollout")
STEPS = {"fetch-data", "prepare", "evaluate", "optimise", "register", "gate", "review", "roll-out"}


def _documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec, platform = yaml.safe_load_all((parameters.COMPILED / f"{name}.yaml").read_text("utf-8"))
    return spec, platform["platforms"]["kubernetes"]


@pytest.fixture(scope="module", params=GRAPHS)
def compiled(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """A committed graph, and its part for Kubernetes."""
    return _documents(request.param)


def _tasks(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """All tasks that run a step, at whatever depth."""
    steps = {name for name, one in spec["components"].items() if "executorLabel" in one}
    dags = (spec["root"], *spec["components"].values())
    return {
        name: task
        for one in dags
        for name, task in one.get("dag", {}).get("tasks", {}).items()
        if task["componentRef"]["name"] in steps
    }


def test_committed_graphs_are_those_of_the_source(tmp_path: Path) -> None:
    """Compiling again gives the same bytes; else run `python -m pipeline compile`."""
    graph.compile_all(tmp_path)

    for name in GRAPHS:
        committed = (parameters.COMPILED / f"{name}.yaml").read_text("utf-8")
        assert committed == (tmp_path / f"{name}.yaml").read_text("utf-8")


def test_names_are_short_enough_for_argo() -> None:
    """Argo makes longer names of them, and Kubernetes has a limit."""
    for name in GRAPHS:
        spec, _ = _documents(name)

        assert len(spec["pipelineInfo"]["name"]) <= 22
        assert all(len(task) <= 22 for task in _tasks(spec))


def test_steps_of_the_refresh_graph() -> None:
    """All steps are there, and the rollout is behind gate and review."""
    spec, _ = _documents("refresh")
    components = spec["components"]

    assert STEPS | {"notify"} == set(_tasks(spec))
    accepted = components["comp-exit-handler-1"]["dag"]["tasks"]["condition-2"]
    assert (
        "['pipelinechannel--gate-Output'] == 'accepted'" in accepted["triggerPolicy"]["condition"]
    )
    approved = components["comp-condition-2"]["dag"]["tasks"]["condition-3"]
    assert (
        "['pipelinechannel--review-Output'] == 'approved'" in approved["triggerPolicy"]["condition"]
    )
    assert {"roll-out"} == set(components["comp-condition-3"]["dag"]["tasks"])


def test_what_is_measured_is_what_is_registered() -> None:
    """The engine is chosen before: limits are held against the one that will serve."""
    spec, _ = _documents("refresh")
    tasks = _tasks(spec)

    taken = {
        name: tasks[name]["inputs"]["artifacts"]["candidate"]["taskOutputArtifact"]["producerTask"]
        for name in ("optimise", "evaluate", "register")
    }
    assert taken == {"optimise": "prepare", "evaluate": "optimise", "register": "optimise"}


def test_notify_runs_however_the_run_ended(
    compiled: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """It is the exit handler, and is told how the run ended."""
    spec, _ = compiled
    notify = spec["root"]["dag"]["tasks"]["notify"]

    assert notify["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    assert "taskFinalStatus" in notify["inputs"]["parameters"]["status"]


def test_every_step_knows_its_run(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """All steps share one MLflow run, which they find by Kubeflow's run id."""
    spec, _ = compiled

    jobs = {
        task["inputs"]["parameters"]["job"]["runtimeValue"]["constant"]
        for task in _tasks(spec).values()
    }
    assert {"{{$.pipeline_job_uuid}}"} == jobs


def test_nothing_is_cached(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """No step is a function of its inputs alone."""
    spec, _ = compiled

    assert not any(
        task.get("cachingOptions", {}).get("enableCache") for task in _tasks(spec).values()
    )


def test_every_step_is_tried_again_with_pauses(
    compiled: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """A pod that is lost is no end of a run."""
    spec, _ = compiled

    for task in _tasks(spec).values():
        retry = task["retryPolicy"]
        assert 0 < retry["maxRetryCount"] <= 3
        assert retry["backoffDuration"] > "0s"
        assert retry["backoffFactor"] > 1
        assert "backoffMaxDuration" in retry


def test_every_step_has_limits_and_one_image(
    compiled: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """CPU and memory are asked for and bounded, and nothing is installed at run time."""
    spec, _ = compiled
    executors = spec["deploymentSpec"]["executors"]

    assert len({one["container"]["image"] for one in executors.values()}) == 1
    for one in executors.values():
        wanted = one["container"]["resources"]
        assert {"resourceCpuLimit", "resourceMemoryLimit"} <= set(wanted)
        assert {"resourceCpuRequest", "resourceMemoryRequest"} <= set(wanted)
        assert "pip install" not in " ".join(one["container"]["command"])


def test_every_step_and_the_run_have_a_deadline(
    compiled: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    """The run's is the SLA: longer than that of any step."""
    spec, platform = compiled
    executors = platform["deploymentSpec"]["executors"]
    run = int(platform["pipelineConfig"]["activeDeadlineSeconds"])

    assert set(spec["deploymentSpec"]["executors"]) == set(executors)
    assert all(0 < int(one["activeDeadlineSeconds"]) < run for one in executors.values())
    assert platform["pipelineConfig"]["resourceTtlOnCompletion"] > 0


def test_secrets_are_names_alone(compiled: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Keys come from Secrets: only the steps that send messages know Slack's address, and only
    rollouts the predictor's key."""
    spec, platform = compiled
    executors = platform["deploymentSpec"]["executors"]
    names = {
        step: {secret["secretName"] for secret in one["secretAsEnv"]}
        for step, one in executors.items()
    }

    assert all("gliner-s3" in one for one in names.values())
    told = {step for step, one in names.items() if "gliner-slack" in one}
    assert {"exec-notify", "exec-review"} & set(executors) == told
    assert {"exec-roll-out"} == {step for step, one in names.items() if "gliner-api-key" in one}
    assert "hooks.slack.com" not in str(spec)


def test_config_map_has_only_known_variables() -> None:
    """A key that no setting reads would be one that somebody sets in vain."""
    ours = {one for one in graph.CONFIG if one.startswith("PIPELINE_")}

    assert {one.removeprefix("PIPELINE_").lower() for one in ours} <= set(Settings.model_fields)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_parameter_is_described(name: str) -> None:
    """The command line shows these texts."""
    missing = [one.name for one in parameters.of(name) if len(one.description) < 10]

    assert not missing


def test_both_graphs_roll_out_alike() -> None:
    """A version that waited for its review is rolled out as one that did not have to."""
    refresh = {one.name: one for one in parameters.of("refresh")}
    rollout = {one.name: one for one in parameters.of("rollout") if one.name != "version"}

    assert rollout == {name: refresh[name] for name in rollout}


def test_only_the_data_has_to_be_named() -> None:
    """All else has a default that suits a cluster: a review is required."""
    found = {one.name: one.default for one in parameters.of("refresh")}

    assert [name for name, default in found.items() if default is None] == ["eval_data"]
    assert found["review"] == "required"
    assert found["force"] is False
