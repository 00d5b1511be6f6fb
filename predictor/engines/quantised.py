"""A converted model with its linear layers in int8, for CPUs that multiply those fastest.

By NNCF, OpenVINO's own way of quantisation after training: weights by channel, activations by what
they are on texts that are given, evened out between the two by SmoothQuant. The encoder's linear
layers are where the time goes and what bears it; embeddings, attention, the LSTM and the heads for
spans and labels stay in floating point.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from predictor.engines.silent import ov
from predictor.errors import BundleError

operations = ov.opset15

_ENCODER = "block"
"""In the names of all that is in the rewritten encoder's layers."""
_ACTIVATIONS = {"Gelu", "Relu", "Swish", "Tanh"}
"""What OpenVINO computes along with a product, and all that comes behind."""
_FLOATING = ["Gather", "LSTMSequence", "Add", "Multiply", "ScaledDotProductAttention"]


def quantised(model: ov.Model, batches: Sequence[tuple[NDArray[Any], ...]]) -> ov.Model:
    """A model in int8 where that pays.

    Args:
        batches: inputs of the model, as it will get them; what activations are is measured on
            these.

    Raises:
        BundleError: NNCF is not installed, or there is nothing to measure on.
    """
    try:
        import nncf
    except ImportError:
        raise BundleError(
            "int8 needs nncf, which comes with the pipeline: pip install 'gliner-kserve[pipeline]'"
        ) from None
    if not batches:
        raise BundleError("int8 needs texts to measure activations on, and there are none")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    # It draws its progress wherever it runs.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset(batches, list),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(
                names=_not_of_the_encoder(model), types=_FLOATING, validate=False
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=0.5)
            ),
        )


def keep_apart(model: ov.Model) -> int:
    """Keep SmoothQuant's scales a step of their own, before the rounding to int8.

    OpenVINO would make one operation of the two. It is slow at that one: a tenth to a sixth of a
    pass. Scale, bound and rounding of one number for all channels it does in a single sweep. The
    bound is where the rounding ends anyway, so that nothing else changes.

    Args:
        model: as `quantised` has made it, or read from a file.

    Returns:
        In how many places. Behind a product and its activation, these do both along the way.
    """
    done = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        scale = node.input_value(0).get_node()
        least = node.input_value(1).get_node()
        if (
            scale.get_type_name() != "Multiply"
            or scale.input_value(0).get_node().get_type_name() in _ACTIVATIONS
            or least.get_type_name() != "Constant"
            or least.data.size != 1
        ):
            continue
        bound = operations.maximum(scale, operations.constant(least.data))
        node.input(0).replace_source_output(bound.output(0))
        done += 1
    model.validate_nodes_and_infer_types()
    return done


def _not_of_the_encoder(model: ov.Model) -> list[str]:
    """Products of two activations, and of weights outside of the encoder's layers."""
    return [
        one.get_friendly_name()
        for one in model.get_ordered_ops()
        if one.get_type_name() == "MatMul"
        and not (_ENCODER in one.get_friendly_name() and _is_constant(one.input_value(1)))
    ]


def _is_constant(value: ov.Output) -> bool:
    node = value.get_node()
    while node.get_type_name() in ("Convert", "Reshape", "Transpose"):
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")
