"""The rewritten model on ONNX Runtime, whose int8 needs no texts to be made.

A bundle holds the model in ONNX's form in a folder of its own (`onnx/model.onnx`, written by
`export`), which starts with neither torch nor GLiNER loaded. Without it, or where it was made from
other weights, the model is converted at the start, where the package `onnx` is installed.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from predictor import logs
from predictor.engines import Window, exported
from predictor.engines.exported import Facts
from predictor.engines.reading import Batch, Reading, cut
from predictor.errors import BundleError

# Its makers' builds for Linux report to them, unless this is set before they are imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

if TYPE_CHECKING:
    import onnx

    from predictor.bundle import Bundle

MODEL = f"{exported.ONNX}/model.onnx"
_FACTS = "gliner_kserve"
"""Where in the model's own metadata ours are."""
_OPSET = 17
"""The first with layer normalisation as one operator."""
_ERRORS_ONLY = 3
_INPUTS = tuple(one.name for one in fields(Batch))
_FIXED = {"bias": (1, 2)}
"""Dimensions of an input that are always 1; all others are as long as a batch has them."""

_log = logging.getLogger(logs.OURS)


class OnnxEngine(Reading):
    """Runs a GLiNER model that scores spans, on a CPU.

    Args:
        session: the converted model.
        facts: what is known of it.
        tokenizer: its own.
        lanes: how many passes run at once.
    """

    name = "onnx"
    device = "cpu"

    def __init__(
        self, session: onnxruntime.InferenceSession, facts: Facts, tokenizer: Tokenizer, lanes: int
    ) -> None:
        self.precision = "int8" if facts.int8 else "fp32"
        self.limits = facts.limits
        self.lanes = lanes
        super().__init__(facts.reader(tokenizer))
        self._session = session
        # What a pass has taken goes back once, at its end. Given back by each operator, as without
        # the runtime's own memory, what is large was new pages for the next: passes of many texts
        # took more than twice as long.
        self._run = onnxruntime.RunOptions()
        self._run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        # A model without relative positions or an LSTM has no use for all of a batch.
        self._inputs = [one.name for one in session.get_inputs()]

    @classmethod
    def load(cls, found: Bundle, precision: str, threads: int) -> OnnxEngine:
        """Load a bundle: its exported model, or its weights converted.

        Args:
            threads: CPU threads in all.

        Raises:
            BundleError: the files make no model, or one that cannot be converted; or it is asked
                for in int8, which only `optimise` makes, and was not exported so.
        """
        lanes = exported.lanes(threads)
        own = _exported(found, precision, threads, lanes)
        if own is not None:
            return cls(*own, exported.tokenizer(found), lanes)
        if precision == "int8":
            raise exported.no_int8(found, MODEL)
        model, facts, tokenizer = _converted(found)
        return cls(_session(model.SerializeToString(), threads, lanes), facts, tokenizer, lanes)

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """Score windows in one forward pass. See `Engine.score`."""
        batch = self.reader.batch(windows)
        asked = {name: getattr(batch, name) for name in self._inputs}
        return cut(self._session.run(None, asked, self._run)[0], windows)


def export(found: Bundle, out: Path, precision: str) -> bool:
    """Write a bundle's model in ONNX's form, for starts without torch.

    Args:
        found: the bundle.
        out: the folder that its folder goes into.
        precision: `fp32`, or `int8` for linear layers that are.

    Returns:
        Whether it was done: a tokenizer that its file does not hold whole cannot start so.

    Raises:
        BundleError: the model cannot be converted.
    """
    model, facts, tokenizer = _converted(found)
    if not exported.whole(found, tokenizer):
        return False
    if precision == "int8":
        from predictor.engines.rounded import rounded

        model = rounded(model)
        facts = replace(facts, int8=True)
    model.metadata_props.add(key=_FACTS, value=facts.written())
    file = out / MODEL
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(model.SerializeToString())
    return True


def _exported(
    found: Bundle, precision: str, threads: int, lanes: int
) -> tuple[onnxruntime.InferenceSession, Facts] | None:
    file = found.folder / MODEL
    if not file.is_file():
        return None
    try:
        session = _session(str(file), threads, lanes)
        written = session.get_modelmeta().custom_metadata_map.get(_FACTS)
        facts = Facts.parse(written) if written else None
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise BundleError(f"{file}: is not ours, or damaged: {first_line}") from error
    if facts is None:
        _log.warning("%s is not ours, such as GLiNER's own export; it is not used", MODEL)
        return None
    return (session, facts) if facts.fit(found, precision, MODEL) else None


def _session(model: str | bytes, threads: int, lanes: int) -> onnxruntime.InferenceSession:
    """One for all lanes: passes may run in it at once, and share its weights.

    Args:
        model: a file, or what is in one.
    """
    options = onnxruntime.SessionOptions()
    # A pass computes on the thread that asks for it as well; all passes share the others.
    options.intra_op_num_threads = threads - lanes + 1
    options.inter_op_num_threads = 1
    # Threads that wait in a loop take the cores that the server and other lanes need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI sums of int8 products would overflow, and answers be others than elsewhere.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # It would keep a plan for every shape that ever came.
    options.enable_mem_pattern = False
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _converted(found: Bundle) -> tuple[onnx.ModelProto, Facts, Tokenizer]:
    """A bundle's model by way of PyTorch."""
    try:
        import onnx
    except ImportError:
        raise BundleError(
            f"{found.folder}: there is no {MODEL} of these weights, and making one needs onnx, "
            "which comes with the pipeline: pip install 'gliner-kserve[pipeline]'"
        ) from None
    import torch

    model, facts, reader = exported.rewritten(found, "onnx")
    inputs = reader.batch([exported.EXAMPLE, exported.EXAMPLE]).inputs()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="gliner-onnx-") as work,
            torch.no_grad(),
            warnings.catch_warnings(),
        ):
            # That tracing is deprecated, and that it fixes what does not change here.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model,
                tuple(torch.from_numpy(one) for one in inputs),
                f"{work}/model.onnx",
                input_names=list(_INPUTS),
                output_names=["scores"],
                dynamic_axes={
                    name: {
                        axis: f"{name}_{axis}"
                        for axis in range(one.ndim)
                        if axis not in _FIXED.get(name, ())
                    }
                    for name, one in zip(_INPUTS, inputs, strict=True)
                },
                opset_version=_OPSET,
                # Traced, as for OpenVINO: the other way wants shapes that it can prove things of.
                dynamo=False,
            )
            converted = onnx.load(f"{work}/model.onnx")
    except Exception as error:  # noqa: BLE001 -- torch raises all sorts, and its text holds graphs
        raise BundleError(
            f"{found.folder}: onnx cannot hold this model ({type(error).__name__}); "
            "use the engine torch"
        ) from None
    return converted, facts, reader.tokenizer
