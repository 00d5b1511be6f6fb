"""What computes for a tenth of a second gives way to what answers in a tenth of a millisecond."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_NICE = 5
"""Steps below the server's own threads: a third of their weight where both want one core."""

T = TypeVar("T")


def giving_way(make: Callable[[], T]) -> T:
    """Run something on a thread of lower priority. Threads that it starts are so, too.

    With a model on every core, the thread that takes requests and gives answers would wait for a
    core at each of them. Linux weighs threads of one container against each other only, so no
    other pod gains by it.
    """
    with ThreadPoolExecutor(1, initializer=_lower) as lower:
        return lower.submit(make).result()


def _lower() -> None:
    if sys.platform == "linux":  # elsewhere a priority is a process's
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
