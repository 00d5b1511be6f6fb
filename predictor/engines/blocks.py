"""A model's encoder in one step of our own, in place of what OpenVINO makes of it.

What is looked for is what `rewritten` writes, or `quantised` makes of it. An encoder that is not
like that to the last layer stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictor.engines import attention, fused
from predictor.engines.encoder import DEEP, PAIR, Encoder, Floats, Layer, Layers, Linear, Norm
from predictor.engines.fused import Attended, constant, unconverted
from predictor.engines.operation import Operations
from predictor.engines.silent import ov

operations = ov.opset15

_LEVELS = 256


class _Otherwise(Exception):
    """A model is not as it is looked for."""


def fuse(model: ov.Model, cores: int = 1) -> Operations:
    """Put our encoder where a model has its own, in int8 where that is.

    Args:
        model: converted, as `quantised` has made it, or read from a file.
        cores: how many a pass may use.

    Returns:
        What computes its layers; nothing where nothing was done.
    """
    done = Operations()
    if not attention.level():
        return done
    attended = {_name(one.seen): one for one in fused.attended(model)}
    layers: list[Layer] = []
    reads = gives = kept = None
    for end in map(_end, _all(model, "MVN")):
        try:
            states, around, layer = _layer(end, attended)
        except _Otherwise:
            continue
        if kept is not None or (gives is not None and states != gives):
            return done
        reads, gives, kept = reads or states, end, around.kept
        layers.append(layer)
    heads = {one.heads for one in attended.values()}
    if reads is None or gives is None or len(layers) < len(attended) or len(heads) > 1:
        return done
    inputs = [operations.convert(reads, "bf16").output(0), *fused.lengths(model)]
    if kept is not None:
        inputs.append(operations.convert(kept, "i32").output(0))
    own = Encoder(inputs, done, Layers(layers, heads.pop(), cores))
    gives.replace(operations.convert(own, "f32").output(0))
    model.validate_nodes_and_infer_types()
    done.layers = len(layers)
    return done


def _layer(end: ov.Output, attended: Mapping[str, Attended]) -> tuple[ov.Output, Attended, Layer]:
    """What the layer that ends here reads, which attention it has, and the layer."""
    total, last = _norm(end)
    narrow, activated, middle = _added(total)
    activation = _of(activated, "Gelu")
    _check(activation.get_attributes()["approximation_mode"] == "ERF")
    wide, before = _linear(activation.input_value(0))
    _check(before == middle)
    total, seen = _norm(middle)
    out, found, states = _added(total)
    around = attended.get(_name(found))
    if around is None:
        raise _Otherwise
    if around.kept is not None:
        gather = _of(states, "Gather")
        _check(unconverted(gather.input_value(1)) == unconverted(around.kept))
        states = gather.input_value(0)
    mixed, read = _linear(around.mixed)
    _check(read == states)
    layer = Layer(mixed, out, seen, wide, narrow, last, around.tables)
    _check(_fits(layer, around.width))
    return states, around, layer


def _fits(layer: Layer, width: int) -> bool:
    linear = (layer.mixed, layer.out, layer.wide, layer.narrow)
    sizes = [(one.rows, one.columns) for one in linear]
    wide = layer.wide.columns
    fits = sizes == [(width, 3 * width), (width, width), (width, wide), (wide, width)]
    return fits and len({one.bytes for one in linear}) == 1


def _end(norm: ov.Node) -> ov.Output:
    """What a norm gives, scaled and shifted."""
    end = norm.output(0)
    for kind in ("Multiply", "Add"):
        readers = list(end.get_target_inputs())
        if len(readers) == 1 and readers[0].get_node().get_type_name() == kind:
            node = readers[0].get_node()
            if any(constant(one) is not None for one in node.input_values()):
                end = node.output(0)
    return end


def _norm(value: ov.Output) -> tuple[ov.Output, Norm]:
    """What a layer norm is of, and the norm."""
    value, shift = _split(value, "Add")
    value, scale = _split(value, "Multiply")
    node = _of(value, "MVN")
    found: dict[str, Any] = node.get_attributes()
    axes = constant(node.input_value(1))
    _check(axes is not None and axes.ravel().tolist() == [-1])
    _check(found["normalize_variance"] and found["eps_mode"] == "INSIDE_SQRT")
    return node.input_value(0), Norm(scale, shift, float(found["eps"]))


def _added(value: ov.Output) -> tuple[Linear, ov.Output, ov.Output]:
    """A linear layer, what it reads, and what is added to what it gives."""
    one, other = _of(value, "Add").input_values()
    try:
        return (*_linear(one), other)
    except _Otherwise:
        return (*_linear(other), one)


def _linear(value: ov.Output) -> tuple[Linear, ov.Output]:
    """A linear layer and what it reads."""
    value, bias = _split(value, "Add")
    product = _of(value, "MatMul")
    found = product.get_attributes()
    _check(found["transpose_b"] and not found["transpose_a"])
    read, weights = product.input_values()
    floats = constant(weights)
    if floats is None:
        return _whole(read, weights, bias)
    columns, _ = _shape(floats, 2)
    return Linear.rounded(floats, _or(bias, 0, columns)), read


def _whole(read: ov.Output, weights: ov.Output, bias: Floats | None) -> tuple[Linear, ov.Output]:
    """One of whole numbers, whose activations are rounded to a range."""
    rounding = _of(read, "FakeQuantize")
    _check(rounding.get_attributes()["levels"] == _LEVELS)
    low, high, *to = map(_number, rounding.input_values()[1:])
    _check([low, high] == to)
    states, smooth = _split(rounding.input_value(0), "Multiply")
    scaled = _of(weights, "Multiply")
    whole, worth = (unconverted(one).get_node() for one in scaled.input_values())
    _check({whole.get_type_name(), worth.get_type_name()} == {"Constant"})
    _check(whole.data.dtype == np.int8)
    columns, rows = _shape(whole.data, 1)
    _check(worth.data.size == columns)
    each = worth.data.astype(np.float32).ravel()
    smoothed = _or(smooth, 1, rows)
    return Linear.whole(whole.data, each, _or(bias, 0, columns), smoothed, low, high), states


def _shape(weights: NDArray[Any], size: int) -> tuple[int, int]:
    """Columns and rows of weights that take so many bytes each, where tiles can hold them."""
    _check(weights.ndim == 2)
    columns, rows = weights.shape
    _check(not columns % PAIR and not rows * size % DEEP)
    return columns, rows


def _or(found: Floats | None, otherwise: float, width: int) -> Floats:
    return np.full(width, otherwise, np.float32) if found is None else found


def _number(value: ov.Output) -> float:
    found = constant(value)
    if found is None or found.size != 1:
        raise _Otherwise
    return float(found.item())


def _split(value: ov.Output, kind: str) -> tuple[ov.Output, Floats | None]:
    """A value without what a constant of its width does to it last, and the constant."""
    node = value.get_node()
    if node.get_type_name() == kind:
        one, other = node.input_values()
        for rest, found in ((one, constant(other)), (other, constant(one))):
            if found is not None:
                width = value.get_partial_shape()[-1].get_length()
                _check(found.size in (1, width))
                return rest, np.ascontiguousarray(np.broadcast_to(found.ravel(), width))
    return value, None


def _all(model: ov.Model, kind: str) -> Iterator[ov.Node]:
    return (one for one in model.get_ordered_ops() if one.get_type_name() == kind)


def _name(value: ov.Output) -> str:
    return str(value.get_node().get_friendly_name())


def _of(value: ov.Output, kind: str) -> ov.Node:
    node = value.get_node()
    _check(node.get_type_name() == kind)
    return node


def _check(holds: Any) -> None:
    if not holds:
        raise _Otherwise
