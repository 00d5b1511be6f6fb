"""What kfp's local runner prints, read as it comes: the steps, what they say, how they end."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from rich.console import Console

SAID = "\x1e"
"""What a line that a step says begins with (`pipeline.progress`): no other output has it."""

_POLL_SECONDS = 0.1
_STARTED = re.compile(r"Executing task \x1b\[96m'(?P<step>[^']+)'")
_ENDED = re.compile(
    r"Task \x1b\[96m'(?P<step>[^']+)'\x1b\[0m finished with status \x1b\[9\dm(?P<status>\w+)"
)
_ERROR = re.compile(r"error (?P<code>\d+): (?P<reason>.*)")


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed.

    Attributes:
        exit_code: of its error (`pipeline.errors`).
        reason: one line.
    """

    step: str
    exit_code: int
    reason: str


class Watcher:
    """Takes the log line by line and shows what a person wants of it.

    Attributes:
        failure: the first step that failed; None while all went well.
    """

    def __init__(self, console: Console | None) -> None:
        self.failure: Failure | None = None
        self._console = console
        self._status = console.status("") if console else None
        self._since = 0.0
        self._step = ""
        self._error: tuple[int, str] | None = None

    def read(self, line: str) -> None:
        """Take one line."""
        if match := _STARTED.search(line):
            self._start(match["step"])
        elif match := _ENDED.search(line):
            self._end(match["step"], match["status"] == "SUCCESS")
        elif SAID in line:
            self._say(line.partition(SAID)[2].rstrip())

    def stopping(self, seconds: float) -> None:
        """Show that the step which runs is being ended, and how long that may take."""
        what = f"stopping {self._step}" if self._step else "stopping"
        if self._console:
            text = f"{what}: it has up to {seconds:.0f} s to end; a rollout is taken back first"
            self._console.print(Text(text, "bold"), soft_wrap=True)

    def close(self) -> None:
        """Stop showing that something is under way."""
        if self._status:
            self._status.stop()

    def _start(self, step: str) -> None:
        self._since = time.monotonic()
        self._step = step
        self._error = None
        if self._console and self._status:
            self._console.print(Text(step, "bold"))
            self._status.update(f"{step} …")
            self._status.start()

    def _say(self, text: str) -> None:
        if match := _ERROR.fullmatch(text):
            self._error = int(match["code"]), match["reason"]
        elif self._console:
            self._console.print(Text(f"  {text}"), soft_wrap=True)

    def _end(self, step: str, well: bool) -> None:
        if not well and not self.failure:
            code, reason = self._error or (PipelineError.exit_code, "it was killed")
            self.failure = Failure(step, code, reason)
        self._step = ""
        self.close()
        if self._console:
            word = Text("  ok", "green") if well else Text("  failed", "bold red")
            seconds = time.monotonic() - self._since
            self._console.print(Text.assemble(word, (f"  {seconds:.1f} s", "dim")))


def lines(log: Path, begin: int, ended: Callable[[], bool]) -> Iterator[str]:
    """The lines of a file from a position on, as they are written, until its writer has ended."""
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(begin)
        rest = ""
        while True:
            last = ended()  # asked before reading, so that nothing written before it is missed
            rest += file.read()
            *whole, rest = rest.split("\n")
            yield from whole
            if last:
                yield rest
                return
            time.sleep(_POLL_SECONDS)
