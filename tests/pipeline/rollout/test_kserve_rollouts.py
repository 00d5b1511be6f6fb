"""Whole rollouts on KServe: real MLflow, real HTTP, and a cluster that moves as KServe does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import rollouts
from kserve_ingress import Ingress
from kserve_parts import Failure
from kserve_site import BLUE_GREEN, NEW, OLD, PACE, QUICK, Site
from kubernetes_answers import Fault
from kubernetes_api import KubernetesApi
from mlflow import MlflowClient
from rollouts import Manner

from pipeline.errors import RolloutBusy, Unavailable
from pipeline.registry import CHAMPION, Registry, Tag, Version
from pipeline.rollout import controller
from pipeline.rollout.kserve import KServe
from pipeline.rollout.lease import Lease
from pipeline.settings import Settings

pytestmark = pytest.mark.slow

# As `settings` leads to a store without a server, its address is no setting of a process.
KILLED = """
import json, os, sys
uri = os.environ.pop("MLFLOW_TRACKING_URI")
from pathlib import Path
from pipeline.registry import Registry
from pipeline.rollout import controller
from pipeline.rollout.kserve import KServe, Pace
from pipeline.rollout.plan import Plan
from pipeline.settings import Settings
sys.path.insert(0, sys.argv[1])
import kserve_ingress
settings = Settings().model_copy(update=json.loads(sys.argv[2]))
os.environ["MLFLOW_TRACKING_URI"] = uri
plan = Plan(steps=(50, 100), min_requests=4, hold_seconds=100, max_seconds=200)
with kserve_ingress.names_resolve():
    backend = KServe(settings, pace=Pace(ready=30, poll=0.01, lease=1))
    controller.roll_out(2, Registry(settings), backend, plan, owner="killed")
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """MLflow's own store, without its server between: these tests are about the cluster."""
    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri, uri).create_experiment("ner", artifact_location=folder.as_uri())
    changed = {"tracking_uri": uri, "experiment": "ner", "home": folder, "rollout": "kserve"}
    settings = Settings().model_copy(update=changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)  # the store asks a client of its own
        yield settings


@pytest.fixture(params=["Knative", "Standard"])
def site(
    request: pytest.FixtureRequest,
    api: KubernetesApi,
    ingress: Ingress,
    store: Settings,
    tmp_path: Path,
) -> Site:
    """A cluster in each mode, where version 1 serves."""
    changed = {
        "model_name": f"ner-{uuid4().hex[:8]}",
        "deployment_mode": request.param,
        "predictor_url": ingress.url,
        "http_retries": 3,
    }
    settings = store.model_copy(update=changed)
    site = Site(api, ingress, settings, Registry(settings), tmp_path / "bundle")
    first = site.register(OLD, Manner())
    site.registry.tag(first, {Tag.STATUS: "champion"})
    site.registry.point(CHAMPION, first, "the first")
    site.backend().start(first, None)
    site.register(NEW, site.manner)
    return site


def reason(site: Site) -> str:
    """Why version 2 was taken back, as its tags say."""
    return rollouts.tags(site.registry, 2)[Tag.ROLLOUT_REASON]


def test_a_good_candidate_is_promoted(site: Site) -> None:
    """Shares go as planned, callers notice nothing, and all places name the new version."""
    with site.callers():
        outcome = site.roll_out()

    assert outcome.state == "promoted"
    assert site.serves(2)
    assert site.shares == [0, 10, 50, 100]
    assert site.refused == []


def test_blue_green_moves_everything_at_once(site: Site) -> None:
    """The candidate is judged before it has any traffic, and then has all of it."""
    with site.callers():
        outcome = site.roll_out(BLUE_GREEN)

    assert outcome.state == "promoted"
    assert site.serves(2)
    assert site.shares == [0, 100]
    assert site.refused == []


def test_wrong_answers_cost_callers_nothing(site: Site) -> None:
    """In blue/green the golden requests are asked for past the split, so nobody else sees it."""
    site.manner.entities = []

    with site.callers():
        outcome = site.roll_out(BLUE_GREEN)

    assert outcome.state == "rolled_back"
    assert "golden request 0" in reason(site)
    assert site.serves(1)
    assert set(site.shares) == {0}
    assert site.refused == []


@pytest.mark.parametrize("percent", [10, 50, 100])
def test_a_candidate_that_fails_under_load_is_taken_back(site: Site, percent: int) -> None:
    """Whichever step it fails at, the old version has all the traffic again, and for good."""
    site.manner.status = lambda count: 500 if site.share() >= percent else 200
    plan = QUICK.model_copy(update={"golden": False})

    with site.callers():
        outcome = site.roll_out(plan)

    assert (outcome.state, outcome.champion) == ("rolled_back", 1)
    assert "requests failed (HTTP 500)" in reason(site)
    assert max(site.shares) == percent
    assert site.serves(1)
    assert all(text == "b HTTP 500" for text in site.refused)


def test_a_candidate_that_cannot_load_is_taken_back(site: Site) -> None:
    """What keeps it from loading ends up in the version's tags."""
    site.api.controller.failures[site.uri(2)] = Failure("ModelLoadFailed", "bundle.json is missing")

    with site.callers():
        outcome = site.roll_out()

    assert outcome.state == "rolled_back"
    assert "bundle.json is missing" in reason(site)
    assert site.serves(1)
    assert site.refused == []


class Killed(BaseException):
    """The process ends here."""


class Dying(KServe):
    """A backend whose process ends once the candidate has a share, with its lease held."""

    def __init__(self, settings: Settings, percent: int) -> None:
        super().__init__(settings, pace=PACE)
        self.percent = percent

    def step(self, percent: int) -> None:
        super().step(percent)
        if percent == self.percent:
            raise Killed

    def roll_back(self, version: Version, stable: Version | None) -> None:
        raise Killed


@pytest.mark.parametrize("percent", [50, 100])
def test_a_killed_rollout_is_undone_by_the_next_run(
    site: Site, percent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run waits for the dead one's lease, takes the candidate back, and tries again."""
    dying = Dying(site.settings, percent)
    with monkeypatch.context() as patch:
        patch.setattr(Lease, "_give_back", lambda self: None)
        with pytest.raises(Killed):
            controller.roll_out(2, site.registry, dying, QUICK, report=lambda text: None)

    with site.callers():
        outcome = site.roll_out(BLUE_GREEN)

    assert (outcome.state, outcome.reason) == ("promoted", "")
    assert site.serves(2)
    assert site.shares == [*(one for one in (0, 10, 50, 100) if one <= percent), 0, 100]
    assert any("its rollout was killed" in line for line in rollouts.history(site.registry, 2))
    assert site.refused == []


@pytest.mark.parametrize("site", ["Knative"], indirect=True)
def test_a_process_that_is_killed_leaves_nothing_behind(site: Site) -> None:
    """The same with a real process and a real SIGKILL."""
    changed = site.settings.model_dump(mode="json", exclude_defaults=True)
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(Path(rollouts.__file__).parent), json.dumps(changed)],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait(lambda: killed.poll() is not None or site.share() == 50)
        assert killed.poll() is None
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()

    outcome = site.roll_out(BLUE_GREEN)

    assert (outcome.state, outcome.reason) == ("promoted", "")
    assert site.serves(2)
    assert site.shares == [0, 50, 0, 100]


def wait(done: Callable[[], bool], seconds: float = 40) -> None:
    """Block until something is so."""
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_restless_api_stops_no_rollout(site: Site) -> None:
    """Conflicts, throttling, errors, lost answers and delays all along: the rollout arrives."""
    path = "/inferenceservices"
    site.api.faults += [
        fault
        for skip in range(0, 60, 12)
        for fault in (
            Fault(status=409, method="PATCH", path=path, skip=skip // 12, reason="Conflict"),
            Fault(status=429, path=path, skip=skip + 2, headers={"Retry-After": "0"}),
            Fault(status=500, path=path, skip=skip + 5),
            Fault(cut="after", path=path, skip=skip + 8),
            Fault(seconds=0.1, path=path, skip=skip + 10),
        )
    ]

    outcome = site.roll_out()

    assert outcome.state == "promoted"
    assert site.serves(2)
    assert site.shares == [0, 10, 50, 100]
    assert sum(fault.times for fault in site.api.faults) < 10


def test_an_api_that_goes_away_is_caught_up_with(site: Site) -> None:
    """What cannot be undone at once is said, and the next run completes it."""
    site.settings = site.settings.model_copy(update={"http_retries": 1})
    away = Fault(path="/inferenceservices", cut="before", times=0)
    site.api.faults.append(away)

    def at_half(count: int) -> int:
        if site.share() >= 50 and not away.times:
            away.times = 1_000_000
        return 200

    site.manner.status = at_half
    with site.callers():
        with pytest.raises(Unavailable, match="the next run completes it"):
            site.roll_out()
        site.manner.status = lambda count: 200
        away.times = 0
        outcome = site.roll_out()

    assert outcome.state == "promoted"
    assert site.serves(2)
    assert site.shares == [0, 10, 50, 0, 10, 50, 100]
    assert site.refused == []


def test_two_rollouts_at_once_are_one(site: Site) -> None:
    """The second is told who is at it, and changes nothing."""
    with site.backend().lock("the first run"):
        before = site.api.isvc()["spec"]

        with pytest.raises(RolloutBusy, match="the first run rolls out just now"):
            site.roll_out()

        assert site.api.isvc()["spec"] == before


def test_a_rollback_by_hand_returns_to_the_version_before(site: Site) -> None:
    """One command after the promotion, without a gap for callers."""
    site.roll_out()

    with site.callers():
        outcome = controller.roll_back(site.registry, site.backend(), report=lambda text: None)

    assert (outcome.state, outcome.champion) == ("rolled_back", 1)
    assert site.serves(1)
    assert site.refused == []
