"""Attention in one step of our own, in place of what OpenVINO makes of it.

OpenVINO computes DeBERTa's attention in some fifteen steps a layer, each through memory and padded
to the longest text of the pass: two fifths of the time where products are fast. `attention.c` does
the same in a tenth of that. It is used in bf16 and where it was built; a model is stored without
it, so that it serves everywhere.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.engines.reading import Batch
from predictor.engines.silent import ov

operations = ov.opset15

LEVELS = ("neither", "AVX-512 BF16", "AMX")
"""What it computes with, from the slowest on; it is not used on a processor with neither."""
AVX512, AMX = 1, 2
_STEP = 32
"""Heads are computed in steps of so many numbers."""
_LEAST = np.float32(-1)
"""What attention adds is 0 for a position and far below this for padding."""
_TYPE = ov.Type.bf16
_CORE = "ScaledDotProductAttention"
_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int
_ARGUMENTS = (
    *(_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _COUNT, _COUNT),
    *(_POINTER, _POINTER, _COUNT, _POINTER, _COUNT, _COUNT),
)
_NOWHERE = (None, None, 0)
_ON_THE_WAY = {"Slice", "Reshape", "Transpose", "Convert", "Gather"}
"""Read their first input, and no more of the model by the others."""


def built() -> list[Path]:
    """What was built of `attention.c`: nothing, without a C compiler at the installation."""
    return sorted(Path(__file__).parent.glob("_attention*.so"))


@lru_cache
def library() -> ctypes.CDLL | None:
    """What was built, for a processor that it knows; None without either."""
    for file in built():
        try:
            found = ctypes.CDLL(str(file))
        except OSError:
            continue  # of another system
        if found.attention_level():
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
    """
    found = library()
    if found is None:
        raise RuntimeError("attention.c was not built, or not for this processor")
    total, width = out.shape
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


class Attention(ov.Op):  # type: ignore[misc]  # has no types
    """The same as an operation of OpenVINO's: from (mixed, sizes, rows) to what `attend` gives.

    OpenVINO makes one anew, and asks it for its shape, whenever another shape comes.
    """

    def __init__(
        self,
        inputs: Sequence[ov.Output] | None = None,
        heads: int = 1,
        width: int = 1,
        tables: Tables | None = None,
    ) -> None:
        self.heads, self.width, self.tables = heads, width, tables
        super().__init__(self, inputs if inputs is None else list(inputs))

    def validate_and_infer_types(self) -> None:
        total = self.get_input_partial_shape(0).get_dimension(0)
        self.set_output_type(0, _TYPE, ov.PartialShape([total, self.width]))

    def clone_with_new_inputs(self, new_inputs: Sequence[ov.Output]) -> Attention:
        return Attention(new_inputs, self.heads, self.width, self.tables)

    def visit_attributes(self, visitor: object) -> bool:
        return True

    def has_evaluate(self) -> bool:
        return True

    def evaluate(self, outputs: list[ov.Tensor], inputs: list[ov.Tensor]) -> bool:
        mixed, sizes, rows = (one.data for one in inputs)
        outputs[0].shape = (len(mixed), self.width)
        attend(mixed, outputs[0].data, sizes, self.heads, self.tables, rows, level())
        return True


def fuse(model: ov.Model) -> int:
    """Put our attention where a rewritten model has its own.

    Args:
        model: converted or read; the same with activations rounded to int8 between its layers.

    Returns:
        In how many layers. Others stay as they are: those whose heads have another width, and all
        of them where it was not built, or not for this processor.
    """
    if not level():
        return 0
    names = [one.name for one in fields(Batch)]
    bias, rows, back = (model.inputs[names.index(one)] for one in ("bias", "rows", "back"))
    there = operations.convert(operations.greater(bias, operations.constant(_LEAST)), "i32")
    sizes = operations.reduce_sum(there, operations.constant(np.array([1, 2, 3])))
    done = 0
    for node in model.get_ordered_ops():
        layer = _Layer.of(node, back) if node.get_type_name() == _CORE else None
        if layer is None:
            continue
        mixed = operations.convert(layer.mixed, "bf16")
        inputs = [mixed.output(0), sizes.output(0), rows]
        own = Attention(inputs, layer.heads, layer.width, layer.tables)
        seen = operations.convert(own, "f32")
        if layer.kept is not None:
            seen = operations.gather(seen, layer.kept, operations.constant(0))
        layer.seen.replace(seen.output(0))
        done += 1
    model.validate_nodes_and_infer_types()
    return done


@dataclass(frozen=True, slots=True)
class _Layer:
    """Where in a model one layer's attention begins and ends.

    Attributes:
        mixed: queries, keys and values of all subwords.
        seen: what attention gives, of all subwords or of those that are kept.
        kept: which these are; None for all.
    """

    mixed: ov.Output
    seen: ov.Output
    kept: ov.Output | None
    heads: int
    width: int
    tables: Tables | None

    @classmethod
    def of(cls, core: ov.Node, back: ov.Output) -> _Layer | None:
        """Around OpenVINO's attention over rows; None where it is not as `rewritten` writes it."""
        view = _first(core.input_value(0), "Reshape")
        end = core.output(0)
        while end.get_node().get_type_name() != "Gather":
            readers = list(end.get_target_inputs())
            if len(readers) != 1 or readers[0].get_index() != 0:
                return None
            end = readers[0].get_node().output(0)
        places = None if view is None else view.input_value(0).get_node()
        if view is None or places is None or places.get_type_name() != "Gather":
            return None
        heads, width = (one.get_length() for one in list(view.get_output_partial_shape(0))[-2:])
        if width % _STEP:
            return None
        asked = _unconverted(end.get_node().input_value(1))
        kept = None
        if asked.get_node().get_type_name() == "Gather":
            kept, asked = asked.get_node().input_value(1), asked.get_node().input_value(0)
        if _unconverted(asked) != back:
            return None
        key, query = (_table(core, side, heads) for side in (0, 1))
        if (key is None) != (query is None):
            return None  # a DeBERTa with one of the two
        tables = None if key is None or query is None else Tables.make(key, query)
        return cls(places.input_value(0), end, kept, heads, heads * width, tables)


def _table(core: ov.Node, side: int, heads: int) -> NDArray[np.float32] | None:
    """The table that a layer's queries (0) or keys (1) are multiplied with, of shape (heads,
    rows, width of a head)."""
    for node in _before(core.input_value(3)):
        if node.get_type_name() == "MatMul" and node.input_value(0) == core.input_value(side):
            gather = _first(node.input_value(1), "Gather")
            constant = None if gather is None else _first(gather.input_value(0), "Constant")
            if constant is None:
                return None
            table: NDArray[np.float32] = constant.data.astype(np.float32)
            # Stored by head, or, where OpenVINO has simplified it, by row.
            if table.ndim == 2:
                table = table.reshape(len(table), heads, -1).transpose(1, 0, 2)
            return table
    return None


def _before(value: ov.Output) -> Iterator[ov.Node]:
    """What a value comes from, as far as to products."""
    todo, seen = [value], set[str]()
    while todo:
        node = todo.pop().get_node()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        yield node
        if node.get_type_name() != "MatMul":
            inputs = node.input_values()
            todo += inputs[:1] if node.get_type_name() in _ON_THE_WAY else inputs


def _first(value: ov.Output, kind: str) -> ov.Node | None:
    """The nearest operation of a kind, by way of first inputs."""
    node = value.get_node()
    while node.get_type_name() != kind:
        if not node.get_input_size():
            return None
        node = node.input_value(0).get_node()
    return node


def _unconverted(value: ov.Output) -> ov.Output:
    while value.get_node().get_type_name() == "Convert":
        value = value.get_node().input_value(0)
    return value
