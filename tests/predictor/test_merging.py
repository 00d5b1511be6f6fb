"""From what was found to answers: by whom, and for whom no more."""

from __future__ import annotations

import threading
import time

import fakes
import pytest
from queued import Queue, names, play, query

from predictor import lanes
from predictor.errors import DeadlineExceeded
from predictor.extraction import Extraction, Label, Reading


def test_what_nobody_waits_for_is_not_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose time is up while its texts are merged leaves the lane to others."""
    merged: list[str] = []
    merge = Reading.result

    def slow(reading: Reading) -> Extraction:
        merged.append(reading.query.text[:4])
        time.sleep(0.2 if merged[-1] == "Late" else 0)
        return merge(reading)

    monkeypatch.setattr(Reading, "result", slow)

    async def scenario() -> None:
        queue = Queue(fakes.FakeEngine(fakes.names_and_numbers), timeout_seconds=0.3)
        with pytest.raises(DeadlineExceeded):
            await queue.ask(*(query("Late") for _ in range(20)))
        assert names(await queue.ask(query("Next"))) == ["Next"]

    play(scenario())

    assert 1 <= merged.count("Late") < 5
    assert merged[-1] == "Next"


def test_much_is_merged_beside_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model goes on for others while many spans are chosen among."""
    threads: list[str] = []
    merge = Reading.result

    def noted(reading: Reading) -> Extraction:
        threads.append(threading.current_thread().name.partition("_")[0])
        return merge(reading)

    monkeypatch.setattr(Reading, "result", noted)
    monkeypatch.setattr(lanes, "_MANY", 10)
    everything = (Label("name", "name", 0.0),)

    async def scenario() -> None:
        queue = Queue(fakes.FakeEngine(fakes.names_and_numbers))
        assert names(await queue.ask(query("Ada"))) == ["Ada"]
        assert await queue.ask(query("Ada", 20, everything))

    play(scenario())

    assert threads == ["engine", "merge"]
