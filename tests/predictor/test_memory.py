"""What becomes of memory that a pass leaves; in processes of their own, which learn it once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these are rules of glibc's")

OPERATOR = """
import resource, sys
import numpy as np
from predictor import memory

memory.settle()
size = int(sys.argv[1]) << 20
one = np.full(size, 1, np.uint8)
behind = np.full(64 << 10, 1, np.uint8)  # what is last of all goes back whatever its size
del one
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
other = np.full(size, 2, np.uint8)
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize() >> 20)
"""
"""Writes a block after one as large was freed, and says how many of its MB are new pages."""

PASSES = """
import threading
import numpy as np
import psutil
from predictor import memory

def size():
    return psutil.Process().memory_info().rss >> 20

def score():
    blocks, kept = [], []
    for _ in range(100):
        blocks.append(np.full(1 << 20, 1, np.uint8))
        kept.append(np.full(64 << 10, 1, np.uint8))  # so that no block is last of all
    return kept

memory._EVERY = 60
memory.settle()
before, kept = size(), []
for _ in range(2):
    lane = threading.Thread(target=lambda: kept.append(score()))
    lane.start()
    lane.join()
    full = size()
    memory.trim()
    print(full - before, size() - before)
"""
"""Makes and frees 100 MB between pieces that stay, twice; says each time how much the process has
grown before the look for free pages and after it, in MB."""

IMPORTS = """
import gc
from predictor import bundle, engines

found, looks = bundle.locate("embedded"), []
gc.callbacks.append(lambda phase, _: looks.append(phase))
engines.bring(found)
print(len(looks), int(gc.isenabled()))
"""
"""How often imports are searched for garbage, and whether anything is searched after them."""

PART = 0.1
"""Of a block, in pages that are new by chance."""


def ran(program: str, *arguments: str) -> list[int]:
    """The numbers that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},  # 512 of which count as one
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(one) for one in done.stdout.split()]


@pytest.mark.parametrize("size", [2, 24], ids="{} MB".format)
def test_what_an_operator_leaves_is_there_for_the_next(size: int) -> None:
    [new] = ran(OPERATOR, str(size))

    assert new <= PART * size


def test_what_the_largest_leave_goes_back() -> None:
    """A block above glibc's bound is the system's again as soon as it is freed."""
    [new] = ran(OPERATOR, "40")

    assert new >= (1 - PART) * 40


def test_what_a_pass_leaves_goes_back() -> None:
    """What is free between what stays is given back after a pass, and not again at once."""
    full, after, again, still = ran(PASSES)

    assert full > 100
    assert after < 30
    assert again > 100
    assert still > 100


def test_imports_are_not_searched_for_garbage() -> None:
    """Each search begins and ends: 1,200 of them were 2,400 looks."""
    looks, after = ran(IMPORTS)

    assert looks < 20
    assert after == 1
