"""A predictor as a pod's container: held to its limits, and started anew each time it ends."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import limits
import servers

from pipeline.local.process import answers

NAMESPACE = "gliner"
CONTAINER = "kserve-container"
# Ten seconds and five minutes: shorter, as all times are, and still much longer than a start takes.
FIRST_PAUSE, LONGEST_PAUSE = 4.0, 60.0
STOP_SECONDS = 20
_KILLED = -9


class Pod:
    """One pod, and what Kubernetes would say of its container.

    Args:
        name: that of the pod.
        folder: for the log of its containers.
        settings: `GLINER_*` settings by their name, lower case; the next start has them.

    Attributes:
        url: where its container serves, if it does.
        restarts: how often the container was started anew.
        ended: why it ended last, in Kubernetes' words; empty before it has.
        waiting: why it is not started now; empty while it is.
    """

    def __init__(self, name: str, folder: Path, **settings: object) -> None:
        self.name = name
        self.limits = limits.found()
        self.settings = settings
        self.restarts = 0
        self.ended = self.waiting = ""
        self._ports = servers.free_ports(2)
        self.url = f"http://127.0.0.1:{self._ports[0]}"
        self._log = folder / f"{name}.log"
        self._stopping, self._anew = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def ready(self) -> bool:
        """Whether its container takes predictions."""
        return answers(f"{self.url}/v2/health/ready")()

    def anew(self, **settings: object) -> None:
        """Start its container with other settings, without waiting any longer."""
        self.settings = settings
        self._anew.set()

    def keep(self) -> None:
        """Start the container, as often as it ends, until the pod is deleted."""
        pause = 0.0
        while True:
            self._run()
            if self._stopping.is_set():
                return
            # At once the first time, then later and later.
            self.waiting = "CrashLoopBackOff" if pause else ""
            self._anew.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE) or FIRST_PAUSE
            self.waiting = ""
            if self._stopping.is_set():
                return
            self.restarts += 1

    def _run(self) -> None:
        kills = self.limits.kills()
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(
                self.limits.within(servers.command(*self._ports)),
                cwd=servers.ROOT,
                env=servers.environment(self.settings),
                stdout=log,
                stderr=log,
            )
        self.limits.hold(process)
        if self._stopping.is_set():
            process.terminate()
        code = process.wait()
        memory = code == _KILLED and self.limits.kills() > kills
        self.ended = "OOMKilled" if memory else "Error" if code else "Completed"

    def delete(self) -> None:
        """End it for good."""
        self._stopping.set()
        self._anew.set()
        # A container that has used up its time could not end.
        self.limits.allow_cpu(2 * (os.cpu_count() or 1))
        if (process := self._process) is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running(pod: Pod) -> Iterator[Pod]:
    """Run one; its container need not be ready yet."""
    thread = threading.Thread(target=pod.keep)
    thread.start()
    try:
        yield pod
    finally:
        pod.delete()
        thread.join()
        pod.limits.close()
