"""The load, against a server whose answers are known."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from aiohttp import web

from benchmarks import load, texts
from benchmarks.systems import SYSTEMS

PLAIN = next(one for one in SYSTEMS if one.path == "/predict")
ASKED = texts.sentences(20, seed=1)


class Slow:
    """Answers after a time, so many at once; refuses the others."""

    def __init__(self) -> None:
        self.seconds, self.places, self.inside, self.most = 0.02, 1000, 0, 0
        self.bodies: list[dict[str, object]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        if self.inside >= self.places:
            return web.Response(status=429)
        self.inside += 1
        self.most = max(self.most, self.inside)
        await asyncio.sleep(self.seconds)
        self.inside -= 1
        return web.json_response([])


@pytest.fixture
def slow() -> Iterator[Slow]:
    """It, on a thread of its own."""
    server, loop = Slow(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_post("/predict", server.answer)
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_closed_load(slow: Slow) -> None:
    """As many at once as there are callers; none of the warm-up counts."""
    found = load.closed(PLAIN, slow.url, ASKED, callers=4, seconds=0.6, warm_up=0.6)

    assert slow.most == 4
    assert slow.bodies[0] == {"text": ASKED[0].text, "labels": list(ASKED[0].labels)}
    assert found.statuses == {200: len(found.latencies)}
    assert 10 < len(found.latencies) < 0.75 * len(slow.bodies)
    assert 0.02 < found.percentile(50) < 0.2
    assert 0.6 <= found.seconds < 1
    assert found.rate == len(found.latencies) / found.seconds


def test_open_load_does_not_wait(slow: Slow) -> None:
    """Arrivals come at their rate however slow the answers are."""
    slow.seconds = 0.5

    found = load.opened(PLAIN, slow.url, ASKED, rate=100, seconds=1, seed=2)

    assert 70 < len(slow.bodies) < 130
    assert slow.most > 30
    assert found.statuses == {200: len(slow.bodies)}


def test_refusals_are_counted(slow: Slow) -> None:
    """A refusal is no answer, and has no latency."""
    slow.seconds, slow.places = 0.3, 2

    found = load.opened(PLAIN, slow.url, ASKED, rate=50, seconds=1, seed=3)

    assert found.statuses[200] == len(found.latencies) <= 8
    assert found.statuses[429] == len(slow.bodies) - found.statuses[200] > 0


def test_nobody_there() -> None:
    """A server that is gone loses every request."""
    found = load.opened(PLAIN, "http://127.0.0.1:9", ASKED, rate=20, seconds=0.5, seed=4)

    assert set(found.statuses) == {load.LOST}
    assert found.row()["p50_ms"] != found.row()["p50_ms"]


def test_latency_counts_from_when_it_was_due(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that falls behind does not make the server look faster."""
    ask = load._Meter.ask

    async def late(*given: object) -> None:
        time.sleep(0.05)  # noqa: ASYNC251 -- holds the event loop, as a busy machine does
        await ask(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(load._Meter, "ask", late)

    found = load.opened(PLAIN, slow.url, ASKED, rate=100, seconds=0.5, seed=5)

    assert found.percentile(99) > 0.5
