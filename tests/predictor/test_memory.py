"""What becomes of memory that a batch leaves; in processes of their own, which learn it once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
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
PART = 0.1
"""Of a block, in pages that are new by chance."""


def new(size: int) -> int:
    """How much of a block is new pages, where one as large was freed before it; both in MB."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(size)],
        env={**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"},  # 512 of which count as one
        check=True,
        capture_output=True,
        text=True,
    )
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a rule of glibc's")
@pytest.mark.parametrize("size", [2, 24], ids="{} MB".format)
def test_what_an_operator_leaves_is_there_for_the_next(size: int) -> None:
    assert new(size) <= PART * size


@pytest.mark.skipif(sys.platform != "linux", reason="a rule of glibc's")
def test_what_the_largest_leave_goes_back() -> None:
    """A block above glibc's bound is the system's again as soon as it is freed."""
    assert new(40) >= (1 - PART) * 40
