"""The predictor that a rollout on one machine moves: whether it is there, and what starts it."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import canned
import pytest
import rollouts
from rollouts import World

from pipeline.errors import NotServing, PipelineError, Unavailable
from pipeline.local.process import free_port
from pipeline.registry import Registry, Tag, Version
from pipeline.rollout.follower import Follower
from pipeline.rollout.local import Local
from pipeline.rollout.plan import Plan
from pipeline.settings import Settings
from pipeline.steps import roll_out

pytestmark = pytest.mark.server

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def champion(settings: Settings, tmp_path: Path) -> Version:
    """Version 1, which should serve; version 2 is there as well."""
    number = rollouts.first_champion(settings, tmp_path / "golden", World(), OLD)
    rollouts.register(settings, tmp_path / "golden", NEW)
    found = Registry(settings).version(number)
    assert found is not None
    return found


@pytest.fixture
def alone(settings: Settings) -> Settings:
    """Settings that lead to no predictor."""
    return settings.model_copy(update={"predictor_url": f"http://127.0.0.1:{free_port()}"})


@pytest.mark.parametrize("number", [1, 2])
def test_no_predictor_beside_a_champion(number: int, champion: Version, alone: Settings) -> None:
    """It is said at once with what starts one, and nothing is begun."""
    began = time.monotonic()

    with pytest.raises(Unavailable, match=r"no predictor answers at .* --model models:/ner-"):
        roll_out.run(number, job=f"job-{number}", plan=Plan(), settings=alone)

    assert time.monotonic() - began < 20
    assert Tag.ROLLOUT not in rollouts.tags(Registry(alone), 2)
    assert rollouts.history(Registry(alone), 2) == []


def test_no_predictor_before_the_first_champion(alone: Settings) -> None:
    """One that waits for it does not listen yet, so none need answer."""
    Local(alone).check(None)


def test_nobody_comes(champion: Version, alone: Settings) -> None:
    """Who has forgotten to start a predictor is told how."""
    backend = Local(alone, ready_seconds=0.1)

    with pytest.raises(NotServing, match=r"start one with `MLFLOW_TRACKING_URI=http://127.0.0.1:"):
        backend.promote(champion)
    with pytest.raises(NotServing):
        backend.start(champion, champion)


def test_a_predictor_that_went_away_is_missed(champion: Version, settings: Settings) -> None:
    """One that was there when the rollout began is more than nobody."""
    following = {"source": f"models:/{settings.model_name}@champion"}
    config = {"model": {"digest": NEW}, "following": following}
    with canned.server({"/api/v1/config": canned.Answer(body=config)}) as (url, _):
        backend = Local(settings.model_copy(update={"predictor_url": url}), ready_seconds=0.1)
        backend.check(None)

    with pytest.raises(Unavailable) as raised:
        backend.promote(champion)

    assert not isinstance(raised.value, NotServing)


def test_a_predictor_that_follows_nothing(champion: Version, settings: Settings) -> None:
    """A predictor with a model of its own cannot be moved by an alias, also not to a first one."""
    with rollouts.running(World(stable="c" * 64)) as world:
        stays = settings.model_copy(update={"predictor_url": f"{world.url}/public"})
        backend = Local(stays)

        for before in (None, champion):
            with pytest.raises(PipelineError, match=r"follows nothing and not models:/ner-.*@cham"):
                backend.check(before)
        with pytest.raises(PipelineError, match="stop it and start `MLFLOW_TRACKING_URI="):
            backend.start(champion, champion)


def test_what_is_said_can_be_pasted_into_a_shell() -> None:
    """Whatever characters the settings have."""
    follower = Follower(
        Settings(
            model_name="it's mine",
            tracking_uri="http://127.0.0.1:5000/a b?c&d",
            predictor_url="http://127.0.0.1:9000/",
        )
    )

    assert shlex.split(follower.command) == [
        "MLFLOW_TRACKING_URI=http://127.0.0.1:5000/a b?c&d",
        "GLINER_WAIT_SECONDS=3600",
        *(sys.executable, "-m", "predictor"),
        *("--model", "models:/it's mine@champion", "--http_port", "9000"),
    ]
