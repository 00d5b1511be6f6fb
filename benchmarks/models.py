"""The models that every system serves, in the forms that the systems want."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import medium
from pipeline.progress import say
from predictor import bundle, embedded, engines

FORMS = ("int8", "bf16", "fp32", "onnx-int8", "onnx-fp32")
"""What ours is measured as: a precision on OpenVINO, or on ONNX Runtime."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model on disk.

    Attributes:
        name: `medium`, `embedded` or `deberta`.
        stock: GLiNER's own files.
        onnx: those of GLiNER's ONNX export, fp32 and int8.
        ours: a bundle for each of our `FORMS` that is wanted.
        accurate: whether its answers mean anything.
    """

    name: str
    stock: Path
    onnx: Path
    ours: dict[str, Path]
    accurate: bool


def make(cache: Path, data: Path, forms: Sequence[str], deberta: Path | None = None) -> list[Model]:
    """The medium shape with random weights, the embedded model, and a DeBERTa where there is one.

    What is made stays in `cache` for the next run: the medium shape takes two minutes.

    Args:
        data: labelled texts, for int8.
        forms: of ours, which of `FORMS` are wanted.
        deberta: what `benchmarks.deberta` has trained.
    """
    stock = cache / f"medium-{medium.VERSION}"
    _made(stock, "a model of the medium shape", "medium")
    made = [
        _forms("medium", stock, cache, data, forms, accurate=False),
        _forms("embedded", embedded.path(), cache, data, forms, accurate=True),
    ]
    if deberta is not None:
        made.append(_forms("deberta", deberta, cache, data, forms, accurate=True))
    return made


def _forms(
    name: str, stock: Path, cache: Path, data: Path, forms: Sequence[str], *, accurate: bool
) -> Model:
    weights = bundle.locate(str(stock)).digest[:8]
    onnx = cache / f"{name}-{weights}-onnx"
    _made(onnx, f"{name} as GLiNER exports it to ONNX", "forms", "export", str(stock), str(data))
    # Named by the code too: what an older one has written is not what is measured.
    ours = {one: cache / f"{name}-{weights}-{_code()}-{one}" for one in forms}
    if accurate and "int8" in ours:
        ours["int8"] = ours["int8"].with_name(
            f"{ours['int8'].name}-{_digest(data.glob('*.jsonl'))}"
        )
    for form, folder in ours.items():
        _made(folder, f"{name} as {form}", "forms", form, str(stock), str(data))
    return Model(name, stock, onnx, ours, accurate)


def _code() -> str:
    return _digest(Path(engines.__file__).parent.glob("*.py"))


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _made(folder: Path, what: str, module: str, *arguments: str) -> None:
    """Have a module write a folder that is not there yet; it is there whole or not at all."""
    if folder.is_dir():
        return
    say(f"making {what} …")
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    # A process of its own: converters leave gigabytes behind.
    ran = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments, str(part)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        # They print weights, too, by the megabyte.
        last = "\n".join(line[:300] for line in ran.stderr.splitlines()[-5:])
        raise SystemExit(f"{what} could not be made:\n{last}")
    part.rename(folder)
