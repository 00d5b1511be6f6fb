"""Reading: in turns, at once where it is short, and for nobody in vain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import fakes
from queued import Queue, names, play, query


class Unread(fakes.FakeEngine):
    """Notes which texts it splits, and splits no long one before the test says so."""

    def __init__(self) -> None:
        super().__init__(fakes.names_and_numbers)
        self.may = threading.Event()
        self.texts: list[str] = []

    def split(self, text: str) -> Iterator[tuple[str, int, int]]:
        assert not text.startswith("L") or self.may.wait(20)
        self.texts.append(text[:2])
        return super().split(text)


def test_reading_many_texts_leaves_turns_to_others() -> None:
    """A request of many texts is read in parts."""
    engine = Unread()

    async def scenario() -> None:
        queue = Queue(engine)
        long = [query(f"L{number}", 900) for number in range(4)]
        tasks = [asyncio.create_task(queue.ask(*long))]
        tasks.append(asyncio.create_task(queue.ask(query("S", 100))))
        await asyncio.sleep(0)
        engine.may.set()
        await asyncio.gather(*tasks)

    play(scenario())

    assert engine.texts == ["L0", "L1", "L2", "S ", "L3"]


def test_a_sentence_is_read_at_once() -> None:
    """It waits for no text that is being read."""
    engine = Unread()

    async def scenario() -> None:
        queue = Queue(engine)
        long = asyncio.create_task(queue.ask(query("Long", 900)))
        await asyncio.sleep(0)
        assert names(await queue.ask(query("Short"))) == ["Short"]
        engine.may.set()
        assert names(await long) == ["Long"]

    play(scenario())

    assert engine.texts == ["Sh", "Lo"]


class Counted(fakes.FakeEngine):
    """Notes how many words are counted at a time, beginning with which, and calls the test."""

    def __init__(self, then: Callable[[int], object]) -> None:
        super().__init__(fakes.names_and_numbers)
        self.parts: list[tuple[str, int]] = []
        self._then = then

    def subwords(self, words: Sequence[str]) -> list[int]:
        self.parts.append((words[0], len(words)))
        self._then(len(self.parts))
        return super().subwords(words)


def test_reading_a_long_text_leaves_turns_to_others() -> None:
    """A short request is read, and answered, while a text of any length is being read."""
    may = threading.Event()
    engine = Counted(lambda _: may.wait(20))

    async def scenario() -> None:
        queue = Queue(engine)
        long = asyncio.create_task(queue.ask(query("Long", 50_000)))
        short = asyncio.create_task(queue.ask(query("Short", 100)))
        await asyncio.sleep(0)
        may.set()
        assert names(await short) == ["Short"]
        assert len(engine.parts) < 40
        assert names(await long) == ["Long"]

    play(scenario())

    assert engine.parts[1] == ("Short", 101)
    assert len(engine.parts) > 50
    assert max(words for _, words in engine.parts) == 1_000


def test_a_long_text_is_not_read_on_for_nobody() -> None:
    """Once its caller went away no more of a text is read."""

    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        engine = Counted(lambda part: part == 3 and loop.call_soon_threadsafe(long.cancel))
        queue = Queue(engine)
        long = asyncio.create_task(queue.ask(query("Long", 100_000)))
        await asyncio.gather(long, return_exceptions=True)
        assert await queue.drained(5)
        await asyncio.get_running_loop().run_in_executor(queue._reader, lambda: None)
        return len(engine.parts)

    assert play(scenario()) < 90
