"""The queue: fair, bounded, punctual."""

from __future__ import annotations

import asyncio
import threading
import time

import fakes
import pytest

from predictor.batching import WorkQueue
from predictor.context import open_request
from predictor.errors import Busy, DeadlineExceeded, InvalidRequest, NotServing
from predictor.extraction import Extraction, Extractor, Label, Query

LABELS = (Label("name", "name", 0.5),)


def query(words: int) -> Query:
    return Query("Ada " + "and " * words, LABELS, flat_ner=True, multi_label=False)


class SlowEngine(fakes.FakeEngine):
    """Waits before each forward pass, and notes on which thread it ran."""

    def __init__(self, seconds: float) -> None:
        super().__init__(fakes.names_and_numbers)
        self.seconds = seconds
        self.threads: set[str] = set()

    def score(self, windows):  # type: ignore[no-untyped-def]
        self.threads.add(threading.current_thread().name)
        time.sleep(self.seconds)
        return super().score(windows)


class Queue(WorkQueue):
    """A queue with the one extractor whose steps it runs."""

    def __init__(self, extractor: Extractor, max_pending: int, timeout_seconds: float) -> None:
        super().__init__(max_pending=max_pending, timeout_seconds=timeout_seconds)
        self.extractor = extractor

    async def ask(self, *queries: Query) -> list[Extraction]:
        return await self.run(self.extractor.steps(queries))


def queue_of(
    engine: fakes.FakeEngine, max_pending: int = 100, timeout_seconds: float = 60
) -> Queue:
    extractor = Extractor(engine, window_overlap=6, batch_size=1)
    return Queue(extractor, max_pending, timeout_seconds)


def test_short_request_overtakes_a_long_document() -> None:
    """A text of one window gets its turn between the passes of a document of many."""

    async def scenario() -> list[str]:
        queue, order = queue_of(SlowEngine(0.01)), []

        async def ask(name: str, words: int) -> None:
            await queue.ask(query(words))
            order.append(name)

        long = asyncio.create_task(ask("long", 600))
        await asyncio.sleep(0.05)
        await ask("short", 3)
        await long
        return order

    assert asyncio.run(scenario()) == ["short", "long"]


def test_model_runs_on_a_thread_of_its_own() -> None:
    """The event loop goes on while the model works."""
    engine = SlowEngine(0.2)

    async def scenario() -> int:
        work = asyncio.create_task(queue_of(engine).ask(query(3)))
        ticks = 0
        while not work.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(scenario()) > 5
    assert all(name.startswith("engine") for name in engine.threads)


def test_full_queue() -> None:
    """One request more than allowed is refused at once, and the others are answered."""

    async def scenario() -> list[object]:
        queue = queue_of(SlowEngine(0.05), max_pending=2)
        asked = [queue.ask(query(3)) for _ in range(3)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, second, third = asyncio.run(scenario())

    assert isinstance(third, Busy)
    assert third.retry_after
    assert [len(one[0].entities) for one in (first, second)] == [1, 1]  # type: ignore[index]


@pytest.mark.parametrize("by_caller", [True, False])
def test_deadline(by_caller: bool) -> None:
    """Past the caller's deadline, or the server's, the rest of the work is not done."""
    engine = SlowEngine(0.02)

    async def scenario() -> None:
        if by_caller:
            open_request({"x-request-timeout": "0.1s"})
        else:
            open_request({})
        await queue_of(engine, timeout_seconds=60 if by_caller else 0.1).ask(query(2000))

    with pytest.raises(DeadlineExceeded, match=r"not finished within 0\.1 s"):
        asyncio.run(scenario())
    assert len(engine.seen) < 20


def test_caller_who_went_away() -> None:
    """Work for a cancelled request stops, and the queue is free."""
    engine = SlowEngine(0.01)

    async def scenario() -> bool:
        queue = queue_of(engine)
        work = asyncio.create_task(queue.ask(query(3000)))
        await asyncio.sleep(0.05)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return await queue.drained(1)

    assert asyncio.run(scenario())
    assert len(engine.seen) < 50


def test_failure_leaves_no_trace() -> None:
    """A request that fails gives its place back."""

    async def scenario() -> bool:
        queue = queue_of(fakes.FakeEngine(lambda span, prompt: 1.0))
        many = tuple(Label(str(n), str(n), 0.5) for n in range(200))
        with pytest.raises(InvalidRequest):
            await queue.ask(Query("Ada", many, flat_ner=True, multi_label=False))
        return await queue.drained(0.1)

    assert asyncio.run(scenario())


def test_drain() -> None:
    """A closed queue refuses what comes and finishes what is there."""

    async def scenario() -> tuple[bool, bool, int]:
        queue = queue_of(SlowEngine(0.1))
        work = asyncio.create_task(queue.ask(query(3)))
        await asyncio.sleep(0.02)
        queue.close()
        with pytest.raises(NotServing):
            await queue.ask(query(3))
        early = await queue.drained(0.01)
        late = await queue.drained(5)
        return early, late, len((await work)[0].entities)

    assert asyncio.run(scenario()) == (False, True, 1)
