"""A model and all that belongs to it change together."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import fakes
import pytest
import torch
from queued import until

from predictor import bundle, engines, memory, served
from predictor.batching import WorkQueue
from predictor.bundle import Bundle, Manifest
from predictor.context import Identity, open_request
from predictor.errors import BundleError, Busy, InvalidRequest
from predictor.extraction import Extractor
from predictor.metrics import EntityLabels
from predictor.protocol import Parser
from predictor.served import Served
from predictor.settings import Settings


def fake(number: int, marker: str) -> Served:
    """A model that finds words of its own, and has a marker of its own."""
    engine = fakes.FakeEngine(lambda span, prompt: 0.9 if span == (f"w{number}",) else 0.0)
    parser = Parser(Settings(), {}, (marker,))
    found = Bundle(Path(), Manifest("fake"), f"{number:064}", str(number))
    return Served(found, Extractor(engine), parser, Identity(str(number), found.digest), 0)


def body(label: str) -> dict[str, Any]:
    return {"instances": [{"text": "w1 w2", "labels": [label]}]}


def test_a_request_stays_with_the_model_it_began_on() -> None:
    """A swap between reading a request and answering it changes nothing for that request."""
    from predictor.model import GlinerModel

    async def scenario() -> list[tuple[str, str]]:
        queue = WorkQueue(max_pending=9, max_seconds=9, timeout_seconds=9)
        model = GlinerModel("gliner", fake(1, "<1>"), queue, EntityLabels([]))

        async def ask(label: str, new: Served) -> tuple[str, str]:
            context = open_request({})
            parsed = model.preprocess(body(label))
            model.swap(new)
            answer = await model.postprocess(await model.predict(parsed))
            [entity] = answer["predictions"][0]["entities"]
            assert context.model
            return context.model.version, entity["text"]

        first = await ask("<2>", fake(2, "<2>"))
        with pytest.raises(InvalidRequest, match="must not contain <2>"):
            await ask("<2>", fake(3, "<3>"))
        return [first, await ask("<1>", fake(1, "<1>"))]

    assert asyncio.run(scenario()) == [("1", "w1"), ("2", "w2")]


def test_a_full_server_refuses_before_it_reads() -> None:
    """What is refused costs nothing: not even its mistakes are looked for."""
    from predictor.model import GlinerModel

    engine = fakes.GatedEngine()
    found = Bundle(Path(), Manifest("fake"), "0", "1")
    held = Served(found, Extractor(engine), Parser(Settings(), {}, ()), Identity("1", "0"), 0)

    async def scenario() -> None:
        queue = WorkQueue(max_pending=1, max_seconds=9, timeout_seconds=9)
        model = GlinerModel("gliner", held, queue, EntityLabels([]))
        task = asyncio.create_task(model(body("name")))
        await until(lambda: engine.begun)
        with pytest.raises(Busy):
            await model({"no": "request"})
        engine.let()
        await task
        with pytest.raises(InvalidRequest):
            await model({"no": "request"})

    asyncio.run(scenario())


def test_headers_are_plain_ascii() -> None:
    """A version is the name of a folder at times, in any language."""
    headers = Identity("modèle\r\nx-evil: 1", "00").headers()

    assert headers == {"x-model-version": "mod%C3%A8le%0D%0Ax-evil: 1", "x-model-digest": "00"}


def test_loading_beside_a_model_leaves_torch_as_it_is(tiny_bert: Path) -> None:
    """Threads and the default type are the process's: a second model does not touch them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        loader = threading.Thread(
            target=served.load, args=(bundle.locate(str(tiny_bert)), Settings(threads=5), {})
        )
        loader.start()
        loader.join()

        assert torch.get_num_threads() == 3
        assert torch.get_default_dtype() == torch.float32
    finally:
        torch.set_num_threads(threads)


def test_a_model_that_nobody_holds_is_freed(tiny_bert: Path) -> None:
    """Its weights go, though they are in cycles, also when memory was settled before."""
    memory.settle()
    try:
        model = served.load(bundle.locate(str(tiny_bert)), Settings(), {})
        weights: Any = model.extractor.engine
        gone = weakref.ref(weights.rewritten)

        del model, weights
        memory.release()

        assert gone() is None
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (Manifest("x", engine="abacus"), "engine 'abacus'; those here are torch"),
        (Manifest("x", precision="int8"), "torch does not compute in 'int8'; it does in fp32"),
    ],
)
def test_engines_that_are_not_here(tiny_bert: Path, manifest: Manifest, message: str) -> None:
    """A bundle for an engine or a precision that this server has not is refused by name."""
    found = Bundle(tiny_bert, manifest, "")

    with pytest.raises(BundleError, match=message):
        served.load(found, Settings(device="cpu"), {})


def test_the_engine_that_a_bundle_names(tiny_bert: Path) -> None:
    """The usual bundle gets torch."""
    engine = engines.load(bundle.locate(str(tiny_bert)), "cpu", "fp32")

    assert (engine.name, engine.precision) == ("torch", "fp32")
