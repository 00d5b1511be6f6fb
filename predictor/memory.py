"""Memory: what imports made is left alone, what a model leaves behind goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


def settle() -> None:
    """Take all that is there now for good, once libraries are imported and before a model is.

    They make half a million objects. Looking through those for garbage stops every thread for
    0.3 s; looking through what came later takes milliseconds.
    """
    gc.collect()
    gc.freeze()


def release() -> None:
    """Free what is in cycles, as every model is, and give free pages back to the system.

    glibc keeps what was freed for the next time; after a swap that is a whole model.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
