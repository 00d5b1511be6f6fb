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

_ENCODER = "block"
"""In the names of all that is in the rewritten encoder's layers."""
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
