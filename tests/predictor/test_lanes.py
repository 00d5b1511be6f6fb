"""Forward passes: who shares one, how many run at once, whose turn it is, who fails with whom."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from functools import partial
from typing import Any

import fakes
import pytest
from queued import Queue, names, play, query, until

from predictor import budget, lanes, memory
from predictor.errors import InvalidRequest
from predictor.extraction import Extraction, Extractor, Label

# ---------------------------------------------------------------- batches


def test_callers_share_a_forward_pass() -> None:
    """What waits goes together, each with its own labels and options, each to its own caller."""
    engine = fakes.GatedEngine()
    high = (Label("who", "name", 0.75), Label("count", "number", 0.5))

    async def scenario() -> list[list[Extraction]]:
        queue = Queue(engine)
        tasks = [await queue.start(query("First"))]
        tasks += [await queue.start(query("Ada")), await queue.start(query("7", labels=high))]
        tasks += [await queue.start(query("Bo", labels=high)), await queue.start(query("Cy"))]
        engine.let(2)
        return await asyncio.gather(*tasks)

    results = play(scenario())

    assert engine.begun[0] == ["First"]
    assert sorted(engine.begun[1]) == ["7", "Ada", "Bo", "Cy"]
    assert len(engine.begun) == 2
    assert [names(one) for one in results] == [["First"], ["Ada"], ["7"], [], ["Cy"]]
    [entity] = results[2][0].entities
    assert (entity.text, entity.label, entity.score) == ("7", "count", pytest.approx(0.9))


def test_lone_request_is_dispatched_at_once() -> None:
    """Nothing waits for company."""
    engine = fakes.GatedEngine(lanes=2)

    async def scenario() -> list[list[str]]:
        queue = Queue(engine)
        one = await queue.start(query("Ada"))
        await until(lambda: engine.begun)
        other = await queue.start(query("Bo"))
        await until(lambda: len(engine.begun) == 2)
        engine.let(2)
        return [names(await one), names(await other)]

    assert play(scenario()) == [["Ada"], ["Bo"]]
    assert engine.begun == [["Ada"], ["Bo"]]


def test_like_lengths_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short and long windows have forward passes of their own."""
    monkeypatch.setattr(budget, "NEAR", 8)
    engine = fakes.GatedEngine()

    async def scenario() -> None:
        queue = Queue(engine)
        tasks = [await queue.start(query("First"))]
        for name, words in (("Ada", 1), ("Bo", 16), ("Cy", 2), ("Di", 18)):
            tasks.append(await queue.start(query(name, words)))
        engine.let(3)
        await asyncio.gather(*tasks)

    play(scenario())

    assert engine.begun == [["First"], ["Ada", "Cy"], ["Bo", "Di"]]


def test_idle_lanes_share_what_waits() -> None:
    """Four windows and two idle lanes: two for each, at the same time, on threads of their own."""
    engine = fakes.GatedEngine(lanes=2)

    async def scenario() -> list[str]:
        task = await Queue(engine).start(*map(query, ("Ada", "Bo", "Cy", "Di")))
        await until(lambda: len(engine.begun) == 2)
        engine.let(2)
        return names(await task)

    assert play(scenario()) == ["Ada", "Bo", "Cy", "Di"]
    assert [len(batch) for batch in engine.begun] == [2, 2]
    assert engine.most == len(engine.threads) == 2
    assert all(name.startswith("engine") for name in engine.threads)


def test_callers_who_come_back_share_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane waits a moment for all whom it has just answered, not for the first of them alone."""
    monkeypatch.setattr(lanes, "PATIENCE", 1000)
    monkeypatch.setattr(lanes, "_PAUSE", 1000)
    engine = fakes.GatedEngine()

    async def scenario() -> None:
        queue = Queue(engine)
        asked = [await queue.start(query(name)) for name in ("Ada", "Bo", "Cy")]
        engine.let()
        await asked[0]
        asked[0] = await queue.start(query("Ada"))
        await until(lambda: len(engine.begun) == 2)
        engine.let()
        await asyncio.gather(*asked)
        asked = [await queue.start(query(name)) for name in ("Cy", "Bo", "Ada")]
        engine.let()
        await asyncio.gather(*asked)

    play(scenario())

    assert [sorted(batch) for batch in engine.begun] == [["Ada"], *[["Ada", "Bo", "Cy"]] * 2]


def test_nobody_is_waited_for_in_vain() -> None:
    """A caller who comes again alone has a pass at once, though others were answered before."""
    engine = fakes.GatedEngine()

    async def scenario() -> float:
        queue = Queue(engine)
        await_all = [await queue.start(query(name)) for name in ("Ada", "Bo", "Cy")]
        engine.let(9)
        await asyncio.gather(*await_all)
        started = time.monotonic()
        await queue.ask(query("Di"))
        return time.monotonic() - started

    assert play(scenario()) < 1


def test_no_more_passes_at_once_than_lanes() -> None:
    """An engine with one lane is only ever called from one thread."""
    engine = fakes.GatedEngine()
    engine.let(1000)

    async def scenario() -> None:
        queue = Queue(engine, size=2)
        await asyncio.gather(*(queue.ask(query(f"A{number}")) for number in range(100)))

    play(scenario())

    assert engine.most == len(engine.threads) == 1


def test_model_does_not_hold_up_the_event_loop() -> None:
    """The event loop goes on while the model works."""
    engine = fakes.GatedEngine()

    async def scenario() -> int:
        task = await Queue(engine).start(query("Ada"))
        await until(lambda: engine.begun)
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.001)
            ticks += 1
            if ticks == 50:
                engine.let()
        return ticks

    assert play(scenario()) >= 50


def test_models_are_not_mixed() -> None:
    """During a swap each request meets the model that it began on, and no other's requests."""
    engines = fakes.GatedEngine(), fakes.GatedEngine()

    async def scenario() -> None:
        queue = Queue(engines[0])
        other = Extractor(engines[1], window_overlap=6)
        tasks = []
        for number in range(4):
            tasks.append(await queue.start(query(f"Old{number}")))
            tasks.append(asyncio.create_task(queue.run(other, [query(f"New{number}")])))
        for engine in engines:
            await until(partial(bool, engine.begun))
            engine.let(9)
        await asyncio.gather(*tasks)

    play(scenario())

    for engine, name in zip(engines, ("Old", "New"), strict=True):
        windows = [word for batch in engine.begun for word in batch]
        assert sorted(windows) == [f"{name}{number}" for number in range(4)]


def test_a_model_that_nobody_holds_is_freed() -> None:
    """The queue keeps neither a model nor its threads once its last request is done."""
    engine = fakes.GatedEngine()
    engine.let()

    async def scenario(queue: Queue) -> None:
        await queue.ask(query("Ada"))

    queue = Queue(engine)
    play(scenario(queue))
    gone, threads = weakref.ref(engine), engine.threads
    queue.engine = queue.extractor = engine = None  # type: ignore[assignment]
    for _ in range(500):
        gc.collect()
        if gone() is None and not threads & {one.name for one in threading.enumerate()}:
            break
        time.sleep(0.01)

    assert gone() is None
    assert not threads & {one.name for one in threading.enumerate()}


def test_what_a_pass_leaves_goes_back_when_callers_have_their_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each pass is followed by a look for free pages, and nobody waits for that."""
    engine = fakes.GatedEngine()
    engine.let(2)
    looks: list[str] = []
    answered = threading.Event()

    def trim() -> None:
        looks.append(threading.current_thread().name)
        assert answered.wait(30)

    monkeypatch.setattr(memory, "trim", trim)

    async def scenario() -> list[str]:
        queue = Queue(engine)
        found = names(await queue.ask(query("Ada")))
        answered.set()
        return found + names(await queue.ask(query("Bo")))

    assert play(scenario()) == ["Ada", "Bo"]
    assert looks[0] in engine.threads


def test_short_requests_pass_a_long_document() -> None:
    """A newcomer's window comes before the next one of a document that has had its turn."""
    engine = fakes.GatedEngine()

    def passes_begun(count: int) -> bool:
        return len(engine.begun) >= count

    async def scenario() -> list[str]:
        queue, order = Queue(engine, size=1), []

        async def ask(name: str, words: int) -> None:
            await queue.ask(query(name, words))
            order.append(name)

        tasks = [asyncio.create_task(ask("Long", 100))]
        for name in ("Ada", "Bo"):
            await until(lambda: len(engine.begun) > len(engine.seen))
            tasks.append(asyncio.create_task(ask(name, 2)))
            await asyncio.sleep(0)
            await asyncio.wrap_future(queue._reader.submit(lambda: None))
            passes = len(engine.begun)
            engine.let()
            await until(partial(passes_begun, passes + 1))
            engine.let()
            await until(partial(passes_begun, passes + 2))
        engine.let(100)
        await asyncio.gather(*tasks)
        return order

    assert play(scenario()) == ["Ada", "Bo", "Long"]
    assert [batch[0] for batch in engine.begun[:5]] == [
        "Long",
        "Ada",
        "something",
        "Bo",
        "something",
    ]


# ---------------------------------------------------------------- failures


def test_poison_harms_nobody_else() -> None:
    """Where a forward pass fails each of its windows is tried alone."""
    engine = fakes.GatedEngine()

    async def scenario() -> list[Any]:
        queue = Queue(engine)
        tasks = [await queue.start(query("First"))]
        tasks += [await queue.start(query(name)) for name in ("Ada", "Poison", "Bo")]
        engine.let(5)
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, ada, poison, bo = play(scenario())

    assert [names(one) for one in (first, ada, bo)] == [["First"], ["Ada"], ["Bo"]]
    assert isinstance(poison, RuntimeError)
    assert engine.begun[1:] == [["Ada", "Bo", "Poison"], ["Ada"], ["Bo"], ["Poison"]]


def test_poison_alone() -> None:
    """A window that fails alone is not tried again, nor is the rest of its request."""
    engine = fakes.GatedEngine()
    engine.let(9)

    async def scenario() -> list[str]:
        queue = Queue(engine, size=1)
        with pytest.raises(RuntimeError, match="poisoned"):
            await queue.ask(query("Poison"), query("Ada"), query("Bo"))
        return names(await queue.ask(query("Cy")))

    assert play(scenario()) == ["Cy"]
    assert engine.begun == [["Poison"], ["Cy"]]


def test_invalid_request_fails_alone() -> None:
    """Too many spans in one text of a shared forward pass are that caller's matter."""
    engine = fakes.GatedEngine()
    everything = (Label("name", "name", 0.0),)

    async def scenario() -> list[Any]:
        queue = Queue(engine)
        queue.extractor = Extractor(engine, window_overlap=6, max_candidates=5)
        tasks = [await queue.start(query("First"))]
        tasks.append(await queue.start(query("Ada"), query("Bo", labels=everything)))
        tasks.append(await queue.start(query("Cy")))
        engine.let(2)
        return await asyncio.gather(*tasks, return_exceptions=True)

    _, refused, answered = play(scenario())

    assert len(engine.begun) == 2
    assert isinstance(refused, InvalidRequest)
    assert str(refused).startswith("instance 1: threshold: more than 5 spans")
    assert names(answered) == ["Cy"]


def test_failure_leaves_no_trace() -> None:
    """A request that fails gives its place back."""

    async def scenario() -> bool:
        queue = Queue(fakes.FakeEngine(lambda span, prompt: 1.0))
        many = tuple(Label(str(n), str(n), 0.5) for n in range(200))
        with pytest.raises(InvalidRequest):
            await queue.ask(query("Ada", labels=many))
        return await queue.drained(0.1)

    assert play(scenario())


def test_nothing_to_read() -> None:
    """A text without words is answered without the model."""
    engine = fakes.GatedEngine()

    async def scenario() -> list[Extraction]:
        return await Queue(engine).ask(query("\x01", 0))

    assert play(scenario()) == [Extraction((), 0, 0)]
    assert engine.begun == []
