"""`python attention_in_bounds.py LIBRARY`: attention and whole layers of texts of many lengths, for
a sanitizer to watch. Memory is NumPy's, so whatever lies outside of an array is not ours."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictor.engines import attention
from predictor.engines.encoder import Layer, Layers, Linear, Norm

ROWS = 32


def main() -> None:
    """Every way that the processor has, with and without tables."""
    attention.built = lambda: [Path(sys.argv[1])]
    library = attention.library()
    if library is None:  # for this processor nothing is built
        sys.stdout.write("done\n")
        return
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
    for sizes in ([1], [16], [17, 1, 31], [32, 33], [200, 5]):
        for whole in (True, False):
            layers(sizes, source, whole=whole)
    sys.stdout.write("done\n")


def layers(sizes: list[int], source: np.random.Generator, *, whole: bool) -> None:
    """Two of them, of which the last keeps more rows than there are."""
    width, heads, wide = 64, 2, 128

    def linear(columns: int, rows: int) -> Linear:
        weights = source.integers(-127, 128, (columns, rows), dtype=np.int8)
        worth = np.full(columns, 1e-3, np.float32)
        if not whole:
            return Linear.rounded(weights * worth[:, None], worth)
        return Linear.whole(weights, worth, worth, np.ones(rows, np.float32), -3, 3)

    norm = Norm(np.ones(width, np.float32), None, 1e-6)
    one = Layer(
        mixed=linear(3 * width, width),
        out=linear(width, width),
        seen=norm,
        wide=linear(wide, width),
        narrow=linear(width, wide),
        last=norm,
        tables=None,
    )
    total = sum(sizes)
    states = source.integers(0, 0x3F00, (total, width), dtype=np.uint16)
    kept = source.integers(0, total, total + 40, dtype=np.int32)
    for using in range(1, attention.level() + 1):
        out = np.zeros((len(kept), width), np.uint16)
        rows = np.zeros(1, np.int32)
        lengths = np.array(sizes, np.int32)
        Layers([one, one], heads, 2).encode(states, out, lengths, rows, kept, using)
        if not out.any():
            raise SystemExit(f"layers of {sizes} at level {using}: nothing came of them")


def address(values: NDArray[np.generic]) -> ctypes.c_void_p:
    """For C, which must find the array alive."""
    pointer = ctypes.c_void_p(values.ctypes.data)
    pointer.kept = values  # type: ignore[attr-defined]
    return pointer


if __name__ == "__main__":
    main()
