"""A model in ONNX's form with its encoder's linear layers in int8.

Weights are rounded by channel. Activations are rounded while the model runs, by what they are then,
so that no texts are needed to make it: over a whole pass, but for the second layer behind an
attention, whose inputs have outliers that would coarsen all others. Those are rounded by token, in
blocks. Embeddings, attention, the LSTM and the heads for spans and labels stay in floating point.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

_ENCODER = "/blocks."
"""In the names of all that is in the rewritten encoder's layers."""
_OUTLIERS = "/narrow/"
_BLOCK = 128
_INT8_PRODUCTS = 4
"""What ONNX Runtime calls the accuracy of products whose activations are rounded to int8 too."""
_MIDDLE = 128
_RUNTIMES_OWN = "com.microsoft"


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model in int8 where that pays. The one given is used up."""
    layers = _linear_layers(model.graph)
    by_pass = [one.name for one in layers if _OUTLIERS not in one.name]
    with tempfile.TemporaryDirectory(prefix="gliner-int8-") as work:
        file = Path(work) / "model.onnx"
        quantize_dynamic(
            model,
            file,
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=by_pass,
        )
        model = onnx.load(str(file))
    weights = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "MatMul" and _ENCODER in node.name and _OUTLIERS in node.name:
            _by_token(model.graph, node, weights[node.input[1]])
    if all(one.domain != _RUNTIMES_OWN for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_RUNTIMES_OWN, 1))
    return model


def _linear_layers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The encoder's, each as a product and a sum from here on: as one, none is ever in int8."""
    weights = {one.name: one for one in graph.initializer}
    layers, nodes = [], []
    for node in graph.node:
        nodes.append(node)
        if not (node.op_type == "Gemm" and _ENCODER in node.name and node.input[1] in weights):
            continue
        states, weight, bias = node.input
        product = f"{node.name}/product"
        turned = numpy_helper.to_array(weights[weight]).T
        graph.initializer.append(
            numpy_helper.from_array(np.ascontiguousarray(turned), f"{product}/weight")
        )
        nodes[-1:] = [
            helper.make_node("MatMul", [states, f"{product}/weight"], [product], product),
            helper.make_node("Add", [product, bias], node.output, node.name),
        ]
        layers.append(nodes[-2])
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    kept = [one for one in graph.initializer if one.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return layers


def _by_token(graph: onnx.GraphProto, node: onnx.NodeProto, weight: onnx.TensorProto) -> None:
    """Make a product one that rounds each token by itself. ONNX Runtime's tool for it would take
    yet another package."""
    rows = numpy_helper.to_array(weight).T
    width, depth = rows.shape
    blocks = -(-depth // _BLOCK)
    rows = np.pad(rows, ((0, 0), (0, blocks * _BLOCK - depth))).reshape(width, blocks, _BLOCK)
    scales = np.maximum(np.abs(rows).max(axis=2), np.finfo(np.float32).tiny) / (_MIDDLE - 1)
    steps = np.rint(rows / scales[..., None]) + _MIDDLE
    graph.initializer.remove(weight)
    graph.initializer.extend(
        [
            numpy_helper.from_array(steps.astype(np.uint8), f"{node.name}/steps"),
            numpy_helper.from_array(scales.astype(np.float32), f"{node.name}/scales"),
        ]
    )
    states = node.input[0]
    node.CopyFrom(
        helper.make_node(
            "MatMulNBits",
            [states, f"{node.name}/steps", f"{node.name}/scales"],
            node.output,
            node.name,
            domain=_RUNTIMES_OWN,
            K=depth,
            N=width,
            bits=8,
            block_size=_BLOCK,
            accuracy_level=_INT8_PRODUCTS,
        )
    )
