"""Callers of a predictor."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx


@contextmanager
def asking(url: str, callers: int, text: str, pause: float) -> Iterator[Counter[int]]:
    """Callers who ask again and again, whatever they are told.

    Yields:
        How often each status came; 0 is no answer at all.
    """
    seen: Counter[int] = Counter()
    stop = threading.Event()

    def ask() -> None:
        body = {"instances": [text], "parameters": {"labels": ["person"]}}
        # Longer than a queue of all of them takes, on the slowest machine.
        with httpx.Client(base_url=url, timeout=300, trust_env=False) as http:
            while not stop.wait(pause):
                try:
                    seen[http.post("/v1/models/gliner:predict", json=body).status_code] += 1
                except httpx.TransportError:
                    seen[0] += 1

    with ThreadPoolExecutor(callers) as pool:
        for _ in range(callers):
            pool.submit(ask)
        try:
            yield seen
        finally:
            stop.set()
