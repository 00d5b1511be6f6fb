"""Threads that compute give way to those that answer."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from predictor import priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority on Linux")


def nice(thread: int) -> int:
    """Of a thread, by its number."""
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_what_computes_gives_way() -> None:
    """With the threads that it starts; whoever asks for it stays what it was."""
    before = nice(threading.get_native_id())
    found: list[int] = []

    def make() -> str:
        started = threading.Thread(target=lambda: found.append(nice(threading.get_native_id())))
        started.start()
        started.join()
        found.append(nice(threading.get_native_id()))
        return "made"

    assert priority.giving_way(make) == "made"

    assert found == [min(before + 5, 19)] * 2
    assert nice(threading.get_native_id()) == before


def test_what_goes_wrong_is_told() -> None:
    """As if it had been done here."""
    with pytest.raises(ZeroDivisionError):
        priority.giving_way(lambda: 1 // 0)
