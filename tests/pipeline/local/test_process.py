"""Child processes that never outlive their parent, and say why they ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.local.process import Process, running

SERVER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(15, signal.SIG_IGN); {SERVER}"
WITH_CHILD = (
    "import subprocess, sys, time; "
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    "print(child.pid, flush=True); time.sleep(60)"
)


def python(name: str, code: str, log: Path) -> Process:
    return Process(name, [sys.executable, "-c", code], log)


def says(log: Path, text: str = "up") -> Callable[[], bool]:
    return lambda: log.exists() and text in log.read_text()


def alive(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pid: int, seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_runs_until_the_block_ends(tmp_path: Path) -> None:
    """It is ready inside the block and gone behind it."""
    log = tmp_path / "server.log"

    with running(python("the server", SERVER, log), says(log)) as process:
        inside = alive(process.pid)

    assert inside
    assert gone(process.pid)


def test_end_on_its_own_is_told_with_its_last_words(tmp_path: Path) -> None:
    """A server that ends while it is waited for takes the reason with it into the error."""
    process = python("the server", "raise SystemExit('no such database')", tmp_path / "a.log")
    process.start()

    with pytest.raises(PipelineError, match=r"the server ended with code 1\nno such database"):
        process.wait(lambda: False)


def test_slow_start_is_told(tmp_path: Path) -> None:
    """One that never becomes ready is given up."""
    process = python("the server", SERVER, tmp_path / "a.log")
    try:
        process.start()

        with pytest.raises(PipelineError, match="the server is not ready after 0 s"):
            process.wait(lambda: False, seconds=0.3)
    finally:
        process.stop()


def test_stop_takes_force_where_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ignores SIGTERM is killed when its time is up."""
    monkeypatch.setattr("pipeline.local.process.STOP_SECONDS", 0.3)
    log = tmp_path / "a.log"
    process = python("the server", STUBBORN, log)
    process.start()
    process.wait(says(log))

    code = process.stop()

    assert code == -signal.SIGKILL


def test_children_of_the_child_end_too(tmp_path: Path) -> None:
    """What a server started and left behind is not left on the machine."""
    log = tmp_path / "a.log"
    process = python("the server", WITH_CHILD, log)
    process.start()
    process.wait(lambda: log.exists() and log.read_text().strip().isdigit())
    grandchild = int(log.read_text())

    process.stop()

    assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_parent_takes_its_servers_along(tmp_path: Path) -> None:
    """Even a parent that was killed leaves no server running."""
    log = tmp_path / "a.log"
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import pathlib, sys, time\n"
            "from pipeline.local.process import Process\n"
            f"p = Process('x', [sys.executable, '-c', {SERVER!r}], pathlib.Path({str(log)!r}))\n"
            "p.start(); print(p.pid, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    child = int(parent.stdout.readline())

    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()

    assert gone(child)
