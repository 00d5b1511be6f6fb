"""`python attention_in_bounds.py LIBRARY`: attention of texts of many lengths, for a sanitizer to
watch. Memory is NumPy's, so whatever lies outside of an array is not ours."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
from numpy.typing import NDArray

ROWS = 32


def main() -> None:
    """Every way that the processor has, with and without tables."""
    library = ctypes.CDLL(sys.argv[1])
    source = np.random.default_rng(3)
    for heads, width in ((1, 32), (2, 64)):
        for sizes in ([1], [16], [17, 1, 31], [32, 33], [200, 5]):
            total, longest, model = sum(sizes), max(sizes), heads * width
            mixed = source.integers(0, 0x3F00, (total, 3 * model), dtype=np.uint16)
            table = source.integers(0, 0x3F00, (heads, ROWS, width), dtype=np.uint16)
            rows = source.integers(0, ROWS, 2 * longest - 1, dtype=np.int32)
            for tables in ((None, None, 0), (address(table), address(table.copy()), ROWS)):
                for level in range(1, library.attention_level() + 1):
                    out = np.zeros((total, model), np.uint16)
                    failed = library.attention(
                        *(address(mixed), address(out), total),
                        *(address(np.array(sizes, np.int32)), len(sizes), heads, width),
                        *(*tables, address(rows), longest, level),
                    )
                    if failed or not out.any():
                        raise SystemExit(f"{sizes} at level {level}: nothing came of it")
    sys.stdout.write("done\n")


def address(values: NDArray[np.generic]) -> ctypes.c_void_p:
    """For C, which must find the array alive."""
    pointer = ctypes.c_void_p(values.ctypes.data)
    pointer.kept = values  # type: ignore[attr-defined]
    return pointer


if __name__ == "__main__":
    main()
