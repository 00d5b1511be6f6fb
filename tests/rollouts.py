"""A backend for rollouts that keeps its state in memory, behind a real HTTP server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import http_server
import registered

from pipeline.errors import RolloutBusy
from pipeline.registry import Registry, Tag, Version
from pipeline.rollout import Route, State
from pipeline.settings import Settings

ENTITY: dict[str, Any] = {"text": "Ada", "label": "person", "start": 0, "end": 3, "score": 0.9}
GOLDEN: dict[str, Any] = {
    "requests": [
        {"text": "Ada was here.", "labels": ["person"], "entities": [ENTITY]},
        {"text": "Nobody was.", "labels": ["person"], "entities": []},
    ]
}


@dataclass
class Manner:
    """How one version answers.

    Attributes:
        status: of predictions; a function of their count so far where it changes.
        seconds: how long each takes.
        entities: what the first golden request gets.
        named: the digest that it gives as its own, where that is not the true one.
    """

    status: Callable[[int], int] = lambda count: 200
    seconds: float = 0.0
    entities: list[dict[str, Any]] = field(default_factory=lambda: [ENTITY])
    named: str | None = None
    asked: int = 0


@dataclass
class World:
    """What outlives a killed process: versions that serve, and how they answer."""

    stable: str = ""
    canary: str = ""
    percent: int = 0
    ready: str = ""  # why the canary is not
    url: str = ""
    manners: dict[str, Manner] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    held: threading.Lock = field(default_factory=threading.Lock)

    def manner(self, digest: str) -> Manner:
        return self.manners.setdefault(digest, Manner())

    def serving(self, route: str) -> str:
        return (self.canary or self.stable) if route == "candidate" else self.stable


class Backend:
    """Moves `World`'s traffic. Each call takes effect before it returns or raises."""

    def __init__(self, world: World) -> None:
        self.world = world

    @contextmanager
    def lock(self, owner: str) -> Iterator[None]:
        if not self.world.held.acquire(blocking=False):
            raise RolloutBusy("a rollout is under way")
        try:
            yield
        finally:
            self.world.held.release()

    def called(self, name: str) -> None:
        self.world.calls.append(name)

    def state(self) -> State:
        world = self.world
        return State(world.stable, world.canary, world.percent, not world.ready, world.ready)

    def check(self, champion: Version | None) -> None:
        pass

    def start(self, version: Version, stable: Version | None) -> None:
        if stable:
            self.world.canary, self.world.percent = version.digest, 0
        else:
            self.world.stable = version.digest
        self.called(f"start {version.number}")

    def step(self, percent: int) -> None:
        self.world.percent = percent
        self.called(f"step {percent}")

    def candidate(self) -> Route:
        return Route(f"{self.world.url}/candidate")

    def stable(self) -> Route | None:
        return Route(f"{self.world.url}/stable") if self.world.stable else None

    def public(self) -> Route:
        return Route(f"{self.world.url}/public")

    def promote(self, version: Version) -> None:
        self.world.stable, self.world.canary, self.world.percent = version.digest, "", 0
        self.called(f"promote {version.number}")

    def roll_back(self, version: Version, stable: Version | None) -> None:
        self.world.stable = stable.digest if stable else ""
        self.world.canary, self.world.percent = "", 0
        self.called(f"roll_back {version.number}")


@contextmanager
def running(world: World) -> Iterator[World]:
    """Serve a world's versions over HTTP."""

    class Handler(http_server.Handler):
        def serve(self) -> None:
            body = self.body()
            digest = world.serving(self.path.split("/")[1])
            if self.command == "GET":
                answer: Any = {"model": {"digest": digest, "precision": "fp32"}}
                self.send(200, answer, {"x-model-digest": digest})
                return
            manner = world.manner(digest)
            manner.asked += 1
            time.sleep(manner.seconds)
            golden = json.loads(body)["instances"][0]["text"] == GOLDEN["requests"][0]["text"]
            answer = {"predictions": [{"entities": manner.entities if golden else []}]}
            named = digest if manner.named is None else manner.named
            self.send(manner.status(manner.asked), answer, {"x-model-digest": named})

    with http_server.serving(Handler) as world.url:
        yield world


def register(settings: Settings, folder: Path, digest: str) -> int:
    """A version whose bundle is its golden answers alone."""
    folder.mkdir(exist_ok=True)
    (folder / "golden.json").write_text(json.dumps(GOLDEN), encoding="utf-8")
    return registered.register(settings, folder, digest)


def first_champion(settings: Settings, folder: Path, world: World, digest: str) -> int:
    """A version that serves already."""
    number = register(settings, folder, digest)
    registered.point(settings, number)
    registry = Registry(settings)
    version = registry.version(number)
    assert version is not None
    registry.tag(version, {Tag.STATUS: "champion"})
    world.stable = digest
    return number


def history(registry: Registry, number: int) -> list[str]:
    """The lines of a version's history."""
    version = registry.version(number)
    assert version is not None
    return [text for _, text in version.events]


def tags(registry: Registry, number: int) -> dict[str, str]:
    """A version's tags."""
    version = registry.version(number)
    assert version is not None
    return dict(version.tags)
