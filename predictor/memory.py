"""Memory: what imports made is left alone, what a model leaves behind goes back to the system."""

from __future__ import annotations

import ctypes
import functools
import gc
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MMAP_THRESHOLD = -3
"""glibc's `M_MMAP_THRESHOLD` for `mallopt`."""
_LARGE = 32 << 20
"""Bytes from which memory is the system's again as soon as it is freed: the most that glibc takes.
What an operator gives is smaller; given back at once it would be new pages for the next."""
_EVERY = 0.25
"""Seconds from one look for free pages to the next, which takes milliseconds."""

_looked = -math.inf


@contextmanager
def undisturbed() -> Iterator[None]:
    """Look for no garbage meanwhile: for imports, whose objects stay.

    There are half a million, and to look through them again and again as their number grows takes
    a third of the time.
    """
    looks = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looks:
            gc.enable()


def settle() -> None:
    """Take all that is there now for good, once libraries are imported and before a model is.

    They make half a million objects. Looking through those for garbage stops every thread for
    0.3 s; looking through what came later takes milliseconds.

    Of glibc's bound for what goes back at once it also says that it stays: glibc would raise it
    with what batches need.
    """
    gc.collect()
    gc.freeze()
    if mallopt := _libc("mallopt"):
        mallopt(_MMAP_THRESHOLD, _LARGE)


def trim() -> None:
    """Give pages that a pass has left back to the system, unless that was just done.

    Passes are of all sizes. glibc keeps what they needed, in pieces that the next does not fit
    into, and the process would grow by hundreds of megabytes under load.
    """
    global _looked
    now = time.monotonic()
    if now - _looked >= _EVERY:
        _looked = now
        _give_back()


def release() -> None:
    """Free what is in cycles, as every model is, and give free pages back to the system.

    glibc keeps what was freed for the next time; after a swap that is a whole model.
    """
    gc.collect()
    _give_back()


def _give_back() -> None:
    if malloc_trim := _libc("malloc_trim"):
        malloc_trim(0)


@functools.cache
def _libc(name: str) -> Callable[..., int] | None:
    """A function of glibc, where that is what runs this."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
