"""Following an alias: when another version is taken up, and when the old one stays."""

from __future__ import annotations

import logging
import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakes
import pytest
from prometheus_client import REGISTRY

from predictor import following, memory, origin
from predictor.bundle import Bundle, Manifest
from predictor.context import Identity
from predictor.errors import BundleError, Missing, StartupError, Unavailable
from predictor.extraction import Extractor
from predictor.following import Follower, Following
from predictor.origin import Origin
from predictor.protocol import Parser
from predictor.registry import Source, Version
from predictor.served import Served
from predictor.settings import Settings

SOURCE = Source("ner", alias="champion")


def version(number: int) -> Version:
    return Version("ner", str(number), f"models:/m-{number}", f"{number:064}")


def served(number: int) -> Served:
    engine = fakes.FakeEngine(fakes.names_and_numbers)
    found = Bundle(Path(f"/cache/ner-{number}"), Manifest("ner"), f"{number:064}", str(number))
    identity = Identity(str(number), found.digest)
    return Served(found, Extractor(engine), Parser(Settings(), {}), identity, 0.1)


class Downloads:
    folder = Path("/cache")

    def __init__(self) -> None:
        self.pruned: list[Path] = []

    def prune(self, inside: Path) -> None:
        self.pruned.append(inside)


class FakeOrigin(Origin):
    """A registry that says and gives what a test tells it to."""

    def __init__(self) -> None:
        self.source = SOURCE
        self.kept = Downloads()
        self.downloads: Any = self.kept
        self.answer: Version | BundleError = version(1)
        self.broken: dict[str, Exception] = {}
        self.prepared: list[str] = []

    def wanted(self) -> Version:
        if isinstance(self.answer, BundleError):
            raise self.answer
        return self.answer

    def prepare(self, version: Version) -> Served:
        self.prepared.append(version.number)
        if error := self.broken.get(version.number):
            raise error
        return served(int(version.number))


class Server:
    """A follower of version 1, and what it put in its place."""

    def __init__(self) -> None:
        self.origin = FakeOrigin()
        self.model = served(1)
        self.follower = Follower(self.origin, version(1), self.model, self.swap, 10)

    def swap(self, new: Served) -> None:
        self.model = new

    def check(self, answer: Version | BundleError | None = None) -> Following:
        if answer is not None:
            self.origin.answer = answer
        self.follower.check()
        return self.follower.status

    @property
    def serving(self) -> str:
        return self.model.identity.version


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that a test moves."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[dict[str, Any]]]:
    """The fields of log lines with a message."""
    caplog.set_level(logging.INFO, "predictor")

    def lines(message: str) -> list[dict[str, Any]]:
        return [
            {"level": one.levelname, **getattr(one, "fields", {})}
            for one in caplog.records
            if one.message == message
        ]

    return lines


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_an_alias_that_stays(server: Server) -> None:
    """Nothing is loaded while the alias names what serves."""
    assert server.check() == Following("models:/ner@champion", "current", "1")
    assert server.origin.prepared == []
    assert sample("gliner_follow_failed") == 0


def test_an_alias_that_moves(server: Server, logged: Callable[[str], list[dict[str, Any]]]) -> None:
    """The version it names is loaded once and takes over; the log and metrics say so."""
    before = sample("gliner_swaps_total", result="ok")

    server.check(version(2))
    server.check()

    assert server.serving == "2"
    assert server.follower.status == Following("models:/ner@champion", "current", "2")
    assert server.origin.prepared == ["2"]
    assert server.origin.kept.pruned == [Path("/cache/ner-2")]
    assert sample("gliner_swaps_total", result="ok") == before + 1
    [line] = logged("swapped")
    assert (line["old_version"], line["new_version"]) == ("1", "2")
    assert (line["old_digest"], line["new_digest"]) == (f"{1:064}", f"{2:064}")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BundleError("/cache/ner-2/x: no weights"), "ner-2/x: no weights"),
        (StartupError("fp16 needs a GPU"), "fp16 needs a GPU"),
        (KeyError("secret"), "KeyError while loading; see the log"),
    ],
)
def test_a_version_that_cannot_serve(
    server: Server,
    logged: Callable[[str], list[dict[str, Any]]],
    error: Exception,
    reason: str,
) -> None:
    """The old one stays; it is tried, counted and logged once, and shown until it passes."""
    before = sample("gliner_swaps_total", result="failed")
    server.origin.broken["2"] = error

    shown = [server.check(version(2)) for _ in range(3)]

    assert server.serving == "1"
    assert set(shown) == {Following("models:/ner@champion", "failed", "2", reason)}
    assert server.origin.prepared == ["2"]
    assert sample("gliner_follow_failed") == 1
    assert sample("gliner_swaps_total", result="failed") == before + 1
    [line] = logged("swap failed")
    assert (line["level"], line["reason"]) == ("ERROR", reason)
    assert (line["old_version"], line["new_version"]) == ("1", "2")


@pytest.mark.parametrize("to", [1, 3])
def test_a_broken_version_is_left_behind(server: Server, to: int) -> None:
    """Once the alias moves on, or back, all is well again."""
    server.origin.broken["2"] = BundleError("broken")
    server.check(version(2))

    status = server.check(version(to))

    assert server.serving == str(to)
    assert (status.state, status.wanted_version, status.reason) == ("current", str(to), "")
    assert sample("gliner_follow_failed") == 0


def test_a_broken_version_that_comes_back_is_tried_again(server: Server) -> None:
    """Moving the alias away and back is how a person asks for another try."""
    server.origin.broken["2"] = BundleError("broken")
    server.check(version(2))
    del server.origin.broken["2"]

    server.check(version(1))
    server.check(version(2))

    assert server.serving == "2"


def test_a_corrected_digest_is_tried_once(server: Server) -> None:
    """A version that failed for its tag `bundle_digest` is taken up once the tag is right."""
    wrong = replace(version(2), digest="wrong")
    server.origin.broken["2"] = BundleError("its files have another digest")
    server.check(wrong)
    server.check(wrong)
    assert server.origin.prepared == ["2"]
    del server.origin.broken["2"]

    status = server.check(version(2))

    assert (status.state, server.serving) == ("current", "2")
    assert server.origin.prepared == ["2", "2"]


def test_files_that_cannot_be_had_just_now(
    server: Server, clock: SimpleNamespace, logged: Callable[[str], list[dict[str, Any]]]
) -> None:
    """They are tried again with growing pauses, logged once, and taken up when they are there."""
    server.origin.broken["2"] = Unavailable("S3 is down")
    tried = []
    for clock.now in range(0, 1000, 10):
        before = len(server.origin.prepared)
        server.check(version(2))
        if len(server.origin.prepared) > before:
            tried.append(clock.now)
    shown = server.follower.status

    del server.origin.broken["2"]
    clock.now += 300
    server.check()

    assert tried == [0, 20, 60, 140, 300, 600, 900]
    assert shown == Following("models:/ner@champion", "retrying", "2", "S3 is down")
    assert server.serving == "2"
    assert len(logged("swap failed")) == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [(Unavailable("MLflow is down"), "unreachable"), (Missing("no such alias"), "missing")],
)
def test_nobody_knows_what_should_serve(
    server: Server,
    logged: Callable[[str], list[dict[str, Any]]],
    error: BundleError,
    state: str,
) -> None:
    """A registry that is down or lost the alias leaves all as it is, and is told once."""
    shown = [server.check(error) for _ in range(3)]

    assert set(shown) == {Following("models:/ner@champion", state, "", str(error))}  # type: ignore[arg-type]
    assert server.serving == "1"
    assert sample("gliner_follow_failed") == 1
    assert [line["state"] for line in logged("following failed")] == [state]
    assert server.check(version(1)).state == "current"
    assert sample("gliner_follow_failed") == 0
    assert len(logged("following again")) == 1


def test_a_failure_outlives_an_outage(server: Server) -> None:
    """A registry that comes back does not make a broken version worth another try."""
    server.origin.broken["2"] = BundleError("broken")
    server.check(version(2))
    server.check(Unavailable("MLflow is down"))

    status = server.check(version(2))

    assert (status.state, status.reason) == ("failed", "broken")
    assert server.origin.prepared == ["2"]


def test_the_old_model_goes_with_its_last_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is given back when nobody works with the old version any more, not before."""
    released = threading.Event()
    monkeypatch.setattr(memory, "release", released.set)
    server = Server()
    server.follower._seconds = 0.01
    request = server.model
    old = weakref.ref(request)
    server.origin.answer = version(2)

    server.follower.start()
    while server.serving != "2":
        assert not released.wait(0.01)
    early = released.wait(0.2)
    del request
    late = released.wait(5)

    assert server.follower.stop(5)
    assert (early, late, old()) == (False, True, None)


def test_following_survives_anything(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[str], list[dict[str, Any]]]
) -> None:
    """A mistake of ours is logged, and the next question is asked all the same."""
    server = Server()
    server.follower._seconds = 0.01
    asked = threading.Semaphore(0)

    def wanted() -> Version:
        asked.release()
        raise RuntimeError

    monkeypatch.setattr(server.origin, "wanted", wanted)
    server.follower.start()

    assert sample("gliner_follow_period_seconds") == 0.01
    assert all(asked.acquire(timeout=5) for _ in range(3))
    assert server.follower.stop(5)
    assert logged("following failed")


@pytest.mark.parametrize("error", [Missing("no such alias"), Unavailable("MLflow is down")])
def test_a_start_waits(
    monkeypatch: pytest.MonkeyPatch,
    logged: Callable[[str], list[dict[str, Any]]],
    error: BundleError,
) -> None:
    """A start waits as long as it may for what is not there yet, and says so once."""
    place = FakeOrigin()
    place.answer = error
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now == 3:
            place.answer = version(1)

    monkeypatch.setattr(origin, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))

    found, model = place.first(10)

    assert (found.number, model.identity.version, clock.now) == ("1", "1", 3)
    assert len(logged("waiting for a model")) == 1


def test_a_start_does_not_wait_for_ever() -> None:
    """Without leave to wait it fails at once; a version that cannot serve is not waited for."""
    place = FakeOrigin()
    place.answer = Missing("no such alias")
    with pytest.raises(Missing):
        place.first(0)
    place.answer = version(2)
    place.broken["2"] = BundleError("broken")

    with pytest.raises(BundleError, match="broken"):
        place.first(math.inf)
