"""What an engine is: words and labels in, scores out. No HTTP and no KServe in here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from predictor import memory
from predictor.errors import BundleError
from predictor.hardware import CPU_ONLY, choose_threads

if TYPE_CHECKING:
    from predictor.bundle import Bundle

PRECISIONS = {
    "torch": ("fp32", "bf16", "fp16"),
    "openvino": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
}
"""The engines there are, and what each computes in."""


@dataclass(frozen=True, slots=True)
class Words:
    """A text's words as the model splits it, with their offsets in code points.

    Attributes:
        tokens: the words' texts.
        starts: offset of each word's first character.
        ends: offset behind each word's last character.
    """

    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one forward pass of a model can take.

    Attributes:
        words: most words of text.
        width: most words of one entity.
        positions: most subwords of prompt and text together, special tokens included.
    """

    words: int
    width: int
    positions: int


@dataclass(frozen=True, slots=True)
class Window:
    """One row for the model: some words and the prompts to look for in them."""

    words: tuple[str, ...]
    prompts: tuple[str, ...]


class Engine(Protocol):
    """A loaded model. Texts are read while windows are scored, on another thread."""

    name: str
    precision: str
    device: str
    lanes: int
    """How many calls of `score` may run at once, each on a thread of its own."""
    limits: Limits
    markers: tuple[str, ...]
    """Words that the model uses between labels, which no label may contain."""

    def split(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Split a text the way the model was trained: each word, the offset of its first
        character and that behind its last, when it is asked for."""
        ...

    def subwords(self, words: Sequence[str]) -> list[int]:
        """How many positions each word takes; 0 for a word the tokenizer drops.

        The interpreter is free for other threads meanwhile."""
        ...

    def prompt_positions(self, prompts: Sequence[str]) -> int:
        """How many positions the prompts and the special tokens take."""
        ...

    def score(self, windows: Sequence[Window]) -> list[NDArray[np.float32]]:
        """Score every span of each window for each of its prompts.

        Returns:
            For each window probabilities of shape (words, width, prompts): element
            ``[s, k, c]`` is that of words ``s`` to ``s + k`` inclusive for prompt ``c``.
            Spans that reach past the last word hold no meaning.
        """
        ...


def prepare(found: Bundle, windows: Sequence[Window] = ()) -> None:
    """Write into a bundle what its engine starts fastest from; torch needs nothing.

    Args:
        windows: for int8, texts as the model will read them, to measure its activations on;
            onnx needs none.

    Raises:
        BundleError: the engine cannot run this model.
    """
    if found.manifest.engine == "openvino":
        from predictor.engines import openvino

        openvino.export(found, found.folder, found.manifest.precision, windows)
    elif found.manifest.engine == "onnx":
        from predictor.engines import onnx

        onnx.export(found, found.folder, found.manifest.precision)


def bring(found: Bundle) -> None:
    """Import the libraries of a bundle's engine, which take seconds and half a million objects."""
    _bring(found.manifest.engine)


def _bring(name: str) -> None:
    with memory.undisturbed():
        if name == "openvino":
            import predictor.engines.openvino
        elif name == "onnx":
            import predictor.engines.onnx  # noqa: F401
        else:
            import gliner  # noqa: F401 -- with torch and transformers


def load(
    found: Bundle, device: str, precision: str, threads: int = 0, *, compiled: bool = False
) -> Engine:
    """Load a bundle with the engine that was chosen for it.

    Args:
        found: a checked bundle; its manifest names the engine. One that knows CPUs only gives
            way to torch on another device.
        device: a torch device such as `cpu` or `cuda:0`.
        precision: one of the engine's `PRECISIONS`.
        threads: CPU threads; 0 takes what the container is allowed.
        compiled: on a GPU, compile the model with `torch.compile`.

    Raises:
        BundleError: there is no such engine or precision here, or the files make no model.
    """
    name = found.manifest.engine
    if name not in PRECISIONS:
        raise BundleError(
            f"{found.folder}: bundle.json asks for the engine {name!r}; those here are "
            f"{', '.join(PRECISIONS)}"
        )
    if name in CPU_ONLY and device != "cpu":
        name = "torch"
    if precision not in PRECISIONS[name]:
        raise BundleError(
            f"{found.folder}: the engine {name} does not compute in {precision!r}; it does in "
            f"{', '.join(PRECISIONS[name])}"
        )
    _bring(name)
    if name == "openvino":
        from predictor.engines.openvino import OpenVinoEngine

        return OpenVinoEngine.load(found, precision, choose_threads(threads))
    if name == "onnx":
        from predictor.engines.onnx import OnnxEngine

        return OnnxEngine.load(found, precision, choose_threads(threads))
    from predictor.engines.torch import TorchEngine

    return TorchEngine.load(
        found.folder, device, precision, compiled=compiled and device.startswith("cuda")
    )
