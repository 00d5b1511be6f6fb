"""A model that needs no weights: it finds the words that a rule names."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from predictor.engines import Limits, Window

_WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")


class FakeEngine:
    """Scores each span by a function of its words and the prompt.

    Args:
        score_of: probability of a span for a prompt, from the span's words.
        limits: as a model would have them.
    """

    name, precision, device = "fake", "fp32", "cpu"
    markers: tuple[str, ...] = ()
    lanes = 1

    def __init__(
        self,
        score_of: Callable[[tuple[str, ...], str], float],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits(words=20, width=3, positions=200)
        self.seen: list[list[Window]] = []
        self._score_of = score_of

    def split(self, text: str) -> Iterator[tuple[str, int, int]]:
        return ((one.group(), one.start(), one.end()) for one in _WORD.finditer(text))

    def subwords(self, words: Sequence[str]) -> list[int]:
        """A position for every four printable characters; none for control characters."""
        return [-(-sum(map(str.isprintable, word)) // 4) for word in words]

    def prompt_positions(self, prompts: Sequence[str]) -> int:
        return 2 + sum(2 for _ in prompts)

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        self.seen.append(list(windows))
        return [self._scores(window) for window in windows]

    def _scores(self, window: Window) -> NDArray[np.float32]:
        words, width = len(window.words), self.limits.width
        scores = np.zeros((words, width, len(window.prompts)), dtype=np.float32)
        for start in range(words):
            for size in range(min(width, words - start)):
                span = window.words[start : start + size + 1]
                for label, prompt in enumerate(window.prompts):
                    scores[start, size, label] = self._score_of(span, prompt)
        return scores


class GatedEngine(FakeEngine):
    """Holds each forward pass until the test lets it go. Words that begin with `Poison` break it.

    Attributes:
        begun: the first word of each window, by forward pass.
        threads: names of those that ran it.
        most: how many passes were in it at once.
    """

    def __init__(self, lanes: int = 1) -> None:
        super().__init__(names_and_numbers)
        self.lanes = lanes
        self.begun: list[list[str]] = []
        self.threads: set[str] = set()
        self.most = 0
        self._inside = 0
        self._gate = threading.Semaphore(0)

    def let(self, passes: int = 1) -> None:
        """Let forward passes go, those to come too."""
        self._gate.release(passes)

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        self._inside += 1
        self.most = max(self.most, self._inside)
        self.threads.add(threading.current_thread().name)
        self.begun.append([window.words[0] for window in windows])
        assert self._gate.acquire(timeout=20), "the test has let no pass go"
        self._inside -= 1
        if any(word.startswith("Poison") for window in windows for word in window.words):
            raise RuntimeError("poisoned")
        return super().score(windows)


def names_and_numbers(span: tuple[str, ...], prompt: str) -> float:
    """Capitalised words are a `name`, digits a `number`; several capitalised words best."""
    if prompt == "number":
        return 0.9 if len(span) == 1 and span[0].isdigit() else 0.01
    capitals = all(word[:1].isupper() for word in span)
    return 0.6 + 0.1 * len(span) if prompt == "name" and capitals else 0.02
