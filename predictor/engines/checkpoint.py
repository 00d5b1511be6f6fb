"""A GLiNER checkpoint's folder as GLiNER itself loads it."""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from predictor.bundle import CONFIG
from predictor.errors import BundleError

if TYPE_CHECKING:
    from gliner import GLiNER

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FALLS_BACK = "low_cpu_mem_usage=True is not supported for this load: "


def load(folder: Path, device: str, precision: str, *, offline: bool = True) -> GLiNER:
    """Load a checkpoint's weights for inference.

    Args:
        folder: a folder with GLiNER's own files, checked by `bundle.locate`.
        device: a torch device such as `cpu` or `cuda:0`.
        precision: `fp32`, `bf16` or `fp16`.
        offline: no hub is asked for what the folder lacks.

    Raises:
        BundleError: the files do not make a model, or not all of it.
    """
    from gliner import GLiNER

    try:
        with _without_dtype(folder) as readable, _gaps_raise():
            model = GLiNER.from_pretrained(
                str(readable),
                local_files_only=offline,
                map_location=device,
                dtype=_DTYPES[precision],
                # No random weights first: they take most of the time, and memory once more.
                low_cpu_mem_usage=True,
            )
    except _Gaps as gaps:
        raise BundleError(
            f"{folder}: the weights are incomplete: the model has {gaps}, their file has not; "
            "save the whole model again where it comes from"
        ) from gaps
    except UnpicklingError as error:
        # torch's own text explains how to run the code all the same.
        raise BundleError(
            f"{folder}: the pickled weights hold more than tensors, which is not trusted; "
            "save them as safetensors where they come from"
        ) from error
    except Exception as error:  # GLiNER, transformers and safetensors raise all sorts
        raise BundleError(f"{folder}: cannot load: {type(error).__name__}: {error}") from error
    if device == "cpu":
        _own(model)
    model.eval()
    return model


@contextmanager
def _without_dtype(folder: Path) -> Iterator[Path]:
    """The same model with an encoder config that asks for no dtype of its own.

    transformers would build such an encoder with torch's default dtype set to that, for the
    whole process, and a model that serves meanwhile on another thread would compute in it. It
    would also leave half of a model in fp16 that was asked for in fp32.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    encoder = config.get("encoder_config") or {}
    if not any(encoder.pop(name, None) for name in ("dtype", "torch_dtype")):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        shadow = Path(temporary) / folder.name
        shadow.mkdir()
        for file in folder.resolve().iterdir():
            if file.name != CONFIG:
                (shadow / file.name).symlink_to(file)
        (shadow / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        yield shadow


class _Gaps(Exception):
    """Weights that a model has and its file has not, by name."""


@contextmanager
def _gaps_raise() -> Iterator[None]:
    """GLiNER fills what a file lacks with random numbers, and warns; that is no model to serve.

    Raises:
        _Gaps: it warned.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=f"{_FALLS_BACK}the checkpoint is missing")
        # Such an encoder loads as well, only not as fast.
        warnings.filterwarnings(
            "ignore", message=f"{_FALLS_BACK}the model has non-persistent buffer"
        )
        try:
            yield
        except UserWarning as warning:
            raise _Gaps(*re.findall(r"\[.*\](?: \(and \d+ more\))?", str(warning))) from warning


def _own(model: GLiNER) -> None:
    """Copy weights that lie in the file itself, mapped, which may be written anew meanwhile."""
    inner: Any = model.model
    for one in itertools.chain(inner.parameters(), inner.buffers()):
        one.data = one.data.clone()
