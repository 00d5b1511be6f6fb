"""A model in ONNX's form with its encoder's linear layers in int8.

Weights are rounded by channel. Activations are rounded while the model runs, each token by its own
range: no texts are needed to make it, and what a text is answered does not depend on whose texts
share its pass, as it would with ONNX Runtime's own rounding at run time, which has one range for a
whole pass. Embeddings, attention, the LSTM and the heads for spans and labels stay in floating
point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_ENCODER = "/blocks."
"""In the names of all that is in the rewritten encoder's layers."""
_TOP = 127
"""Steps to either side of zero; activations are stored from 0 on, so theirs is at 128."""
_LEAST = np.float32(1e-12)
"""For tokens and channels of zeros, by whose largest value nothing can be divided."""
_RUNTIMES_OWN = "com.microsoft"


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in int8 where that pays. The one given is used up."""
    graph = model.graph
    weights = {one.name: one for one in graph.initializer}
    constants: dict[str, Any] = {
        "int8/step": np.float32(1 / _TOP),
        "int8/middle": np.uint8(_TOP + 1),
        "int8/least": _LEAST,
    }
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if not (node.op_type == "Gemm" and _ENCODER in node.name and node.input[1] in weights):
            nodes.append(node)
            continue
        states, weight, bias = node.input
        nodes += _by_token(states)
        rows = numpy_helper.to_array(weights[weight])
        scales = np.maximum(np.abs(rows).max(axis=1), _LEAST) / np.float32(_TOP)
        steps = np.rint(rows / scales[:, None]).astype(np.int8)
        constants |= {f"{node.name}/steps": steps.T, f"{node.name}/scales": scales}
        nodes += _product(node, states, bias)
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *_tensors(constants)])
    model.opset_import.append(helper.make_opsetid(_RUNTIMES_OWN, 1))
    return model


def _by_token(states: str) -> Sequence[onnx.NodeProto]:
    """Each token's largest value, and its values as steps of that."""
    sizes, largest, share = f"{states}/sizes", f"{states}/largest", f"{states}/share"
    return [
        helper.make_node("Abs", [states], [sizes]),
        helper.make_node("ReduceMax", [sizes], [f"{largest}/0"], axes=[-1], keepdims=1),
        helper.make_node("Max", [f"{largest}/0", "int8/least"], [largest]),
        helper.make_node("Div", [states, largest], [share]),
        helper.make_node(
            "QuantizeLinear", [share, "int8/step", "int8/middle"], [f"{states}/steps"]
        ),
    ]


def _product(node: onnx.NodeProto, states: str, bias: str) -> Sequence[onnx.NodeProto]:
    product, sized = f"{node.name}/product", f"{node.name}/sized"
    return [
        helper.make_node(
            "MatMulIntegerToFloat",
            [
                f"{states}/steps",
                f"{node.name}/steps",
                "int8/step",
                f"{node.name}/scales",
                "int8/middle",
            ],
            [product],
            node.name,
            domain=_RUNTIMES_OWN,
        ),
        helper.make_node("Mul", [product, f"{states}/largest"], [sized]),
        helper.make_node("Add", [sized, bias], node.output),
    ]


def _tensors(constants: Mapping[str, Any]) -> Sequence[onnx.TensorProto]:
    return [
        numpy_helper.from_array(np.array(value, order="C"), name)
        for name, value in constants.items()
    ]
