"""The rewritten model on OpenVINO, whose fused kernels are the fastest for it on a CPU; in bf16 and
int8 with an encoder or attention of our own.

A bundle may hold the model in OpenVINO's own form beside GLiNER's files (`openvino.xml`,
`openvino.bin`, written by `export`): that starts in a fraction of the time and memory, with
neither torch nor GLiNER loaded. Without it, or where it was made from other weights, the model
is converted at the start.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from predictor import logs, priority
from predictor.engines import Window, attention, blocks, exported, fused, quantised
from predictor.engines.exported import Facts
from predictor.engines.operation import Operations
from predictor.engines.reading import Reading, cut
from predictor.engines.silent import ov
from predictor.errors import BundleError

if TYPE_CHECKING:
    from predictor.bundle import Bundle

MODEL, WEIGHTS = exported.OPENVINO
_FACTS = ["gliner_kserve"]
"""Where in the model's own metadata ours are."""
_STEP = 8
"""Sizes are padded to multiples of this: kernels are made for each shape that comes, and a few
positions of padding cost less than another shape."""
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}
"""What is not in int8 is in the best that the CPU has."""

_log = logging.getLogger(logs.OURS)


class OpenVinoEngine(Reading):
    """Runs a GLiNER model that scores spans, on a CPU.

    Args:
        model: the converted model.
        facts: what is known of it.
        tokenizer: its own.
        precision: `fp32`, `bf16`, or `int8` for a model that is so; a CPU without bf16 computes
            in fp32 what the latter two leave to it.
        threads: CPU threads in all.
    """

    name = "openvino"
    device = "cpu"

    def __init__(
        self, model: ov.Model, facts: Facts, tokenizer: Tokenizer, precision: str, threads: int
    ) -> None:
        core = ov.Core()
        hint = _HINTS[precision]
        if hint == "bf16" and "BF16" not in capabilities():
            hint = "f32"
            if precision == "bf16":
                _log.warning("this CPU has no bf16: the model computes in fp32, which is slower")
                precision = "fp32"
        self.precision = precision
        self.limits = facts.limits
        super().__init__(facts.reader(tokenizer))
        self.lanes = exported.lanes(threads)
        self._operations = Operations()
        if hint == "bf16":
            # In what is compiled alone: what is stored is for every processor.
            self._operations = blocks.fuse(model, threads) or fused.fuse(model)
            if not attention.built():
                _log.info("attention.c was not built: there was no C compiler; this is slower")
        if precision == "int8":
            quantised.keep_apart(model)
        properties = {
            "INFERENCE_PRECISION_HINT": hint,
            "NUM_STREAMS": str(self.lanes),
            "INFERENCE_NUM_THREADS": str(threads),
            # The server's own threads want a core at times, and a pod does not own its cores.
            "ENABLE_CPU_PINNING": "NO",
        }
        compiled = priority.giving_way(lambda: core.compile_model(model, "CPU", properties))
        self._requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(self.lanes):
            self._requests.put(compiled.create_infer_request())

    @classmethod
    def load(cls, found: Bundle, precision: str, threads: int) -> OpenVinoEngine:
        """Load a bundle: its exported model, or its weights converted.

        Raises:
            BundleError: the files make no model, or one that cannot be converted; or it is asked
                for in int8, which takes texts to measure on, and was not exported so.
        """
        own = _exported(found, precision)
        if own is not None:
            return cls(*own, exported.tokenizer(found), precision, threads)
        if precision == "int8":
            raise exported.no_int8(found, MODEL)
        model, facts, tokenizer = _converted(found)
        return cls(model, facts, tokenizer, precision, threads)

    @property
    def fused(self) -> int:
        """Layers whose attention is ours, in one step (see `fused`), or that are ours whole (see
        `blocks`)."""
        return self._operations.layers

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """Score windows in one forward pass. See `Engine.score`."""
        batch = self.reader.batch(windows, _STEP)
        request = self._requests.get()
        try:
            # A copy: the output's memory belongs to the request, which goes on to the next.
            scores = request.infer(list(batch.inputs()))[0].copy()
        finally:
            self._requests.put(request)
        return cut(scores, windows)


def export(found: Bundle, out: Path, precision: str, windows: Sequence[Window] = ()) -> bool:
    """Write a bundle's model in OpenVINO's form, for starts without torch.

    Args:
        found: the bundle.
        out: the folder of the two files.
        precision: what it will compute in. Weights are stored in fp16 but for fp32, and those of
            linear layers in int8 for that.
        windows: for int8, what activations are measured on.

    Returns:
        Whether it was done: a tokenizer that its file does not hold whole cannot start so.

    Raises:
        BundleError: the model cannot be converted.
    """
    model, facts, tokenizer = _converted(found)
    if precision == "int8":
        reader = facts.reader(tokenizer)
        pairs = (windows[at : at + 2] for at in range(0, len(windows), 2))
        model = quantised.quantised(model, [reader.batch(pair, _STEP).inputs() for pair in pairs])
        facts = replace(facts, int8=True)
    if not exported.whole(found, tokenizer):
        return False
    model.set_rt_info(facts.written(), _FACTS)
    ov.save_model(model, str(out / MODEL), compress_to_fp16=precision != "fp32")
    return True


def _exported(found: Bundle, precision: str) -> tuple[ov.Model, Facts] | None:
    file = found.folder / MODEL
    if not (file.is_file() and (found.folder / WEIGHTS).is_file()):
        return None
    try:
        # Mapped weights would be read in each pass, and their file may be written anew meanwhile.
        model = ov.Core().read_model(file, config={"ENABLE_MMAP": False})
        facts = Facts.parse(model.get_rt_info(_FACTS).astype(str))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise BundleError(f"{file}: is not ours, or damaged: {first_line}") from error
    return (model, facts) if facts.fit(found, precision, MODEL) else None


def _converted(found: Bundle) -> tuple[ov.Model, Facts, Tokenizer]:
    """A bundle's model by way of PyTorch."""
    import torch

    model, facts, reader = exported.rewritten(found, "openvino")
    batch = reader.batch([exported.EXAMPLE, exported.EXAMPLE])
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # That tracing is deprecated, and that it fixes what does not change here.
            warnings.simplefilter("ignore")
            converted = ov.convert_model(
                model, example_input=tuple(torch.from_numpy(one) for one in batch.inputs())
            )
    except Exception as error:  # noqa: BLE001 -- OpenVINO raises all sorts; its text holds weights, by the megabyte
        raise BundleError(
            f"{found.folder}: openvino cannot convert this model ({type(error).__name__}); "
            "use the engine torch"
        ) from None
    finally:
        _forget_traced()
    return converted, facts, reader.tokenizer


def _forget_traced() -> None:
    """Let go of what was traced, which TorchScript would keep for its next use, weights and all.

    As OpenVINO's own examples do it; nothing else here uses TorchScript.
    """
    import torch

    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


def capabilities() -> Sequence[str]:
    """What this CPU is fast in, such as `BF16`."""
    found: Sequence[str] = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found
