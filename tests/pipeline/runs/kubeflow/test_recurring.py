"""Scheduling, with kfp's real client against Kubeflow's API."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from kubeflow_api import Kubeflow

from pipeline.errors import SettingsError, Unavailable
from pipeline.runs import kubeflow, recurring
from pipeline.runs.recurring import Cron
from pipeline.settings import Settings

ARGUMENTS = {"eval_data": "s3://data/eval"}


def test_schedule_is_daily_and_comes_once(server: Kubeflow, settings: Settings) -> None:
    """Creating it twice changes nothing."""
    first = recurring.schedule(recurring.DAILY, ARGUMENTS, settings)
    before = dict(server.recurring_runs)
    second = recurring.schedule(recurring.DAILY, ARGUMENTS, settings)

    [made] = server.recurring_runs.values()
    assert made["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * *"
    assert (made["mode"], made["no_catchup"], made["max_concurrency"]) == ("ENABLE", True, "1")
    assert first[0] == "gliner-refresh: created"
    assert second[0] == "gliner-refresh: unchanged"
    assert before == server.recurring_runs


def test_changed_schedule_replaces_the_old_one(server: Kubeflow, settings: Settings) -> None:
    """One recurring run is left, enabled, and the lines say what is otherwise."""
    recurring.schedule("0 3 * * *", ARGUMENTS, settings)
    lines = recurring.schedule("30 2 * * 1-5", {**ARGUMENTS, "min_f1": 0.8}, settings)

    [made] = server.recurring_runs.values()
    assert made["mode"] == "ENABLE"
    assert lines[:3] == [
        "gliner-refresh: changed",
        "  cron: 0 0 3 * * * → 0 30 2 * * 1-5",
        "  min_f1: (default) → 0.8",
    ]


def test_new_one_is_enabled_after_the_old_one_is_gone(server: Kubeflow, settings: Settings) -> None:
    """At no moment do two run."""
    recurring.schedule("0 3 * * *", ARGUMENTS, settings)
    server.requests.clear()
    recurring.schedule("0 4 * * *", ARGUMENTS, settings)

    changes = [
        one.partition("/apis/v2beta1/")[2].partition(":")[2] or one.split()[0]
        for one in server.requests
        if "recurringruns" in one and not one.startswith("GET")
    ]
    assert changes == ["POST", "DELETE", "enable"]


@pytest.mark.parametrize(("method", "path"), [("DELETE", "recurring"), ("POST", ":enable")])
def test_schedule_that_was_interrupted_is_finished(
    server: Kubeflow, settings: Settings, method: str, path: str
) -> None:
    """Killed when the new one was made or the old one deleted: the next call ends it."""
    recurring.schedule("0 3 * * *", ARGUMENTS, settings)
    server.fail(method, path, 500, times=9)
    with pytest.raises(Unavailable):
        recurring.schedule("0 4 * * *", ARGUMENTS, settings)
    server.faults.clear()
    recurring.schedule("0 4 * * *", ARGUMENTS, settings)

    [made] = server.recurring_runs.values()
    assert made["mode"] == "ENABLE"
    assert made["trigger"]["cron_schedule"]["cron"] == "0 0 4 * * *"


def test_lost_answer_makes_no_second_schedule(server: Kubeflow, settings: Settings) -> None:
    """The recurring run was made and the answer lost: it is found."""
    server.fail("POST", "/recurringruns$", late=True)

    recurring.schedule("0 3 * * *", ARGUMENTS, settings)

    assert len(server.recurring_runs) == 1


def test_duplicates_are_cleared(server: Kubeflow, settings: Settings) -> None:
    """However many of its name there are, on however many pages, one is left."""
    recurring.schedule("0 3 * * *", ARGUMENTS, settings)
    [made] = server.recurring_runs.values()
    for number in range(4):
        server.recurring_runs[str(number)] = {**made, "recurring_run_id": str(number)}
    server.recurring_runs["other"] = {**made, "recurring_run_id": "other", "display_name": "other"}

    recurring.schedule("0 3 * * *", ARGUMENTS, settings)

    assert sorted(one["display_name"] for one in server.recurring_runs.values()) == [
        "gliner-refresh",
        "other",
    ]


def test_diff_changes_nothing(server: Kubeflow, settings: Settings) -> None:
    """What would be is said, and only reading requests are sent."""
    created = kubeflow.schedule("0 3 * * *", ARGUMENTS, settings, only_show=True)
    recurring.schedule("0 3 * * *", ARGUMENTS, settings)
    server.requests.clear()
    changed = kubeflow.schedule("0 4 * * *", ARGUMENTS, settings, only_show=True)

    assert created[0] == "gliner-refresh: would be created"
    assert changed[0] == "gliner-refresh: would be changed"
    assert changed[1] == "  cron: 0 0 3 * * * → 0 0 4 * * *"
    assert server.count("^(POST|DELETE)") == 0


def test_new_graph_is_a_change(server: Kubeflow, settings: Settings) -> None:
    """A schedule goes on with the graph that it was made with, so another graph replaces it."""
    recurring.schedule("0 3 * * *", ARGUMENTS, settings)
    other = settings.model_copy(update={"image": "steps:2"})
    lines = recurring.schedule("0 3 * * *", ARGUMENTS, other)

    assert lines[0] == "gliner-refresh: changed"
    assert lines[1].startswith("  graph: ")
    assert len(server.recurring_runs) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 3 * *", "has 4 fields"),
        ("@daily", "has 1 fields"),
        ("61 3 * * *", "61"),
        ("0 3 L * *", "does not understand 'L'"),
        ("0 3 * * 7", "0 (Sunday) to 6"),
        ("H H * * *", "does not understand 'H'"),
    ],
)
def test_wrong_cron_is_one_line(text: str, said: str) -> None:
    """What Kubeflow would refuse, or take in another way, is refused here."""
    with pytest.raises(SettingsError) as caught:
        Cron.parse(text)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_next_times() -> None:
    """Five fields become six, and the next times are theirs."""
    cron = Cron.parse("30 2 * * MON-FRI")
    times = cron.next(3, datetime(2026, 1, 2, 12, tzinfo=timezone.utc))

    assert cron.text == "0 30 2 * * MON-FRI"
    assert [f"{one:%a %H:%M}" for one in times] == ["Mon 02:30", "Tue 02:30", "Wed 02:30"]
