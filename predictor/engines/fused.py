"""A converted model with attention in one step of our own, in place of what OpenVINO makes of it.

OpenVINO computes DeBERTa's attention in some fifteen steps a layer, each through memory and padded
to the longest text of the pass: two fifths of the time where products are fast. `attention` does
the same in a third of that. A model is stored without it, so that it serves everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from predictor.engines import attention
from predictor.engines.operation import Operations
from predictor.engines.reading import Batch
from predictor.engines.silent import ov

operations = ov.opset15

_LEAST = np.float32(-1)
"""What attention adds is 0 for a position and far below this for padding."""
_CORE = "ScaledDotProductAttention"
_ON_THE_WAY = {"Slice", "Reshape", "Transpose", "Convert", "Gather"}
"""Read their first input, and no more of the model by the others."""


def fuse(model: ov.Model) -> Operations:
    """Put our attention where a rewritten model has its own.

    Args:
        model: converted or read; the same with activations rounded to int8 between its layers.

    Returns:
        One for each layer. Others stay as they are: those whose heads have another width, and all
        of them where it was not built, or not for this processor.
    """
    done = Operations()
    if not attention.level():
        return done
    sizes, rows = lengths(model)
    for layer in list(attended(model)):
        mixed = operations.convert(layer.mixed, "bf16")
        inputs = [mixed.output(0), sizes, rows]
        own = attention.Attention(inputs, done, layer.heads, layer.width, layer.tables)
        seen = operations.convert(own, "f32")
        if layer.kept is not None:
            seen = operations.gather(seen, layer.kept, operations.constant(0))
        layer.seen.replace(seen.output(0))
        done.layers += 1
    model.validate_nodes_and_infer_types()
    return done


def lengths(model: ov.Model) -> tuple[ov.Output, ov.Output]:
    """How many positions each text has, and the rows of relative positions, both int32."""
    bias, rows = _inputs(model, "bias", "rows")
    there = operations.convert(operations.greater(bias, operations.constant(_LEAST)), "i32")
    sizes = operations.reduce_sum(there, operations.constant(np.array([1, 2, 3])))
    return sizes.output(0), operations.convert(rows, "i32").output(0)


def attended(model: ov.Model) -> Iterator[Attended]:
    """Each attention that is as `rewritten` writes it, of heads as wide as ours."""
    [back] = _inputs(model, "back")
    for node in model.get_ordered_ops():
        layer = Attended.of(node, back) if node.get_type_name() == _CORE else None
        if layer is not None:
            yield layer


def _inputs(model: ov.Model, *wanted: str) -> list[ov.Output]:
    names = [one.name for one in fields(Batch)]
    return [model.inputs[names.index(one)] for one in wanted]


@dataclass(frozen=True, slots=True)
class Attended:
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
    tables: attention.Tables | None

    @classmethod
    def of(cls, core: ov.Node, back: ov.Output) -> Attended | None:
        """Around OpenVINO's attention over rows; None where it is not as `rewritten` writes it."""
        view = _first(core.input_value(0), "Reshape")
        if view is None:
            return None
        places = view.input_value(0).get_node()
        if places.get_type_name() != "Gather":
            return None
        end = core.output(0)
        while end.get_node().get_type_name() != "Gather":
            readers = list(end.get_target_inputs())
            if len(readers) != 1 or readers[0].get_index() != 0:
                return None
            end = readers[0].get_node().output(0)
        heads, width = (one.get_length() for one in list(view.get_output_partial_shape(0))[-2:])
        if width % attention.STEP:
            return None
        asked = unconverted(end.get_node().input_value(1))
        kept = None
        if asked.get_node().get_type_name() == "Gather":
            kept, asked = asked.get_node().input_value(1), asked.get_node().input_value(0)
        if unconverted(asked) != back:
            return None
        key, query = (_table(core, side, heads) for side in (0, 1))
        if (key is None) != (query is None):
            return None  # a DeBERTa with one of the two
        tables = None if key is None or query is None else attention.Tables.make(key, query)
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


def constant(value: ov.Output) -> NDArray[np.float32] | None:
    """The numbers of a constant, whatever it is stored in; None where it is none."""
    node = unconverted(value).get_node()
    return node.data.astype(np.float32) if node.get_type_name() == "Constant" else None


def unconverted(value: ov.Output) -> ov.Output:
    """A value as it was before it was converted to another type."""
    while value.get_node().get_type_name() == "Convert":
        value = value.get_node().input_value(0)
    return value
