"""`python -m pipeline rollback`, on a real MLflow server and a local Slack."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from pathlib import Path

import pytest
import rollouts
from rollouts import Backend, World
from slack_server import Slack

from pipeline.__main__ import main
from pipeline.registry import Registry, Tag
from pipeline.rollout import controller
from pipeline.rollout.plan import Plan
from pipeline.runs.local import environment
from pipeline.settings import Settings
from pipeline.steps import roll_out

pytestmark = pytest.mark.server

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def world(
    settings: Settings,
    slack: Slack,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """Version 2 serves, in the place of version 1."""
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIPELINE_SLACK_WEBHOOK_URL", slack.url)
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    with rollouts.running(World()) as found:
        monkeypatch.setattr(roll_out, "backend", lambda settings: Backend(found))
        rollouts.first_champion(settings, tmp_path / "golden", found, OLD)
        number = rollouts.register(settings, tmp_path / "golden", NEW)
        plan = Plan(steps=(100,), min_requests=4, hold_seconds=0, max_seconds=5)
        controller.roll_out(number, registry, Backend(found), plan)
        yield found


def test_slack_hears_who_rolled_back(world: World, slack: Slack, registry: Registry) -> None:
    """As of a rollback that nobody asked for, with the reason and the version that serves now."""
    code = main(["rollback", "--reason", "callers complain"])

    assert (code, world.stable) == (0, OLD)
    assert slack.titles == [f":rewind: {registry.name} version 2 was rolled back by ada"]
    assert "Reason: callers complain" in slack.shown()
    assert rollouts.tags(registry, 2)[Tag.ROLLED_BACK_BY] == "ada"


def test_going_back_to_what_serves_is_told_to_nobody(world: World, slack: Slack) -> None:
    """Nothing was rolled back."""
    assert main(["rollback", "--to", "2"]) == 0

    assert (world.stable, slack.taken) == (NEW, [])
