"""A system at work: started, its first answer awaited, its memory watched, ended."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.models import Model
from benchmarks.systems import System
from benchmarks.texts import Question
from pipeline.local.process import Process, free_port

_LOOK_SECONDS = 0.25
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",
    "GLINER_GOLDEN_CHECK": "false",  # random weights have no right answers
}


class Refused(Exception):
    """An answer that is none."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What requests have taken so far.

    Attributes:
        requests: how many.
        queue: seconds that they waited for the model, together.
        model: seconds that they were in it, together.
    """

    requests: float
    queue: float
    model: float


@dataclass(slots=True)
class Server:
    """A running system.

    Attributes:
        system: which.
        url: its address.
        ready_seconds: from its start to its first answer.
        memory_mb: the most that its processes held in memory together so far.
    """

    system: System
    url: str
    ready_seconds: float = 0.0
    memory_mb: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)
    # Not httpx, which takes a millisecond for itself: a sixth of what a small model takes.
    _client: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(retries=False, timeout=120)
    )

    def ask(self, question: Question) -> list[dict[str, Any]]:
        """What it finds in one text.

        Raises:
            Refused: it answers with another status than 200.
            urllib3.exceptions.HTTPError: it does not answer.
        """
        body = self.system.body(question)
        answer = self._client.request("POST", self.url + self.system.path, json=body)
        if answer.status != 200:
            raise Refused(f"status {answer.status}")
        return self.system.entities(answer.json())

    def spent(self) -> Spent:
        """What requests have taken since the start, as ours counts it."""
        text = self._client.request("GET", f"{self.url}/metrics").data.decode()
        found: defaultdict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] += sample.value
        return Spent(
            requests=found["gliner_model_seconds_count"],
            queue=found["gliner_queue_seconds_sum"],
            model=found["gliner_model_seconds_sum"],
        )

    def _watch(self, pid: int) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            self.memory_mb = max(self.memory_mb, memory(pid))


@contextmanager
def running(system: System, model: Model, question: Question, logs: Path) -> Iterator[Server]:
    """A system that serves a model and has answered once.

    Args:
        question: what it answers first.
        logs: the folder for what it prints.
    """
    port = free_port()
    server = Server(system, f"http://127.0.0.1:{port}")
    log = logs / f"{model.name}-{system.name}.log"
    process = Process(system.title, system.command(model, port), log, _ENVIRONMENT)

    def answers() -> bool:
        try:
            server.ask(question)
        except (Refused, urllib3.exceptions.HTTPError):
            return False
        return True

    started = time.perf_counter()
    process.start()
    watcher = threading.Thread(target=server._watch, args=(process.pid,), daemon=True)
    watcher.start()
    try:
        process.wait(answers)
        server.ready_seconds = time.perf_counter() - started
        yield server
    finally:
        server._done.set()
        watcher.join()
        server._client.clear()
        process.stop()


def memory(pid: int) -> float:
    """Megabytes that a process and all it started hold in memory, shared pages once for each."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0
    for one in family:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6
