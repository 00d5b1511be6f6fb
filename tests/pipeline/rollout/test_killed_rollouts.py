"""Rollouts whose process ends at any point, and what the next run makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import registered
import rollouts
from mlflow import MlflowClient
from rollouts import ENTITY, Backend, Manner, World

from pipeline.registry import Registry, Tag
from pipeline.rollout import controller
from pipeline.rollout.move import Outcome
from pipeline.rollout.plan import Plan
from pipeline.settings import Settings

pytestmark = pytest.mark.slow

OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """MLflow's own store, without its server between: these tests call it thousands of times."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri, uri).create_experiment("ner", artifact_location=folder.as_uri())
    settings = Settings().model_copy(
        update={"tracking_uri": uri, "model_name": "ner", "experiment": "ner", "home": folder}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)  # the store asks a client of its own
        yield settings


def roll_out(number: int, registry: Registry, backend: Backend) -> Outcome:
    return controller.roll_out(number, registry, backend, ONE_STEP, report=lambda text: None)


def roll_back(registry: Registry, backend: Backend) -> Outcome:
    return controller.roll_back(registry, backend, None, "by hand", report=lambda text: None)


def serving(registry: Registry) -> int | None:
    champion = registry.champion()
    return champion.number if champion else None


class Killed(BaseException):
    """The process ends here."""


class Life:
    """Ends at a given call: what was called has happened, and nothing happens after."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, call: Any, *arguments: Any) -> Any:
        if self.left <= 0:
            raise Killed
        result = call(*arguments)
        self.left -= 1
        if self.left == 0:
            raise Killed
        return result


class Mortal(Backend):
    """A backend that a process with this life uses."""

    def __init__(self, world: World, life: Life) -> None:
        super().__init__(world)
        self.life = life

    def start(self, *arguments: Any) -> None:
        self.life(super().start, *arguments)

    def step(self, *arguments: Any) -> None:
        self.life(super().step, *arguments)

    def promote(self, *arguments: Any) -> None:
        self.life(super().promote, *arguments)

    def roll_back(self, *arguments: Any) -> None:
        self.life(super().roll_back, *arguments)


def mortal(settings: Settings, life: Life) -> Registry:
    """A registry whose every single write may be the process's last."""
    registry = Registry(settings)
    for name in (
        "set_model_version_tag",
        "set_registered_model_alias",
        "delete_registered_model_alias",
    ):
        call = getattr(registry.client, name)
        setattr(registry.client, name, lambda *given, call=call: life(call, *given))
    return registry


ONE_STEP = Plan(steps=(100,), min_requests=1, hold_seconds=0, max_seconds=5)


def consistent(registry: Registry, world: World, serves: int, other: int) -> None:
    """Alias, tags and backend name the same version, and all of them whole."""
    digests = {1: OLD, 2: NEW}
    assert serving(registry) == serves
    assert (world.stable, world.canary) == (digests[serves], "")
    assert rollouts.tags(registry, serves)[Tag.STATUS] == "champion"
    assert rollouts.tags(registry, other).get(Tag.STATUS) in ("retired", "rolled_back")
    assert rollouts.tags(registry, 2)[Tag.ROLLOUT] in ("promoted", "rolled_back")
    assert not world.held.locked()


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_killed_after_every_call_and_run_again(good: bool, store: Settings, tmp_path: Path) -> None:
    """Wherever a rollout is killed, the next run ends where an undisturbed one would."""
    for calls in count(1):
        fresh = store.model_copy(update={"model_name": f"model-{uuid4().hex[:8]}"})
        with rollouts.running(World()) as world:
            rollouts.first_champion(fresh, tmp_path / "golden", world, OLD)
            rollouts.register(fresh, tmp_path / "golden", NEW)
            registered.point(fresh, 2, "challenger")
            world.manners[NEW] = Manner(entities=[ENTITY] if good else [])
            life = Life(calls)
            try:
                roll_out(2, mortal(fresh, life), Mortal(world, life))
            except Killed:
                pass
            else:
                break
            registry = Registry(fresh)

            outcome = roll_out(2, registry, Backend(world))

            assert outcome.state in (("promoted", "unchanged") if good else ("rolled_back",)), calls
            consistent(registry, world, *((2, 1) if good else (1, 2)))
            assert registry.challenger() is None
            history = rollouts.history(registry, 2)
            assert history.count("rollout promoted") == good, calls
            assert sum(line.startswith("champion:") for line in history) == good, calls
            assert history[-1].startswith("rollout promoted" if good else "rolled back: golden")
    assert calls > 12


def test_a_killed_roll_back_is_completed(store: Settings, tmp_path: Path) -> None:
    """Wherever `rollback` is killed once it has begun, the next rollout completes it first."""
    for calls in count(4):  # before, it has not said what it wants
        fresh = store.model_copy(update={"model_name": f"model-{uuid4().hex[:8]}"})
        with rollouts.running(World()) as world:
            rollouts.first_champion(fresh, tmp_path / "golden", world, OLD)
            rollouts.register(fresh, tmp_path / "golden", NEW)
            registry = Registry(fresh)
            roll_out(2, registry, Backend(world))
            life = Life(calls)
            try:
                roll_back(mortal(fresh, life), Mortal(world, life))
            except Killed:
                pass
            else:
                break

            outcome = roll_out(1, registry, Backend(world))

            assert outcome.state == "unchanged", calls
            consistent(registry, world, 1, 2)
            assert rollouts.history(registry, 2).count("rolled back: by hand") == 1
    assert calls > 8


def test_roll_back_undoes_what_a_killed_rollout_left(store: Settings, tmp_path: Path) -> None:
    """After a kill the operator's one command leads to the old champion and no further."""
    registry = Registry(store)
    with rollouts.running(World()) as world:
        rollouts.first_champion(store, tmp_path / "golden", world, OLD)
        rollouts.register(store, tmp_path / "golden", NEW)
        life = Life(7)
        with pytest.raises(Killed):
            roll_out(2, mortal(store, life), Mortal(world, life))
        assert world.canary == NEW

        outcome = roll_back(registry, Backend(world))

        assert (outcome.state, outcome.version, outcome.champion) == ("rolled_back", 2, 1)
        consistent(registry, world, 1, 2)
