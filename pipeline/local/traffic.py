"""A caller who never stops: shows that a rollout drops no request."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import httpx

from pipeline.local.sentences import PREDICT, SENTENCES

PAUSE_SECONDS = 0.25


class Traffic:
    """Sends a sentence again and again on a thread of its own, and counts the answers.

    Args:
        url: the predictor's address.

    Attributes:
        versions: answers by the registry version that gave them.
        failed: requests that got no answer, or one that was not 200.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.versions: Counter[str] = Counter()
        self.failed = 0

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(30)

    def __str__(self) -> str:
        total = self.versions.total() + self.failed
        by = ", ".join(f"{count} by version {one}" for one, count in sorted(self.versions.items()))
        return f"{total} requests meanwhile, {self.failed} failed ({by})"

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30, trust_env=False) as client:
            while not self._stop.wait(PAUSE_SECONDS):
                try:
                    answer = client.post(PREDICT, json=SENTENCES[0].payload)
                except httpx.HTTPError:
                    self.failed += 1
                    continue
                if answer.status_code == httpx.codes.OK:
                    self.versions[answer.headers.get("x-model-version", "?")] += 1
                else:
                    self.failed += 1
