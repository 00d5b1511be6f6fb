"""Spans of passes that several requests share, that fail, and of texts that are long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import fakes
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from queued import Queue, play, query, until

from predictor import context
from predictor.spans import RequestTracer


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    """What is exported by this process, for the time of a test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    context.trace_requests(RequestTracer(provider.get_tracer("test")))
    yield exporter
    context.trace_requests(None)


async def ask(queue: Queue, *queries: Any) -> Any:
    """Ask as a request over HTTP does; an error is what comes back."""
    opened = context.open_request({})
    opened.protocol, opened.endpoint = "v1", "predict"
    context.begin_trace(opened, {}, "POST")
    try:
        return await queue.ask(*queries)
    except Exception as error:  # noqa: BLE001 - as the edge has it
        opened.error = "internal"
        return error
    finally:
        assert opened.spans
        opened.spans.end(opened, 500 if opened.error else 200)


def named(exported: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [one for one in exported.get_finished_spans() if one.name == name]


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context
    return span.context.trace_id, span.context.span_id


def kind(span: ReadableSpan) -> object:
    """Of its error."""
    return (span.attributes or {}).get("error.type")


def links(span: ReadableSpan) -> set[tuple[int, int]]:
    return {(one.context.trace_id, one.context.span_id) for one in span.links}


def test_a_shared_pass_is_linked(exported: InMemorySpanExporter) -> None:
    """Each request has the pass in its own trace; from one, links lead to the others."""
    engine = fakes.GatedEngine()

    async def scenario() -> None:
        queue = Queue(engine)
        tasks = [asyncio.create_task(ask(queue, query("First")))]
        await until(lambda: engine.begun)
        tasks += [asyncio.create_task(ask(queue, query(one))) for one in ("Ada", "Bo")]
        tasks.append(asyncio.create_task(ask(queue, query("Cy"), query("Di"))))
        await until(lambda: queue._seconds() and len(named(exported, "read")) == 4)
        engine.let(2)
        await asyncio.gather(*tasks)

    play(scenario())

    lone, *shared = sorted(named(exported, "pass"), key=lambda one: one.start_time or 0)
    assert len(shared) == 3
    assert links(lone) == set()
    [hub] = [one for one in shared if len(one.links) == 2]
    assert links(hub) == {ids(one) for one in shared if one is not hub}
    assert all(links(one) == {ids(hub)} for one in shared if one is not hub)
    assert len({ids(one)[0] for one in shared}) == 3
    counts = [dict(one.attributes or {}) for one in shared]
    assert sorted(str(one["gliner.windows"]) for one in counts) == ["1", "1", "2"]
    assert {one["gliner.pass.windows"] for one in counts} == {4}
    assert {one["gliner.pass.requests"] for one in counts} == {3}


def test_a_failed_pass_names_its_kind(exported: InMemorySpanExporter) -> None:
    """It fails for all in it, then each window is tried alone; no word of the error is exported."""

    def refuse(words: tuple[str, ...], _prompt: str) -> float:
        if "Ada" in words:
            raise RuntimeError("cannot read Ada")
        return 0.0

    engine = fakes.FakeEngine(refuse)

    async def scenario() -> list[Any]:
        queue = Queue(engine)
        return list(
            await asyncio.gather(ask(queue, query("Ada"), query("Bo")), ask(queue, query("Cy")))
        )

    failed, fine = play(scenario())

    assert isinstance(failed, RuntimeError)
    assert not isinstance(fine, Exception)
    kinds = {(one.status.is_ok, kind(one)) for one in named(exported, "pass")}
    assert kinds == {(False, "RuntimeError"), (True, None)}
    everything = " ".join(one.to_json() for one in exported.get_finished_spans())
    assert "Ada" not in everything
    assert all(not one.events for one in exported.get_finished_spans())
    servers = named(exported, "POST /v1/models/{model_name}:predict")
    assert {(one.status.is_ok, kind(one)) for one in servers} == {(False, "internal"), (True, None)}


def test_a_long_text_has_one_reading(exported: InMemorySpanExporter) -> None:
    """A request that is read in parts has one span of it, and a pass for each batch."""
    engine = fakes.FakeEngine(lambda _words, _prompt: 0.0)

    async def scenario() -> None:
        await ask(Queue(engine, size=4), *(query("Ada", 3000) for _ in range(3)))

    play(scenario())

    [read] = named(exported, "read")
    [_] = named(exported, "queue")
    passes = named(exported, "pass")
    attributes = dict(read.attributes or {})
    assert attributes["gliner.texts"] == 3
    assert len(passes) == len(engine.seen) > 3
    windows = sum(int(str((one.attributes or {})["gliner.windows"])) for one in passes)
    assert attributes["gliner.windows"] == windows
