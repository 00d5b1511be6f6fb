"""A bundle's model in the form of another library, written beside GLiNER's own files.

What is written starts in a fraction of the time and memory, with neither torch nor GLiNER loaded.
So it brings what the text side must know, and what it was made from: it is used for these weights
and by this version alone.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from predictor import logs
from predictor.engines import Limits, Window
from predictor.engines.reading import Distances, Layout, Reader, Splitter
from predictor.errors import BundleError

if TYPE_CHECKING:
    from predictor.bundle import Bundle
    from predictor.engines.rewritten import Probabilities

OPENVINO = ("openvino.xml", "openvino.bin")
ONNX = "onnx"
"""What in a bundle is OpenVINO's, and the folder that is ONNX Runtime's."""
FORM = 2
"""Raised when a rewritten model takes other inputs, so that none of before is fed these."""
EXAMPLE = Window(("Ada", "was", "born", "in", "London"), ("person", "city"))
"""What a model is traced with."""
_TOKENIZER = "tokenizer.json"
_WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")

_log = logging.getLogger(logs.OURS)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an exported model.

    Attributes:
        digest: of the bundle it was made from.
        limits: of one forward pass.
        layout: of its input.
        splitter: GLiNER's name for what splits texts into words.
        int8: whether its linear layers are.
        form: of its inputs.
    """

    digest: str
    limits: Limits
    layout: Layout
    splitter: str
    int8: bool = False
    form: int = FORM

    @classmethod
    def parse(cls, text: str) -> Facts:
        """Read what `written` has given.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        raw = json.loads(text)
        table = raw["layout"].pop("distances")
        return cls(
            digest=raw["digest"],
            limits=Limits(**raw["limits"]),
            layout=Layout(**raw["layout"], distances=Distances(**table) if table else None),
            splitter=raw["splitter"],
            int8=raw.get("int8", False),
            form=raw.get("form", 1),
        )

    def written(self) -> str:
        """As the exported model's own metadata hold them."""
        return json.dumps(asdict(self))

    def fit(self, found: Bundle, precision: str, file: str) -> bool:
        """Whether the model may serve a bundle; the log says why where it may not.

        Args:
            precision: what it is asked for in.
            file: its name.
        """
        reason = ""
        if self.digest != found.digest:
            reason = "was made from other weights"
        elif self.form != FORM:
            reason = "was made by another version"
        elif self.int8 != (precision == "int8"):
            reason = f"is in another precision than {precision}"
        if reason:
            _log.warning("%s %s; it is not used, the model is converted again", file, reason)
        return not reason

    def reader(self, tokenizer: Tokenizer) -> Reader:
        """The model's text side."""
        return Reader(tokenizer, _splitter(self.splitter), self.layout)


def rewritten(found: Bundle, engine: str) -> tuple[Probabilities, Facts, Reader]:
    """A bundle's model on PyTorch, to be converted.

    Args:
        engine: who will run it.

    Raises:
        BundleError: it cannot be rewritten, so only torch can run it.
    """
    from predictor.engines.rewritten import Probabilities
    from predictor.engines.torch import TorchEngine

    loaded = TorchEngine.load(found.folder, "cpu", "fp32")
    if loaded.rewritten is None:
        raise BundleError(f"{found.folder}: {engine} cannot run this kind of model; torch can")
    facts = Facts(found.digest, loaded.limits, loaded.reader.layout, loaded.splitter)
    # Without eval an exporter would leave the model training, with all its dropout.
    return Probabilities(loaded.rewritten).eval(), facts, loaded.reader


def lanes(threads: int) -> int:
    """How many passes run at once on so many threads.

    Two at once on one thread each do more than one on two; beyond two, more threads for each are
    worth more than yet another pass.
    """
    return min(threads, 2)


def no_int8(found: Bundle, file: str) -> BundleError:
    """What is wrong with a bundle that asks for int8 and has none."""
    return BundleError(
        f"{found.folder}: there is no {file} of these weights in int8; make it with "
        "`python -m predictor optimise`, which needs labelled texts"
    )


def tokenizer(found: Bundle) -> Tokenizer:
    """A bundle's tokenizer, without GLiNER. Sound where `whole` was said of it."""
    return Tokenizer.from_file(str(found.folder / _TOKENIZER))


def whole(found: Bundle, used: Tokenizer) -> bool:
    """Whether the bundle's file holds all of the tokenizer that is used.

    Where it does not, a start from the file would read texts in another way.
    """
    if not (found.folder / _TOKENIZER).is_file():
        return False
    own = tokenizer(found)
    for one in (own, used):
        one.no_truncation()
        one.no_padding()
    return bool(own.to_str() == used.to_str())


def _splitter(kind: str) -> Splitter:
    if kind != "whitespace":
        from gliner.data_processing import WordsSplitter

        other: Splitter = WordsSplitter(kind)
        return other
    # GLiNER's own, without GLiNER and all that comes with it.
    return lambda text: ((one.group(), one.start(), one.end()) for one in _WORD.finditer(text))
