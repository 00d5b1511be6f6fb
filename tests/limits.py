"""How much memory and CPU a container gets, and what it was kept from.

The kernel sees to it where this machine lets a test make a cgroup; elsewhere a thread of the test's
does as the kernel would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

PERIOD_SECONDS = 0.1
_CGROUPS = Path("/sys/fs/cgroup")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_ENTER = 'for folder in $1; do echo $$ > "$folder/cgroup.procs"; done; shift; exec "$@"'


class Limits(Protocol):
    """What holds one container at a time.

    Attributes:
        memory: the limit in bytes; 0 where there is none.
    """

    memory: int

    def within(self, command: Sequence[str]) -> list[str]:
        """A command that runs the given one under these limits, as the same process."""

    def hold(self, process: subprocess.Popen[bytes]) -> None:
        """Called when a container was started."""

    def allow_memory(self, size: int) -> None:
        """Change the limit, in bytes."""

    def allow_cpu(self, cpus: float) -> None:
        """Change the limit; more than the machine has is none."""

    def working_set(self) -> int:
        """The memory in use that cannot be had back, in bytes."""

    def periods(self) -> tuple[int, int]:
        """Periods of a tenth of a second in which it ran, and those that were cut short."""

    def kills(self) -> int:
        """How often something was ended for want of memory."""

    def close(self) -> None:
        """Called when nothing runs any more."""


class Cgroup:
    """Limits that the kernel keeps, by cgroups of version 1.

    Raises:
        OSError: this process may make none, or there are none.
    """

    def __init__(self) -> None:
        self.memory = 0
        self._memory, self._cpu = (
            _CGROUPS / name / f"gliner-test-{uuid4().hex[:8]}" for name in ("memory", "cpu")
        )
        try:
            self._memory.mkdir()
            self._cpu.mkdir()
            # A machine with swap would use it first.
            (self._memory / "memory.swappiness").write_text("0")
        except OSError:
            self.close()
            raise

    def within(self, command: Sequence[str]) -> list[str]:
        return ["sh", "-c", _ENTER, "sh", f"{self._memory} {self._cpu}", *command]

    def hold(self, process: subprocess.Popen[bytes]) -> None:
        """It has entered by itself."""

    def allow_memory(self, size: int) -> None:
        (self._memory / "memory.limit_in_bytes").write_text(str(size))
        self.memory = size

    def allow_cpu(self, cpus: float) -> None:
        quota = int(cpus * PERIOD_SECONDS * 1e6)
        (self._cpu / "cpu.cfs_period_us").write_text(str(int(PERIOD_SECONDS * 1e6)))
        (self._cpu / "cpu.cfs_quota_us").write_text(str(quota))

    def working_set(self) -> int:
        # As cAdvisor has it: https://github.com/google/cadvisor, setMemoryStats.
        used = int((self._memory / "memory.usage_in_bytes").read_text())
        return max(0, used - _stat(self._memory / "memory.stat")["total_inactive_file"])

    def periods(self) -> tuple[int, int]:
        found = _stat(self._cpu / "cpu.stat")
        return found["nr_periods"], found["nr_throttled"]

    def kills(self) -> int:
        return _stat(self._memory / "memory.oom_control")["oom_kill"]

    def close(self) -> None:
        for folder in (self._memory, self._cpu):
            with suppress(OSError):
                folder.rmdir()


class Guard:
    """The same without the kernel: looks at a process a hundred times a second, stops it for the
    rest of a period when its time is used up, and kills it when it is too large."""

    def __init__(self) -> None:
        self.memory = 0
        self._cpus = float(os.cpu_count() or 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._kills = 0
        self._periods = [0, 0]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def within(self, command: Sequence[str]) -> list[str]:
        return list(command)

    def hold(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def allow_memory(self, size: int) -> None:
        self.memory = size

    def allow_cpu(self, cpus: float) -> None:
        self._cpus = cpus

    def working_set(self) -> int:
        with suppress(OSError):
            if self._process:
                return int(self._proc("statm").split()[1]) * _PAGE
        return 0

    def periods(self) -> tuple[int, int]:
        return self._periods[0], self._periods[1]

    def kills(self) -> int:
        return self._kills

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            ends, before = time.monotonic() + PERIOD_SECONDS, self._seconds()
            cut = False
            while (left := ends - time.monotonic()) > 0:
                time.sleep(min(left, 0.01))
                if self.memory and self.working_set() > self.memory:
                    self._kills += self._signal(signal.SIGKILL)
                if not cut and self._seconds() - before >= self._cpus * PERIOD_SECONDS:
                    cut = self._signal(signal.SIGSTOP)
            self._periods[0] += cut or self._seconds() > before
            if cut:
                self._periods[1] += 1
                self._signal(signal.SIGCONT)

    def _seconds(self) -> float:
        """CPU time of the process so far."""
        with suppress(OSError):
            if self._process:
                used = self._proc("stat").rpartition(")")[2].split()[11:13]
                return sum(map(int, used)) / _TICK
        return 0.0

    def _proc(self, name: str) -> str:
        assert self._process
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _signal(self, number: signal.Signals) -> bool:
        """Send it to what runs; whether there was something."""
        if self._process is None or self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        return True


def found() -> Limits:
    """Those of the kernel, where this machine permits."""
    try:
        return Cgroup()
    except OSError:
        return Guard()


def _stat(file: Path) -> dict[str, int]:
    return {key: int(value) for key, value in map(str.split, file.read_text().splitlines())}
