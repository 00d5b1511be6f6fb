"""A server as a child process that ends with its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from pipeline.errors import PipelineError

START_SECONDS = 120.0
STOP_SECONDS = 40.0
_TAIL = 12
_PR_SET_PDEATHSIG = 1


class Process:
    """One running server.

    Args:
        name: what people call it.
        command: the program and its arguments.
        log: the file that takes all it writes, appended to.
        env: variables on top of this process's own.

    Attributes:
        url: its address, where it has one.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.url = ""
        self._command = list(command)
        self._log = log
        self._env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; the kernel ends it should this process be killed."""
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None

        def end_with_parent() -> None:
            if libc is not None:
                libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C reaches the parent alone, which stops it in order.
            self._child = subprocess.Popen(
                self._command,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def wait(self, ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Block until `ready()` says so.

        Raises:
            PipelineError: it ended, or took too long; the text ends with its last lines.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check()
            if ready():
                return
            time.sleep(0.1)
        raise PipelineError(f"{self.name} is not ready after {seconds:.0f} s\n{self.tail()}")

    def check(self) -> None:
        """Raise where it has ended on its own."""
        code = None if self._child is None else self._child.poll()
        if code is not None:
            raise PipelineError(f"{self.name} ended with code {code}\n{self.tail()}")

    def tail(self) -> str:
        """Its last lines, and where all of them are."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join([*lines[-_TAIL:], f"its log: {self._log}"])

    @property
    def pid(self) -> int:
        """Its process id."""
        if self._child is None:
            raise PipelineError(f"{self.name} was not started")
        return self._child.pid

    def kill(self) -> None:
        """End it as a crash would."""
        if self._child is not None:
            self._signal(signal.SIGKILL)
            self._child.wait()

    def stop(self) -> int:
        """Let it finish, by force when it takes too long. Returns its exit code."""
        if self._child is None:
            return 0
        if self._child.poll() is None:
            # The whole group: MLflow's parent would not pass it on to the worker that it waits for.
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_SECONDS)
        self._signal(signal.SIGKILL)  # what it started and left behind
        return self._child.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@contextmanager
def running(process: Process, ready: Callable[[], bool]) -> Iterator[Process]:
    """Start a process, wait until it is ready, and stop it at the end."""
    try:
        process.start()
        process.wait(ready)
        yield process
    finally:
        process.stop()


def answers(url: str, status: int = 200) -> Callable[[], bool]:
    """Whether a GET on this address has this status."""

    def ready() -> bool:
        try:
            # Never through a proxy: it is on this machine.
            return httpx.get(url, timeout=5, trust_env=False).status_code == status
        except httpx.HTTPError:
            return False

    return ready


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
