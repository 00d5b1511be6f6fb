"""An HTTP server that gives fixed answers, for parts whose real server is not the point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import http_server


@dataclass(frozen=True)
class Answer:
    """A status, a body (JSON unless it is text), and headers."""

    status: int = 200
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def server(answers: Mapping[str, Answer]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Serve answers by path, 404 elsewhere.

    Yields:
        Its address, and the path and Host header of each request so far.
    """
    seen: list[tuple[str, str]] = []

    class Handler(http_server.Handler):
        def serve(self) -> None:
            self.body()
            path = self.path.partition("?")[0]
            seen.append((path, self.headers.get("host", "")))
            found = answers.get(path, Answer(404))
            self.send(found.status, found.body, found.headers)

    with http_server.serving(Handler) as url:
        yield url, seen
