"""Attention in one step: `attention.c`, and the operation as which OpenVINO calls it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.engines.operation import Operation, Operations
from predictor.engines.silent import ov

LEVELS = ("neither", "AVX-512 BF16", "AMX")
"""What it computes with, from the slowest on; it is not used on a processor with neither."""
NEITHER, AVX512, AMX = range(3)
STEP = 32
"""The width of a head is a multiple of this."""
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int
_ARGUMENTS = (
    *(_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _COUNT, _COUNT),
    *(_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _COUNT),
)
_NOWHERE = (None, None, 0)
_FORM = 1
"""See `kernels.h`."""


def built() -> list[Path]:
    """What was built of `attention.c`, this Python's first: nothing, without a C compiler at the
    installation."""
    own = str(get_config_var("EXT_SUFFIX"))
    files = Path(__file__).parent.glob("_attention*.so")
    return sorted(files, key=lambda file: (not file.name.endswith(own), file.name))


@lru_cache
def library() -> ctypes.CDLL | None:
    """What was built, for a processor that it knows; None without either."""
    for file in built():
        try:
            found = ctypes.CDLL(str(file))
            form = found.attention_form()
        except (OSError, AttributeError):
            continue  # of another system, or of sources from before forms
        if form == _FORM and found.attention_level():
            found.attention.argtypes = _ARGUMENTS
            return found
    return None


@lru_cache
def level() -> int:
    """The best of `LEVELS` here."""
    found = library()
    return int(found.attention_level()) if found else 0


@dataclass(frozen=True, slots=True)
class Tables:
    """DeBERTa's relative positions as one layer's queries and keys meet them, in bf16.

    Attributes:
        key: pairs of numbers, uint32 of shape (heads, width of a head / 2, rows).
        query: uint16 of shape (heads, rows, width of a head).
        where: for C, the addresses of the two, and how many rows each has.
    """

    key: NDArray[np.uint32]
    query: NDArray[np.uint16]
    where: tuple[int, int, int]

    @classmethod
    def make(cls, key: NDArray[np.float32], query: NDArray[np.float32]) -> Tables:
        """From two tables of shape (heads, rows, width of a head)."""
        pairs = np.ascontiguousarray(bf16(key).view(np.uint32).transpose(0, 2, 1))
        rounded = bf16(query)
        return cls(pairs, rounded, (pairs.ctypes.data, rounded.ctypes.data, key.shape[1]))


def bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Rounded to the nearest, to even in the middle, as processors do."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def attend(
    mixed: NDArray[Any],
    out: NDArray[Any],
    sizes: NDArray[np.int32],
    heads: int,
    tables: Tables | None,
    rows: NDArray[np.int32],
    using: int,
) -> None:
    """Compute attention on the calling thread, without Python's lock.

    Args:
        mixed: queries, which are scaled, keys and values, bf16 of shape (total, 3 · width).
        out: bf16 of shape (total, width); what is behind the last text becomes 0.
        sizes: positions of each text; they stand one behind the other.
        heads: of the layer, each as wide as a multiple of 32.
        tables: None without relative positions.
        rows: for distances from the largest to the smallest, their rows in the tables; for as many
            as the longest text has, at least.
        using: which of `LEVELS`, at most `level()`.

    Raises:
        MemoryError: there is too little.
        ValueError: an array is not as said.
    """
    found = library()
    if found is None:
        raise RuntimeError("attention.c was not built, or not for this processor")
    total, width = out.shape
    check(heads, width, sizes, rows, tables, total)
    check_array(mixed, 2, (total, 3 * width))
    check_array(out, 2, (total, width))
    failed = found.attention(
        mixed.ctypes.data,
        out.ctypes.data,
        total,
        sizes.ctypes.data,
        len(sizes),
        heads,
        width // heads,
        *(tables.where if tables else _NOWHERE),
        rows.ctypes.data,
        (len(rows) + 1) // 2,
        using,
    )
    if failed:
        raise MemoryError


def check(
    heads: int,
    width: int,
    sizes: NDArray[np.int32],
    rows: NDArray[np.int32],
    tables: Tables | None,
    total: int,
) -> None:
    """Refuse what C would go beyond its arrays with.

    Raises:
        ValueError: says what is wrong.
    """
    check_array(sizes, 4, (len(sizes),))
    check_array(rows, 4, (len(rows),))
    if width % (STEP * heads):
        raise ValueError(f"{heads} heads in a width of {width} are not multiples of {STEP} wide")
    if not 0 < sizes.min() <= sizes.sum() <= total:
        raise ValueError(f"texts of {sizes.tolist()} positions are not among {total}")
    if tables and not len(rows) >= 2 * sizes.max() - 1:
        raise ValueError(f"{len(rows)} distances are too few for a text of {sizes.max()} positions")


def check_array(values: NDArray[Any], size: int, shape: tuple[int, ...]) -> None:
    """Refuse what C would read as something else.

    Raises:
        ValueError: says what is wrong.
    """
    if not (values.flags.c_contiguous and values.itemsize == size and values.shape == shape):
        raise ValueError(
            f"an array of {values.shape}, {values.dtype}, is not one of {shape}, {size} bytes each "
            "and one behind the other"
        )


class Attention(Operation):
    """The same as an operation of OpenVINO's: from (mixed, sizes, rows) to what `attend` gives."""

    def __init__(
        self,
        inputs: Sequence[ov.Output],
        among: Operations,
        heads: int,
        width: int,
        tables: Tables | None,
    ) -> None:
        self.heads, self.width, self.tables = heads, width, tables
        super().__init__(inputs, among)

    def shape(self, inputs: Sequence[ov.Output]) -> ov.PartialShape:
        mixed, *_ = inputs
        return ov.PartialShape([mixed.get_partial_shape().get_dimension(0), self.width])

    def copy(self, inputs: Sequence[ov.Output], among: Operations) -> Attention:
        return Attention(inputs, among, self.heads, self.width, self.tables)

    def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
        mixed, sizes, rows = (one.data for one in inputs)
        outputs[0].shape = (len(mixed), self.width)
        attend(mixed, outputs[0].data, sizes, self.heads, self.tables, rows, level())
        return True
