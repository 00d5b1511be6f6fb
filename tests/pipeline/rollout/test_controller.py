"""Rollouts against a backend in memory, with a real registry and real HTTP between them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import registered
import rollouts
from rollouts import ENTITY, Backend, Manner, World

from pipeline.errors import NotServing, PipelineError, RolloutBusy, Unavailable
from pipeline.registry import Registry, Tag, Version
from pipeline.rollout import controller
from pipeline.rollout.move import Outcome
from pipeline.rollout.plan import Plan
from pipeline.settings import Settings

pytestmark = pytest.mark.server

OLD, NEW = "a" * 64, "b" * 64
QUICK = Plan(steps=(50, 100), min_requests=4, hold_seconds=0, max_seconds=5)


@pytest.fixture
def world() -> Iterator[World]:
    """Where versions serve."""
    with rollouts.running(World()) as started:
        yield started


@pytest.fixture
def champion(settings: Settings, tmp_path: Path, world: World) -> int:
    """Version 1, which serves."""
    return rollouts.first_champion(settings, tmp_path / "golden", world, OLD)


@pytest.fixture
def candidate(settings: Settings, tmp_path: Path, champion: int) -> int:
    """Version 2, which does not serve yet."""
    return rollouts.register(settings, tmp_path / "golden", NEW)


def roll_out(
    number: int, registry: Registry, backend: Backend, plan: Plan = QUICK, **options: Any
) -> Outcome:
    return controller.roll_out(number, registry, backend, plan, report=lambda text: None, **options)


def roll_back(registry: Registry, backend: Backend, to: int | None = None) -> Outcome:
    return controller.roll_back(
        registry, backend, to, "by hand", by="ada", report=lambda text: None
    )


def serving(registry: Registry) -> int | None:
    champion = registry.champion()
    return champion.number if champion else None


def _version(registry: Registry, number: int) -> Version:
    found = registry.version(number)
    assert found is not None
    return found


def test_a_good_candidate_is_promoted(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """Traffic moves step by step, then alias, tags and backend agree, and history tells it."""
    registered.point(registry.settings, candidate, "challenger")
    lines: list[str] = []

    outcome = controller.roll_out(candidate, registry, Backend(world), QUICK, report=lines.append)

    assert (outcome.state, outcome.champion) == ("promoted", candidate)
    assert world.calls == ["start 2", "step 50", "step 100", "promote 2"]
    assert (world.stable, world.canary) == (NEW, "")
    assert serving(registry) == candidate
    assert registry.challenger() is None
    tags = rollouts.tags(registry, candidate)
    assert (tags[Tag.STATUS], tags[Tag.ROLLOUT], tags[Tag.ROLLOUT_PREVIOUS]) == (
        "champion",
        "promoted",
        str(champion),
    )
    assert rollouts.tags(registry, champion)[Tag.STATUS] == "retired"
    history = rollouts.history(registry, candidate)
    assert history[0] == "rollout started: canary 50, 100 %, version 1 serves"
    assert history[1].startswith("rollout at 50 %: 4 requests, 0.0% errors, p95 ")
    assert history[2].startswith("rollout at 100 %: ")
    assert history[3:] == ["champion: promoted after 50, 100 %", "rollout promoted"]
    assert any("version 2 at 50 %: 4 requests" in line for line in lines)


def test_the_first_version_needs_no_champion(
    registry: Registry, settings: Settings, tmp_path: Path, world: World
) -> None:
    """Where nothing serves there is no traffic to share: it is brought up, checked and named."""
    number = rollouts.register(settings, tmp_path / "golden", NEW)

    outcome = roll_out(number, registry, Backend(world))

    assert (outcome.state, outcome.champion) == ("promoted", number)
    assert world.calls == ["start 1", "promote 1"]
    assert serving(registry) == number


def test_a_first_version_that_fails_leaves_nothing(
    registry: Registry, settings: Settings, tmp_path: Path, world: World
) -> None:
    """A first version that fails is taken away, and no alias names it."""
    number = rollouts.register(settings, tmp_path / "golden", NEW)
    world.manners[NEW] = Manner(entities=[])

    outcome = roll_out(number, registry, Backend(world))

    assert (outcome.state, outcome.champion) == ("rolled_back", None)
    assert (world.stable, serving(registry)) == ("", None)


@pytest.mark.parametrize(
    ("manner", "plan", "reason"),
    [
        (Manner(entities=[]), QUICK, "golden request 0 no longer gives its golden answer"),
        (Manner(entities=[{**ENTITY, "score": 0.8}]), QUICK, "scores 0.800, recorded was 0.900"),
        (Manner(status=lambda n: 500), QUICK, "golden request 0: HTTP 500"),
        # Golden answers are the first two requests of a step.
        (Manner(status=lambda n: 500 if n > 2 else 200), QUICK, "requests failed (HTTP 500)"),
        (
            Manner(seconds=0.15),
            QUICK.model_copy(update={"latency_floor_ms": 20, "golden": False}),
            "ms where the champion's is",
        ),
        (Manner(named=OLD), QUICK, f"the route led to {OLD[:12]}, not to {NEW[:12]}"),
        (Manner(named=""), QUICK, "a server that does not name its model"),
        (
            Manner(status=lambda n: 429 if n > 2 else 200),
            QUICK.model_copy(update={"max_seconds": 1}),
            "met a 429: the servers are at their limit",
        ),
    ],
    ids=[
        "golden",
        "score",
        "golden-500",
        "errors",
        "slow",
        "wrong-version",
        "unnamed",
        "throttled",
    ],
)
def test_a_bad_candidate_is_taken_back(
    manner: Manner,
    plan: Plan,
    reason: str,
    registry: Registry,
    world: World,
    champion: int,
    candidate: int,
) -> None:
    """Whatever the candidate does wrong, the champion serves and the tags say why."""
    world.manners[NEW] = manner

    outcome = roll_out(candidate, registry, Backend(world), plan)

    assert (outcome.state, outcome.champion) == ("rolled_back", champion)
    assert reason in outcome.reason
    assert (world.stable, world.canary, serving(registry)) == (OLD, "", champion)
    tags = rollouts.tags(registry, candidate)
    assert (tags[Tag.STATUS], tags[Tag.ROLLOUT]) == ("rolled_back", "rolled_back")
    assert tags[Tag.ROLLOUT_REASON] == outcome.reason
    assert rollouts.history(registry, candidate)[-1] == f"rolled back: {outcome.reason}"
    assert rollouts.tags(registry, champion)[Tag.STATUS] == "champion"


def test_a_candidate_that_is_not_ready_is_taken_back(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """The backend's reason is the rollout's."""

    class Crashes(Backend):
        def step(self, percent: int) -> None:
            super().step(percent)
            self.world.ready = "CrashLoopBackOff"

    outcome = roll_out(candidate, registry, Crashes(world))

    assert outcome.reason == "not ready: CrashLoopBackOff"
    assert serving(registry) == champion


def test_a_bug_is_raised_on_after_the_rollback(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """What nobody foresaw is no verdict: the candidate goes, and the error stays visible."""

    class Buggy(Backend):
        def step(self, percent: int) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        roll_out(candidate, registry, Buggy(world))

    assert (world.stable, world.canary, serving(registry)) == (OLD, "", champion)
    assert (
        rollouts.tags(registry, candidate)[Tag.ROLLOUT_REASON] == "interrupted (ZeroDivisionError)"
    )


def test_a_failing_promotion_gives_the_alias_back(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """The alias has moved when the backend is to follow; where that fails it moves back."""

    class Stuck(Backend):
        def promote(self, version: Version) -> None:
            raise Unavailable("Kubernetes does not answer")

    outcome = roll_out(candidate, registry, Stuck(world))

    assert (outcome.state, outcome.reason) == ("rolled_back", "Kubernetes does not answer")
    assert (world.stable, serving(registry)) == (OLD, champion)
    assert rollouts.history(registry, champion) == [
        "champion: back from version 2: Kubernetes does not answer"
    ]


class Unserved(Backend):
    """Where no predictor is there to take a version up."""

    def start(self, version: Version, stable: Version | None) -> None:
        if stable:
            raise NotServing("no predictor answers")
        super().start(version, stable)

    def promote(self, version: Version) -> None:
        raise NotServing("no predictor answers")

    def roll_back(self, version: Version, stable: Version | None) -> None:
        raise AssertionError("there is nobody to wait for")


def test_nobody_who_could_serve_the_first_version_is_no_verdict(
    registry: Registry, settings: Settings, tmp_path: Path, world: World
) -> None:
    """No alias names it and its state is as before; once somebody serves it is rolled out."""
    number = rollouts.register(settings, tmp_path / "golden", NEW)
    registered.point(settings, number, "challenger")
    registry.tag(_version(registry, number), {Tag.STATUS: "challenger"})

    with pytest.raises(NotServing):
        roll_out(number, registry, Unserved(world))

    tags = rollouts.tags(registry, number)
    assert (serving(registry), tags[Tag.STATUS], tags[Tag.ROLLOUT]) == (
        None,
        "challenger",
        "put_off",
    )
    assert registry.challenger() is not None
    assert rollouts.history(registry, number)[-1] == "rollout put off: no predictor answers"
    assert roll_out(number, registry, Backend(world)).state == "promoted"
    assert "rolled back: its rollout was killed" not in rollouts.history(registry, number)


def test_a_predictor_that_went_before_the_trial_is_no_verdict(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """The champion stays, and nothing is waited for."""
    with pytest.raises(NotServing):
        roll_out(candidate, registry, Unserved(world))

    tags = rollouts.tags(registry, candidate)
    assert (serving(registry), tags.get(Tag.STATUS), tags[Tag.ROLLOUT]) == (
        champion,
        None,
        "put_off",
    )
    assert roll_out(candidate, registry, Backend(world)).state == "promoted"


def test_nobody_serves_is_found_before_anything_is_begun(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """The version has no sign of a rollout."""

    class Nobody(Backend):
        def check(self, champion: Version | None) -> None:
            assert champion
            raise Unavailable("no predictor answers")

    with pytest.raises(Unavailable, match="no predictor answers"):
        roll_out(candidate, registry, Nobody(world))

    assert world.calls == []
    assert Tag.ROLLOUT not in rollouts.tags(registry, candidate)
    assert rollouts.history(registry, candidate) == []


def test_mlflow_that_goes_at_the_very_start_leaves_no_rollout(
    registry: Registry,
    world: World,
    champion: int,
    candidate: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What looks like a rollout under way would keep `poll` from starting it again."""

    def down(*_: object) -> None:
        raise Unavailable("MLflow does not answer")

    monkeypatch.setattr(registry, "event", down)

    with pytest.raises(Unavailable):
        roll_out(candidate, registry, Backend(world))

    assert world.calls == []
    assert Tag.ROLLOUT not in rollouts.tags(registry, candidate)


def test_callers_must_get_the_promoted_version(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """A promotion that callers do not see is none."""

    class Pretends(Backend):
        def promote(self, version: Version) -> None:
            pass

    plan = QUICK.model_copy(update={"max_seconds": 1.0})

    outcome = roll_out(candidate, registry, Pretends(world), plan)

    assert outcome.reason == f"after the promotion callers still get answers of {OLD[:12]}"
    assert serving(registry) == champion


def test_blue_green_judges_before_any_traffic(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """A slow candidate is taken back without a single caller on it."""
    world.manners[NEW] = Manner(seconds=0.15)
    plan = Plan(strategy="blue_green", min_requests=4, hold_seconds=0, latency_floor_ms=20)

    outcome = roll_out(candidate, registry, Backend(world), plan)

    assert outcome.state == "rolled_back"
    assert world.calls == ["start 2", "roll_back 2"]


def test_the_champion_is_left_alone(registry: Registry, world: World, champion: int) -> None:
    """Rolling out what serves already does nothing."""
    outcome = roll_out(champion, registry, Backend(world))

    assert outcome.state == "unchanged"
    assert world.calls == []


def test_a_backend_that_serves_something_else_stops_a_rollout(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """With an unknown version in the champion's place nothing could be compared or kept."""
    world.stable = "c" * 64

    with pytest.raises(PipelineError, match=r"what serves is cccccccccccc; .* --to 1"):
        roll_out(candidate, registry, Backend(world))

    assert roll_back(registry, Backend(world), to=champion).state == "unchanged"
    assert world.stable == OLD


def test_two_rollouts_at_once(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """The second is told that it is busy, and the first goes on."""
    started, go_on = threading.Event(), threading.Event()

    class Waits(Backend):
        def step(self, percent: int) -> None:
            started.set()
            go_on.wait(10)
            super().step(percent)

    outcomes: list[Outcome] = []
    first = threading.Thread(
        target=lambda: outcomes.append(roll_out(candidate, registry, Waits(world)))
    )
    first.start()
    started.wait(10)
    with pytest.raises(RolloutBusy):
        roll_out(candidate, registry, Backend(world))
    go_on.set()
    first.join(30)

    assert [one.state for one in outcomes] == ["promoted"]
    assert world.calls.count("promote 2") == 1


def test_a_lost_lock_leaves_the_traffic_alone(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """Whoever took the lock decides: not even a rollback is tried, and the next run repairs."""

    class Loses(Backend):
        def step(self, percent: int) -> None:
            raise RolloutBusy("the lease went to somebody else")

    with pytest.raises(RolloutBusy):
        roll_out(candidate, registry, Loses(world))

    assert world.calls == ["start 2"]
    assert roll_out(candidate, registry, Backend(world)).state == "promoted"


def test_mlflow_down_in_mid_rollout(
    registry: Registry, world: World, champion: int, candidate: int, settings: Settings
) -> None:
    """Traffic goes back without MLflow; the next run writes down what happened, and goes on."""

    class LosesMlflow(Backend):
        def step(self, percent: int) -> None:
            super().step(percent)
            broken.client = Registry(dead).client

    dead = settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9", "http_retries": 0})
    broken = Registry(settings)

    with pytest.raises(Unavailable, match="and is not wholly"):
        roll_out(candidate, broken, LosesMlflow(world))

    assert (world.stable, world.canary) == (OLD, "")
    assert world.calls[-1] == "roll_back 2"
    assert rollouts.tags(registry, candidate)[Tag.ROLLOUT] == "running"
    assert roll_out(candidate, registry, Backend(world)).state == "promoted"
    assert "rolled back: its rollout was killed" in rollouts.history(registry, candidate)


def test_roll_back_returns_to_the_champion_before(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """One command: backend, alias and tags are as they were before the rollout."""
    roll_out(candidate, registry, Backend(world))

    outcome = roll_back(registry, Backend(world))

    assert (outcome.state, outcome.version, outcome.champion) == ("rolled_back", 2, champion)
    assert (world.stable, serving(registry)) == (OLD, champion)
    assert rollouts.tags(registry, champion)[Tag.STATUS] == "champion"
    assert rollouts.tags(registry, candidate)[Tag.ROLLOUT_REASON] == "by hand"


def test_who_rolled_back_by_hand_stands_on_the_version_until_it_is_rolled_out(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """So that nothing but a person brings it back; what takes a version back by itself names
    nobody."""
    roll_out(candidate, registry, Backend(world))

    roll_back(registry, Backend(world))
    by_hand = rollouts.tags(registry, candidate)[Tag.ROLLED_BACK_BY]
    world.manners[NEW] = Manner(entities=[])
    roll_out(candidate, registry, Backend(world))

    tags = rollouts.tags(registry, candidate)
    assert (by_hand, tags[Tag.ROLLED_BACK_BY], tags[Tag.STATUS]) == ("ada", "", "rolled_back")


def test_going_back_to_a_version_forgets_that_it_was_taken_back(
    registry: Registry, world: World, champion: int, candidate: int
) -> None:
    """A person wants it again; the one that gives way is held."""
    roll_out(candidate, registry, Backend(world))
    roll_back(registry, Backend(world))

    roll_back(registry, Backend(world), to=candidate)

    assert rollouts.tags(registry, candidate)[Tag.ROLLED_BACK_BY] == ""
    assert rollouts.tags(registry, champion)[Tag.ROLLED_BACK_BY] == "ada"


def test_roll_back_to_a_version_by_number(
    registry: Registry, world: World, champion: int, candidate: int, tmp_path: Path
) -> None:
    """Any version can be returned to, however many rollouts lie between."""
    third = rollouts.register(registry.settings, tmp_path / "golden", "c" * 64)
    roll_out(candidate, registry, Backend(world))
    roll_out(third, registry, Backend(world))

    outcome = roll_back(registry, Backend(world), to=champion)

    assert (outcome.version, outcome.champion) == (third, champion)
    assert (world.stable, serving(registry)) == (OLD, champion)


def test_roll_back_with_nothing_before(registry: Registry, world: World, champion: int) -> None:
    """Who has no earlier champion is told what to name."""
    with pytest.raises(PipelineError, match="is the first champion; name a version with --to"):
        roll_back(registry, Backend(world))
