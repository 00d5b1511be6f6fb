"""A queue before a model that does nothing until the test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import fakes

from predictor.batching import WorkQueue
from predictor.extraction import Extraction, Extractor, Label, Query

LABELS = (Label("name", "name", 0.5),)


def query(name: str, words: int = 2, labels: tuple[Label, ...] = LABELS) -> Query:
    """A text that begins with a name, by which its window is known again."""
    return Query(" ".join([name] + ["something"] * words), labels, flat_ner=True, multi_label=False)


class Queue(WorkQueue):
    """A queue before one engine.

    Args:
        engine: holds each forward pass until the test lets it go.
        size: most windows in a forward pass.
    """

    def __init__(self, engine: fakes.FakeEngine, size: int = 8, **bounds: Any) -> None:
        given = {"max_pending": 100, "max_seconds": 1000, "timeout_seconds": 60, **bounds}
        super().__init__(**given)
        self.engine = engine
        self.extractor = Extractor(engine, window_overlap=6, batch_size=size)

    async def ask(self, *queries: Query) -> list[Extraction]:
        return await self.run(self.extractor, queries)

    async def start(self, *queries: Query) -> asyncio.Task[list[Extraction]]:
        """Ask, and wait until the windows are in line or in the engine."""
        task = asyncio.create_task(self.ask(*queries))
        await asyncio.sleep(0)
        while True:
            await asyncio.wrap_future(self._reader.submit(lambda: None))
            if self._reader._work_queue.empty():  # else a long text is read in turn with this
                return task


async def until(happened: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(5000):
        if happened():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it never was")


def play(scenario: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(scenario, 30))


def names(results: list[Extraction]) -> list[str]:
    return [entity.text for result in results for entity in result.entities]
