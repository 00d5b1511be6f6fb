"""Many clients at once: every answer belongs to its request, and the server does not grow."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
import wire
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from servers import RunningServer

pytestmark = [pytest.mark.server, pytest.mark.slow]

CLIENTS = 50
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
WARM_UP = SECONDS / 3
GROWTH = 64 * 2**20
"""Bytes by which the process may be larger in the last third than in the second. It is about
700 MB, and still meets batches of new shapes, which take memory until the largest have come: 1 to
22 MB were measured, most on a busy machine; minutes later nothing is added. A server that kept one
tensor of 73 subwords a request would grow by 150 MB in that time."""


class Client:
    """Sends requests that no other client sends, and checks that the answers are to them."""

    def __init__(self, number: int, http: httpx.AsyncClient, service: Any) -> None:
        self.number = number
        self.http = http
        self.service = service
        self.seen: Counter[tuple[str, Any]] = Counter()

    async def run(self, until: float) -> None:
        """Ask in turn over each protocol, rightly and wrongly, until the time is up."""
        asks: tuple[Callable[[str, list[str]], Awaitable[None]], ...] = (
            self.v1,
            self.v2,
            self.grpc,
            self.wrong_v1,
            self.wrong_grpc,
        )
        for turn in itertools.count(self.number):
            if time.monotonic() > until:
                return
            code = f"q{self.number:02}x{turn:05}"
            # As many words as no neighbour's request has; every word holds the code.
            words = [f"{code}w{index}" for index in range(1 + (self.number + turn) % 40)]
            await asks[turn % len(asks)](code, words)

    def check(self, code: str, words: list[str], entities: Any, counted: int) -> None:
        text = " ".join(words)
        assert counted == len(words)
        assert entities
        wire.check_offsets(text, entities, [f"label {code}"])
        assert all(code in one["text"] for one in entities)

    async def v1(self, code: str, words: list[str]) -> None:
        instance = {"text": " ".join(words), "labels": [f"label {code}"], "threshold": 0.0}
        answer = await self.http.post(wire.V1, json={"instances": [instance]})
        self.seen["v1", answer.status_code] += 1
        [prediction] = answer.json()["predictions"]
        self.check(code, words, prediction["entities"], prediction["words"])

    async def v2(self, code: str, words: list[str]) -> None:
        payload = {
            "id": code,
            "inputs": [
                wire.tensor("text", [" ".join(words)]),
                wire.tensor("labels", [f"label {code}"]),
            ],
            "parameters": {"threshold": 0.0},
            "outputs": [{"name": "entities"}, {"name": "words"}],
        }
        answer = await self.http.post(wire.V2, json=payload, headers={"x-request-id": code})
        self.seen["v2", answer.status_code] += 1
        body = answer.json()
        assert body["id"] == answer.headers["x-request-id"] == code
        found, counted = (one["data"][0] for one in body["outputs"])
        self.check(code, words, json.loads(found), counted)

    async def grpc(self, code: str, words: list[str]) -> None:
        request = wire.message(
            [" ".join(words)],
            parameters={"threshold": 0.0},
            outputs=["entities", "words"],
            labels=[f"label {code}"],
        )
        request.id = code
        answer = await self.service.ModelInfer(request, timeout=60)
        self.seen["grpc", "OK"] += 1
        assert answer.id == code
        found, counted = answer.outputs
        self.check(
            code,
            words,
            json.loads(found.contents.bytes_contents[0]),
            counted.contents.int_contents[0],
        )

    async def wrong_v1(self, code: str, words: list[str]) -> None:
        threshold = 2 + int(code[-5:])
        payload = {"instances": [" ".join(words)], "parameters": {"threshold": threshold}}
        answer = await self.http.post(wire.V1, json=payload)
        self.seen["v1", answer.status_code] += 1
        assert answer.json()["error"] == f"threshold: must be at most 1, got {threshold}"

    async def wrong_grpc(self, code: str, words: list[str]) -> None:
        request = wire.message([" ".join(words)], parameters={"labels": [code, code]})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.service.ModelInfer(request, timeout=60)
        self.seen["grpc", caught.value.code().name] += 1
        assert caught.value.details() == f"labels: '{code}' stands there twice"


async def load(server: RunningServer, seconds: float) -> tuple[Counter[Any], list[int]]:
    """Put the server under load.

    Returns:
        How often each protocol gave each status, and the size of the process over time.
    """
    process = psutil.Process(server.process.pid)
    sizes: list[int] = []
    until = time.monotonic() + seconds

    async def watch() -> None:
        while time.monotonic() < until:
            sizes.append(process.memory_info().rss)
            await asyncio.sleep(0.25)

    limits = httpx.Limits(max_connections=CLIENTS)
    async with (
        httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        service = GRPCInferenceServiceStub(channel)
        clients = [Client(number, http, service) for number in range(CLIENTS)]
        await asyncio.gather(watch(), *(client.run(until) for client in clients))
    return sum((client.seen for client in clients), Counter()), sizes


@pytest.mark.timeout(SECONDS + 120)
def test_fifty_clients(server: RunningServer) -> None:
    """Each of 50 clients gets the answers to its own requests, and memory stays what it was."""
    asyncio.run(load(server, WARM_UP))

    seen, sizes = asyncio.run(load(server, SECONDS - WARM_UP))

    assert set(seen) == {
        ("v1", 200),
        ("v1", 400),
        ("v2", 200),
        ("grpc", "OK"),
        ("grpc", "INVALID_ARGUMENT"),
    }
    half = len(sizes) // 2
    early, late = statistics.median(sizes[:half]), statistics.median(sizes[half:])
    assert late - early < GROWTH, f"{early / 2**20:.0f} to {late / 2**20:.0f} MB"


TEXT = "word " * 5_000
PARAMETERS: dict[str, Any] = {"labels": ["person"], "threshold": 0.9}


async def crowd(server: RunningServer, protocol: str) -> Counter[tuple[Any, str]]:
    """Ask eight times at once and count statuses and values of Retry-After."""

    async def ask(http: httpx.AsyncClient, service: Any) -> tuple[Any, str]:
        if protocol == "grpc":
            call = service.ModelInfer(wire.message([TEXT], parameters=PARAMETERS))
            trailing = dict(await call.trailing_metadata())
            return (await call.code()).name, str(trailing.get("retry-after", ""))
        v1 = {"instances": [TEXT], "parameters": PARAMETERS}
        v2 = {"inputs": [wire.tensor("text", [TEXT])], "parameters": PARAMETERS}
        path, payload = (wire.V1, v1) if protocol == "v1" else (wire.V2, v2)
        answer = await http.post(path, json=payload)
        return answer.status_code, answer.headers.get("retry-after", "")

    async with (
        httpx.AsyncClient(base_url=server.url, timeout=60) as http,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        service = GRPCInferenceServiceStub(channel)
        return Counter(await asyncio.gather(*(ask(http, service) for _ in range(8))))


def test_full_queue(
    start_server: Callable[..., AbstractContextManager[RunningServer]], tiny_bert: Path
) -> None:
    """More requests than `GLINER_MAX_PENDING` get 429 with Retry-After, the others an answer."""
    with start_server("--model", str(tiny_bert), settings={"max_pending": 2}) as server:
        found = {name: asyncio.run(crowd(server, name)) for name in ("v1", "v2", "grpc")}

    assert set(found["v1"]) == set(found["v2"]) == {(200, ""), (429, "1")}
    assert set(found["grpc"]) == {("OK", ""), ("RESOURCE_EXHAUSTED", "1")}
