"""An encoder's layers in one step, int8 or bf16: `encoder.c`, and the operation of OpenVINO's."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.engines import attention
from predictor.engines.attention import Tables
from predictor.engines.operation import Operation, Operations
from predictor.engines.silent import ov

Floats = NDArray[np.float32]

DEEP, PAIR = 64, 32
"""Products are of so many bytes of rows, and of so many columns, at a time: a layer's sizes are
multiples of these."""
_COLUMNS, _SIDE = 16, 4
"""A tile of weights holds 64 bytes of 16 columns: of each four bytes side by side."""
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int
_ARGUMENTS = (
    *(_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _POINTER, _COUNT),
    *(_POINTER, _COUNT, _POINTER, _COUNT, _COUNT, _COUNT, _COUNT),
)


class _Linear(ctypes.Structure):
    _fields_ = (
        ("weights", _POINTER),
        ("scale", _POINTER),
        ("shift", _POINTER),
        ("by", _POINTER),
        ("zero", ctypes.c_float),
        ("rows", _COUNT),
        ("columns", _COUNT),
        ("bytes", _COUNT),
    )


class _Norm(ctypes.Structure):
    _fields_ = (("scale", _POINTER), ("shift", _POINTER), ("least", ctypes.c_float))


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Linear) for name in ("mixed", "out", "wide", "narrow")),
        *((name, _Norm) for name in ("seen", "last")),
        ("key", _POINTER),
        ("query", _POINTER),
        ("table", _COUNT),
    )


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer, its weights in the order of tiles.

    Attributes:
        weights: int8, or bf16 as uint16, of shape (columns / 16, tiles, 16, 16, numbers in four
            bytes).
        shift: for each column, what is added to a sum of products.
        scale: int8: for each column, what a sum of products is worth.
        by: int8: for each row, what its activation is multiplied with, for it to be in steps.
        zero: int8: the step, with a fraction, that an activation of 0 is.
    """

    weights: NDArray[np.int8] | NDArray[np.uint16]
    shift: Floats
    scale: Floats | None = None
    by: Floats | None = None
    zero: float = 0.0

    @classmethod
    def whole(
        cls,
        weights: NDArray[np.int8],
        worth: Floats,
        bias: Floats,
        smooth: Floats,
        low: float,
        high: float,
    ) -> Linear:
        """In int8, from what a model says.

        Args:
            weights: of shape (columns, rows).
            worth: of a weight's step, for each column.
            bias: for each column.
            smooth: for each row, what its activation is multiplied with before it is rounded.
            low: what step 0 of an activation then is.
            high: what step 255 is.
        """
        step = (high - low) / 255
        sums = weights.sum(axis=1, dtype=np.int64)
        return cls(
            _tiles(weights),
            (bias + worth * low * sums).astype(np.float32),
            (worth * step).astype(np.float32),
            (smooth / step).astype(np.float32),
            -low / step,
        )

    @classmethod
    def rounded(cls, weights: Floats, bias: Floats) -> Linear:
        """In bf16.

        Args:
            weights: of shape (columns, rows).
            bias: for each column.
        """
        return cls(_tiles(attention.bf16(weights)), bias)

    @property
    def bytes(self) -> int:
        """Of a weight and of an activation."""
        return self.weights.itemsize

    @property
    def rows(self) -> int:
        """The width of what it reads."""
        return self.weights.size // self.columns

    @property
    def columns(self) -> int:
        """The width of what it gives."""
        return len(self.shift)

    def where(self) -> _Linear:
        """As C reads it."""
        return _Linear(
            *map(_address, (self.weights, self.scale, self.shift, self.by)),
            *(self.zero, self.rows, self.columns, self.bytes),
        )


def _tiles(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights of shape (columns, rows) in the order in which AMX reads them."""
    columns, _ = weights.shape
    deep, side = DEEP // weights.itemsize, _SIDE // weights.itemsize
    tiles = weights.reshape(columns // _COLUMNS, _COLUMNS, -1, deep // side, side)
    return np.ascontiguousarray(tiles.transpose(0, 2, 3, 1, 4))


def _address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer norm over states.

    Attributes:
        scale: None for 1.
        shift: None for 0.
        least: what is added to a variance.
    """

    scale: Floats | None
    shift: Floats | None
    least: float

    def where(self) -> _Norm:
        """As C reads it."""
        return _Norm(_address(self.scale), _address(self.shift), self.least)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a BERT or DeBERTa.

    Attributes:
        mixed: to queries, which it scales, keys and values.
        out: from what attention gives, to what is added to the states.
        seen: the norm of that.
        wide: to what GELU is of.
        narrow: from there, to what is added again.
        last: the norm of that.
        tables: None without relative positions.
    """

    mixed: Linear
    out: Linear
    seen: Norm
    wide: Linear
    narrow: Linear
    last: Norm
    tables: Tables | None

    def where(self) -> _Layer:
        """As C reads it."""
        linear = (one.where() for one in (self.mixed, self.out, self.wide, self.narrow))
        tables = self.tables.where if self.tables else (None, None, 0)
        return _Layer(*linear, self.seen.where(), self.last.where(), *tables)


@lru_cache
def _function() -> Any:
    """What was built of `encoder.c`."""
    found = attention.library()
    if found is None:
        raise RuntimeError("encoder.c was not built, or not for this processor")
    found.encode.argtypes = _ARGUMENTS
    return found.encode


class Layers:
    """Some layers, one behind the other, and where C finds them.

    Args:
        layers: of one width.
        heads: of each.
        cores: how many a pass may use while no other needs them; see `team.h`.
    """

    def __init__(self, layers: Sequence[Layer], heads: int, cores: int = 1) -> None:
        self.count, self.heads, self.cores = len(layers), heads, cores
        self.width, self.tables = layers[0].mixed.rows, layers[0].tables
        self._layers = layers  # whose memory C reads
        self._where = (_Layer * len(layers))(*(one.where() for one in layers))

    def encode(
        self,
        states: NDArray[Any],
        out: NDArray[Any],
        sizes: NDArray[np.int32],
        rows: NDArray[np.int32],
        kept: NDArray[np.int32] | None,
        using: int,
    ) -> None:
        """Compute the layers on the calling thread, without Python's lock, with what helps it.

        Args:
            states: bf16 of shape (total, width).
            out: bf16 of shape (kept, width), or (total, width).
            sizes: see `attention.attend`, as for rows.
            rows: of relative positions.
            kept: the positions that are wanted behind the last layer; None for all.
            using: which of `attention.LEVELS`, at most `attention.level()`.

        Raises:
            MemoryError: there is too little.
            ValueError: an array is not as said.
        """
        total = len(states)
        attention.check(self.heads, self.width, sizes, rows, self.tables, total)
        attention.check_array(states, 2, (total, self.width))
        attention.check_array(out, 2, (total if kept is None else len(kept), self.width))
        if kept is not None:
            attention.check_array(kept, 4, (len(kept),))
            if len(kept) and not 0 <= kept.min() <= kept.max() < sizes.sum():
                raise ValueError(f"what is kept is not among {sizes.sum()} positions of texts")
        failed = _function()(
            states.ctypes.data,
            out.ctypes.data,
            len(states),
            sizes.ctypes.data,
            len(sizes),
            rows.ctypes.data,
            (len(rows) + 1) // 2,
            _address(kept),
            len(out),
            self._where,
            self.count,
            self.heads,
            using,
            self.cores,
        )
        if failed:
            raise MemoryError


class Encoder(Operation):
    """The same as an operation of OpenVINO's.

    From (states, sizes, rows), and the places that are kept, int32, where there are such, to what
    `Layers.encode` gives.
    """

    def __init__(self, inputs: Sequence[ov.Output], among: Operations, layers: Layers) -> None:
        self.layers = layers
        super().__init__(inputs, among)

    def shape(self, inputs: Sequence[ov.Output]) -> ov.PartialShape:
        states, _, _, *kept = (one.get_partial_shape() for one in inputs)
        left = kept[0] if kept else states
        return ov.PartialShape([left.get_dimension(0), states.get_dimension(1)])

    def copy(self, inputs: Sequence[ov.Output], among: Operations) -> Encoder:
        return Encoder(inputs, among, self.layers)

    def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
        states, sizes, rows, *more = (one.data for one in inputs)
        kept = more[0] if more else None
        outputs[0].shape = (len(states if kept is None else kept), states.shape[1])
        self.layers.encode(states, outputs[0].data, sizes, rows, kept, attention.level())
        return True
