"""The caller who never stops counts every answer, by the version that gave it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import http_server
import pytest

from pipeline.local import traffic


class Handler(http_server.Handler):
    """Answers twice with version 1, then with version 2, then refuses."""

    answers = iter(())

    def serve(self) -> None:
        self.body()
        status, version = next(self.answers, (503, ""))
        self.send(status, {}, {"x-model-version": version} if version else {})


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(traffic, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(Handler, "answers", iter([(200, "1"), (200, "1"), (200, "2")]))
    with http_server.serving(Handler) as address:
        yield address


def test_answers_are_counted_by_version(url: str) -> None:
    """Versions and failures each have their number, and the line says them."""
    with traffic.Traffic(url) as caller:
        until = time.monotonic() + 20
        while not caller.failed and time.monotonic() < until:
            time.sleep(0.01)

    assert caller.versions == {"1": 2, "2": 1}
    assert caller.failed >= 1
    assert str(caller).startswith(f"{3 + caller.failed} requests meanwhile, {caller.failed} failed")


def test_no_server_is_a_failure(url: str) -> None:
    """A refused connection counts as a failed request."""
    with traffic.Traffic("http://127.0.0.1:9") as caller:
        until = time.monotonic() + 20
        while not caller.failed and time.monotonic() < until:
            time.sleep(0.01)

    assert caller.failed
    assert not caller.versions
