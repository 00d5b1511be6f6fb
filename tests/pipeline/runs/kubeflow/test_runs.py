"""Uploading and running, with kfp's real client against Kubeflow's API."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kubeflow_api import Kubeflow
from rich.console import Console

from pipeline.errors import PipelineError, SettingsError, Unavailable
from pipeline.local.process import Process, free_port
from pipeline.registry import Registry
from pipeline.runs import connection, kubeflow, outcome, recurring
from pipeline.runs.outcome import Outcome
from pipeline.settings import Settings

ARGUMENTS = {"eval_data": "s3://data/eval"}


def _shown(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_second_upload_changes_nothing(server: Kubeflow, settings: Settings) -> None:
    """The version's name is the hash of its content, so it is found again."""
    first = kubeflow.upload(settings)
    second = kubeflow.upload(settings)

    assert all(line.endswith("uploaded") for line in first)
    assert all(line.endswith("is there already") for line in second)
    assert [one["display_name"] for one in server.pipelines.values()] == [
        "gliner-refresh",
        "gliner-rollout",
    ]
    assert len(server.versions) == 2


def test_another_image_is_another_version(server: Kubeflow, settings: Settings) -> None:
    """The image that the settings name takes the place of the compiled one in every step."""
    kubeflow.upload(settings)
    kubeflow.upload(settings.model_copy(update={"image": "registry.example.com/steps:2"}))

    specs = [one["pipeline_spec"]["pipeline_spec"] for one in server.versions.values()]
    images = [
        {one["container"]["image"] for one in spec["deploymentSpec"]["executors"].values()}
        for spec in specs
    ]
    assert sum(one == {"registry.example.com/steps:2"} for one in images) == 2
    assert len(images) == 4


def test_upload_finds_what_another_made_meanwhile(server: Kubeflow, settings: Settings) -> None:
    """A name that is taken just then (409) is looked up again."""
    server.fail("POST", "/pipelines$", 409, late=True)
    server.fail("POST", "upload_version", 409, late=True)

    lines = kubeflow.upload(settings)

    assert len(lines) == 2
    assert len(server.versions) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_throttled_reads_are_asked_again(server: Kubeflow, settings: Settings, status: int) -> None:
    """A server that is busy for a moment is no reason to fail."""
    server.fail("GET", "healthz", status)
    server.fail("GET", "/pipelines", status)

    assert len(kubeflow.upload(settings)) == 2


def test_throttled_creation_is_asked_again(server: Kubeflow, settings: Settings) -> None:
    """429 says that nothing was done, so that a POST may be sent again."""
    server.fail("POST", "/runs", 429)

    assert kubeflow.run("refresh", ARGUMENTS, settings, wait=False) == 0
    assert len(server.runs) == 1


def test_lost_answer_starts_no_second_run(server: Kubeflow, settings: Settings) -> None:
    """The run was started and the answer lost: it is found by its name."""
    server.fail("POST", "/runs", late=True)

    run_id, _ = kubeflow.start("rollout", {"version": 3}, settings, "rollout-v3-abc")

    assert [run_id] == list(server.runs)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 500, "times": 9}, "does not answer: told to fail (500)"),
        ({"status": 0, "times": 9}, "does not answer"),
        ({"delay": 2, "times": 9}, "does not answer"),
    ],
)
def test_server_that_is_down_is_one_line(
    server: Kubeflow, settings: Settings, fault: dict[str, Any], said: str
) -> None:
    """Errors, dropped connections and silence end with exit code 7, within the time limit."""
    server.fail("GET", "/pipelines", **fault)
    hasty = settings.model_copy(update={"http_timeout_seconds": 0.5, "http_retries": 1})

    with pytest.raises(Unavailable) as caught:
        kubeflow.upload(hasty)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_listens(settings: Settings) -> None:
    """An address without a server says so at once."""
    nowhere = settings.model_copy(update={"kfp_host": "http://127.0.0.1:9", "http_retries": 0})

    with pytest.raises(Unavailable, match=r"Kubeflow at http://127\.0\.0\.1:9 does not answer"):
        kubeflow.upload(nowhere)


def test_token_of_a_file_is_read_anew(server: Kubeflow, settings: Settings, tmp_path: Path) -> None:
    """The kubelet renews it while the service runs; a file that is not there is said to be so."""
    file = tmp_path / "token"
    file.write_text("first")
    mine = Settings(**{**settings.model_dump(), "kfp_token_file": str(file)})
    server.token = "first"
    client = connection.connect(mine)
    file.write_text("second")
    server.token = "second"

    assert kubeflow.experiment_id(client, mine)
    file.unlink()
    with pytest.raises(SettingsError, match="PIPELINE_KFP_TOKEN_FILE"):
        connection.connect(mine)


def test_token_is_sent_and_never_shown(server: Kubeflow, settings: Settings) -> None:
    """The right token is let in; a wrong one is refused in a line that does not hold it."""
    server.token = "right"
    right = Settings(**{**settings.model_dump(), "kfp_token": "right"})
    wrong = Settings(**{**settings.model_dump(), "kfp_token": "wrong-secret"})

    kubeflow.upload(right)
    with pytest.raises(PipelineError, match="PIPELINE_KFP_TOKEN") as caught:
        kubeflow.upload(wrong)

    assert "wrong-secret" not in str(caught.value)


def test_runs_of_several_users_need_their_namespace(server: Kubeflow, settings: Settings) -> None:
    """Where Kubeflow serves several users, everything goes into the namespace of the settings."""
    server.multi_user = True
    ours = settings.model_copy(update={"kfp_namespace": "team"})

    with pytest.raises(PipelineError, match="Namespace is required"):
        kubeflow.run("refresh", ARGUMENTS, settings, wait=False)
    kubeflow.run("refresh", ARGUMENTS, ours, wait=False)
    recurring.schedule("0 3 * * *", ARGUMENTS, ours)

    assert next(iter(server.experiments.values()))["namespace"] == "team"
    assert len(server.recurring_runs) == 1


def test_run_carries_its_arguments(server: Kubeflow, settings: Settings) -> None:
    """Arguments, service account and version arrive as given."""
    ours = settings.model_copy(update={"kfp_service_account": "gliner-pipeline"})

    kubeflow.run("refresh", {**ARGUMENTS, "min_f1": 0.8}, ours, wait=False)

    [run] = server.runs.values()
    assert run["runtime_config"]["parameters"] == {"eval_data": "s3://data/eval", "min_f1": 0.8}
    assert run["service_account"] == "gliner-pipeline"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"eval_dta": "x"}, "the graph refresh has no parameter eval_dta"),
        ({}, "the graph refresh needs a value for eval_data"),
    ],
)
def test_wrong_argument_is_refused_before_anything_starts(
    server: Kubeflow, settings: Settings, arguments: dict[str, Any], said: str
) -> None:
    """A mistake in the arguments is found here and not by a pod."""
    with pytest.raises(SettingsError, match=said):
        kubeflow.start("refresh", arguments, settings, "name")

    assert not server.runs


@pytest.mark.parametrize(
    ("state", "came_to", "code", "said"),
    [
        ("SUCCEEDED", Outcome("promoted", version=3), 0, "refresh: promoted, version 3"),
        ("SUCCEEDED", Outcome("refused", "F1 0.4"), 4, "refresh: refused: F1 0.4"),
        ("SUCCEEDED", Outcome("rolled_back", "slow"), 5, "refresh: rolled back: slow"),
        ("FAILED", Outcome("failed", "no data"), 1, "refresh: failed: no data"),
        ("CANCELED", Outcome(), 1, "refresh: was cancelled"),
    ],
)
def test_following_shows_steps_and_ends_with_the_outcome(
    server: Kubeflow,
    settings: Settings,
    console: Console,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    came_to: Outcome,
    code: int,
    said: str,
) -> None:
    """Each change of a step is a line, Kubeflow's own tasks are not, and the exit code tells."""
    monkeypatch.setattr(outcome, "of", lambda _job, _settings: came_to)
    server.states = [
        {"state": "PENDING"},
        _tasks("RUNNING", evaluate="RUNNING", **{"evaluate-driver": "SUCCEEDED"}),
        _tasks("RUNNING", evaluate="SUCCEEDED", register="RUNNING"),
        _tasks(state, evaluate="SUCCEEDED", register=state),
    ]

    result = kubeflow.run("refresh", ARGUMENTS, settings, console=console)

    lines = _shown(console).splitlines()
    assert code == result
    assert said == lines[-1]
    assert lines[1:4] == ["  evaluate: running", "  evaluate: succeeded", "  register: running"]
    assert "driver" not in _shown(console)


def test_what_mlflow_does_not_tell_is_no_success(
    server: Kubeflow, settings: Settings, console: Console
) -> None:
    """The run may have been refused or rolled back: nobody knows here."""
    server.states = [_tasks("SUCCEEDED", evaluate="SUCCEEDED")]
    down = f"http://127.0.0.1:{free_port()}"
    blind = settings.model_copy(update={"tracking_uri": down})

    code = kubeflow.run("refresh", ARGUMENTS, blind, console=console)

    assert code == Unavailable.exit_code
    last = _shown(console).splitlines()[-1]
    assert last.startswith(f"refresh: succeeded: what it came to is not known: MLflow at {down}")


@pytest.mark.server
def test_another_mlflow_than_that_of_the_steps_is_named(
    server: Kubeflow, settings: Settings, console: Console, mlflow_server: Process
) -> None:
    """A run that it does not know is no success either, and is not made there."""
    server.states = [_tasks("SUCCEEDED", evaluate="SUCCEEDED")]
    update = {"tracking_uri": mlflow_server.url, "experiment": f"other-{uuid4().hex[:8]}"}
    other = settings.model_copy(update=update)

    code = kubeflow.run("refresh", ARGUMENTS, other, console=console)

    assert code == PipelineError.exit_code
    assert f"MLflow at {mlflow_server.url} has no run of " in _shown(console)
    assert "PIPELINE_TRACKING_URI" in _shown(console)
    assert Registry(other).client.get_experiment_by_name(other.experiment) is None


def test_same_name_is_started_once(server: Kubeflow, settings: Settings) -> None:
    """A second start finds the first run; one that failed does not count."""
    first, new = kubeflow.start("rollout", {"version": 3}, settings, "rollout-v3-abc")
    again, known = kubeflow.start("rollout", {"version": 3}, settings, "rollout-v3-abc")
    server.runs[first]["state"] = "FAILED"
    third, _ = kubeflow.start("rollout", {"version": 3}, settings, "rollout-v3-abc")

    assert (first, True, False) == (again, new, known)
    assert first != third


def test_address_is_asked_for() -> None:
    """Without an address the line says where to put one."""
    with pytest.raises(SettingsError, match="PIPELINE_KFP_HOST"):
        connection.connect(Settings())


def _tasks(state: str, **tasks: str) -> dict[str, Any]:
    details = [{"display_name": name, "state": one} for name, one in tasks.items()]
    return {"state": state, "run_details": {"task_details": details}}
