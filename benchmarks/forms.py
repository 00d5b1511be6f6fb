"""Writes a model in another form: `python -m benchmarks.forms export|FORM FROM DATA TO`.

`export` is GLiNER's own for ONNX Runtime; ours are `benchmarks.models.FORMS`.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import medium, texts
from pipeline import dataset
from pipeline.measuring import measure
from predictor import bundle, engines
from predictor.engines import Window


def export(stock: Path, out: Path) -> None:
    """GLiNER's own export, fp32 and dynamic int8."""
    from gliner import GLiNER

    GLiNER.from_pretrained(str(stock), local_files_only=True).export_to_onnx(out, quantize=True)


def ours(stock: Path, form: str, out: Path, data: Path) -> None:
    """A bundle as the pipeline writes it.

    Args:
        form: one of `benchmarks.models.FORMS`.
        data: labelled texts; activations are measured on some of them for int8, as `optimise` does.
    """
    found = bundle.locate(str(stock))
    shutil.copytree(stock, out, dirs_exist_ok=True)
    engine, _, precision = form.rpartition("-")
    manifest = replace(found.manifest, engine=engine or "openvino", precision=precision)
    (out / "bundle.json").write_text(json.dumps(asdict(manifest)) + "\n", encoding="utf-8")
    seen = _seen(out, data) if form == "int8" else []
    engines.prepare(bundle.locate(str(out)), seen)


def _seen(folder: Path, data: Path) -> list[Window]:
    """What activations are measured on for int8: texts of the kind that will come."""
    if not (folder / medium.FACTS).is_file():
        stock = measure.load(folder, "fp32", engine="torch")
        return measure.windows(stock, measure.texts(dataset.read(data)))
    asked = texts.sentences(measure.CALIBRATED, seed=2)
    return [Window(tuple(one.text.split()), one.labels) for one in asked]


def main() -> None:
    """Write one."""
    form, (stock, data, out) = sys.argv[1], map(Path, sys.argv[2:])
    if form == "export":
        export(stock, out)
    else:
        ours(stock, form, out, data)


if __name__ == "__main__":
    main()
