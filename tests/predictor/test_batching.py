"""The queue: fair, bounded, punctual."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import fakes
import pytest
from prometheus_client import REGISTRY
from queued import Queue, names, play, query

from predictor.context import open_request
from predictor.errors import Busy, DeadlineExceeded, NotServing

# ---------------------------------------------------------------- cancelled, too late


def test_caller_who_went_away() -> None:
    """Windows of a cancelled request are not scored, and its place is free."""
    engine = fakes.GatedEngine()

    async def scenario() -> bool:
        queue = Queue(engine, size=1)
        long = await queue.start(query("Long", 3000))
        waiting = await queue.start(query("Waiting"))
        stays = await queue.start(query("Stays"))
        for task in (long, waiting):
            task.cancel()
        await asyncio.gather(long, waiting, return_exceptions=True)
        engine.let(9)
        assert names(await stays) == ["Stays"]
        return await queue.drained(5)

    assert play(scenario())
    assert engine.begun == [["Long"], ["Stays"]]


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("at_work", [True, False])
def test_deadline(by_caller: bool, at_work: bool) -> None:
    """Past the caller's deadline, or the server's, the caller is told and the rest is not done."""
    engine = fakes.GatedEngine()

    async def scenario() -> bool:
        queue = Queue(engine, size=1, timeout_seconds=60 if by_caller else 0.3)
        first = None
        if not at_work:
            open_request({"x-request-timeout": "50"})
            queue._timeout = 50
            first = await queue.start(query("First"))
            queue._timeout = 60 if by_caller else 0.3
        open_request({"x-request-timeout": "0.3s"} if by_caller else {})
        with pytest.raises(DeadlineExceeded, match=r"not finished within 0\.3 s"):
            await queue.ask(query("Late", 100))
        engine.let(9)
        if first:
            assert names(await first) == ["First"]
        return await queue.drained(5)

    assert play(scenario())
    assert engine.begun == [["Late"]] if at_work else [["First"]]


def test_late_before_it_is_noticed() -> None:
    """A window whose time is up is not scored, though the event loop has been too busy to say."""
    engine = fakes.GatedEngine()

    def hold_up_the_event_loop() -> None:
        time.sleep(0.1)
        engine.let(2)
        while not engine.seen:
            time.sleep(0.001)
        time.sleep(0.05)

    async def scenario() -> None:
        queue = Queue(engine)
        first = await queue.start(query("First"))
        open_request({"x-request-timeout": "0.05"})
        late = await queue.start(query("Late"))
        hold_up_the_event_loop()
        await first
        with pytest.raises(DeadlineExceeded):
            await late

    play(scenario())

    assert engine.begun == [["First"]]


# ---------------------------------------------------------------- room


def test_too_many_requests() -> None:
    """One request more than allowed is refused at once, and the others are answered."""
    engine = fakes.GatedEngine()

    async def scenario() -> list[Any]:
        queue = Queue(engine, max_pending=2)
        asked = [asyncio.create_task(queue.ask(query("Ada"))) for _ in range(3)]
        with pytest.raises(Busy, match=r"^2 requests are already waiting; try again in 1 s$"):
            await asked.pop()
        engine.let(2)
        return [names(await one) for one in asked]

    assert play(scenario()) == [["Ada"], ["Ada"]]


def test_too_much_work() -> None:
    """Requests are taken up to the seconds of work allowed; the next is told when to come back."""
    engine = fakes.GatedEngine()

    async def scenario() -> tuple[int, int]:
        queue = Queue(engine, max_seconds=4)
        taken = [await queue.start(query("First"))]

        async def fill() -> None:
            for number in range(40):
                task = await queue.start(query(f"A{number}", 1000))
                if task.done():
                    await task
                taken.append(task)

        with pytest.raises(Busy, match=r"s of work are already waiting; try again in \d+ s$") as no:
            await fill()
        engine.let(10_000)
        await asyncio.gather(*taken)
        assert await queue.ask(query("Later", 1000))
        assert no.value.retry_after
        return len(taken), no.value.retry_after

    count, retry_after = play(scenario())

    assert 3 < count < 30
    assert 1 <= retry_after <= 4


def test_empty_queue_takes_anything_and_short_requests_pass_it() -> None:
    """However long a request is, it is served; another such is refused, a short one is not."""
    engine = fakes.GatedEngine()

    async def scenario() -> int:
        queue = Queue(engine, max_seconds=1)
        huge = await queue.start(query("Huge", 20_000))
        queue.check_room()
        with pytest.raises(Busy) as no:
            await queue.ask(query("Huge", 20_000))
        short = await queue.start(query("Short"))
        engine.let(10_000)
        assert names(await short) == ["Short"]
        assert not huge.done()
        await huge
        assert no.value.retry_after
        return no.value.retry_after

    assert play(scenario()) > 1


def test_a_long_request_gets_in_among_short_ones() -> None:
    """A request above the limit by itself does not wait for a queue that is never empty."""
    engine = fakes.GatedEngine()

    async def scenario() -> None:
        queue = Queue(engine, max_seconds=1)
        short = await queue.start(query("Short"))
        huge = await queue.start(query("Huge", 20_000))
        with pytest.raises(Busy, match=r"already waiting and this request is \d+ s more;"):
            await queue.ask(query("Other", 20_000))
        engine.let(10_000)
        assert names(await short) == ["Short"]
        assert names(await huge) == ["Huge"]

    play(scenario())


def test_early_refusal() -> None:
    """While there is no room for any request, it is refused before it is so much as parsed."""
    engine = fakes.GatedEngine()

    async def scenario() -> None:
        queue = Queue(engine, max_seconds=0.001)
        queue.check_room()
        task = await queue.start(query("Ada", 19))
        with pytest.raises(Busy):
            queue.check_room()
        engine.let()
        await task
        queue.check_room()

    play(scenario())


def test_many_patient_callers_are_never_refused() -> None:
    """64 callers who each wait for their answer before they ask again are all served."""
    engine = fakes.GatedEngine(lanes=2)
    engine.let(10_000)

    async def scenario() -> list[int]:
        queue = Queue(engine, max_pending=1024, max_seconds=10)

        async def caller(number: int) -> int:
            texts = [query(f"C{number}x{turn}", (number + turn) % 40) for turn in range(5)]
            answers = [names(await queue.ask(text)) for text in texts]
            return sum(answer == [f"C{number}x{turn}"] for turn, answer in enumerate(answers))

        return await asyncio.gather(*map(caller, range(64)))

    assert play(scenario()) == [5] * 64


# ---------------------------------------------------------------- the rest


def test_drain() -> None:
    """A closed queue refuses what comes and finishes what is there."""
    engine = fakes.GatedEngine()

    async def scenario() -> tuple[bool, bool, list[str]]:
        queue = Queue(engine)
        work = await queue.start(query("Ada"))
        queue.close()
        with pytest.raises(NotServing):
            await queue.ask(query("Bo"))
        early = await queue.drained(0.01)
        engine.let()
        late = await queue.drained(5)
        return early, late, names(await work)

    assert play(scenario()) == (False, True, ["Ada"])


def test_end() -> None:
    """What is left is told that the server stops, and is not computed further."""
    engine = fakes.GatedEngine()

    async def scenario() -> tuple[list[Any], bool]:
        queue = Queue(engine, size=1)
        tasks = [await queue.start(query("Ada")), await queue.start(query("Bo"))]
        queue.close()
        queue.end()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        engine.let(2)
        return ended, await queue.drained(0)

    ended, drained = play(scenario())

    assert [type(one) for one in ended] == [NotServing, NotServing]
    assert drained
    assert engine.begun == [["Ada"]]


def test_an_idle_queue_is_drained_in_no_time() -> None:
    """Also where nothing may be waited for."""

    async def scenario() -> bool:
        return await Queue(fakes.GatedEngine()).drained(0)

    assert play(scenario())


def test_metrics() -> None:
    """The wait, the time in the model, the batches, their padding and what waits are counted."""
    engine = fakes.GatedEngine()
    counted = (
        "gliner_queue_seconds_count",
        "gliner_queue_seconds_sum",
        "gliner_model_seconds_count",
        "gliner_model_seconds_sum",
        "gliner_batch_windows_count",
        "gliner_batch_windows_sum",
        "gliner_batch_positions_sum",
        "gliner_positions_total",
        "gliner_padding_positions_total",
    )

    def values(*of: str) -> list[float]:
        return [REGISTRY.get_sample_value(name) or 0.0 for name in of]

    before = values(*counted)

    async def scenario() -> tuple[float, float]:
        queue = Queue(engine)
        tasks = [await queue.start(query("First"))]
        tasks += [await queue.start(query("Ada", 2)), await queue.start(query("Bo", 4))]
        waiting = values("gliner_queue_work_seconds", "gliner_pending_requests")
        await asyncio.sleep(0.1)
        engine.let(2)
        await asyncio.gather(*tasks)
        assert values("gliner_queue_work_seconds", "gliner_pending_requests") == [0, 0]
        return waiting[0], waiting[1]

    work, pending = play(scenario())

    added = [now - then for now, then in zip(values(*counted), before, strict=True)]
    requests, waited, finished, inside, batches, *counts = added
    windows, positions, all_positions, padding = counts
    assert (requests, finished, batches, windows, pending) == (3, 3, 2, 3, 3)
    assert waited > 0.19
    assert 0.09 < inside < waited
    assert work > 0
    # Windows of 12, 11 and 17 positions, of which the last two shared a forward pass.
    assert (positions, all_positions, padding) == (12 + 2 * 17, 12 + 2 * 17, 6)
