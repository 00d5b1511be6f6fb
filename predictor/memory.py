"""Memory: what imports made is left alone, what a model leaves behind goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

_MMAP_THRESHOLD = -3
"""glibc's `M_MMAP_THRESHOLD` for `mallopt`."""
_LARGE = 1 << 20
"""Bytes from which memory is the system's again as soon as it is freed."""


def settle() -> None:
    """Take all that is there now for good, once libraries are imported and before a model is.

    They make half a million objects. Looking through those for garbage stops every thread for
    0.3 s; looking through what came later takes milliseconds.

    Batches are of all sizes. glibc learns to keep what they needed, in pieces that the next
    batch does not fit into, and the process would grow by hundreds of megabytes under load.
    """
    gc.collect()
    gc.freeze()
    if mallopt := _libc("mallopt"):
        mallopt(_MMAP_THRESHOLD, _LARGE)


def release() -> None:
    """Free what is in cycles, as every model is, and give free pages back to the system.

    glibc keeps what was freed for the next time; after a swap that is a whole model.
    """
    gc.collect()
    if trim := _libc("malloc_trim"):
        trim(0)


def _libc(name: str) -> Callable[..., int] | None:
    """A function of glibc, where that is what runs this."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
