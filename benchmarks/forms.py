"""Writes a model in another form: `python -m benchmarks.forms onnx|bf16|fp32 FROM TO`."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

from predictor import bundle, engines


def onnx(stock: Path, out: Path) -> None:
    """GLiNER's own export, fp32 and dynamic int8."""
    from gliner import GLiNER

    GLiNER.from_pretrained(str(stock), local_files_only=True).export_to_onnx(out, quantize=True)


def ours(stock: Path, precision: str, out: Path) -> None:
    """A bundle as the pipeline writes it, for OpenVINO."""
    found = bundle.locate(str(stock))
    shutil.copytree(stock, out, dirs_exist_ok=True)
    manifest = replace(found.manifest, engine="openvino", precision=precision)
    (out / "bundle.json").write_text(json.dumps(asdict(manifest)) + "\n", encoding="utf-8")
    engines.prepare(bundle.locate(str(out)))


def main() -> None:
    """Write one."""
    form, stock, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if form == "onnx":
        onnx(stock, out)
    else:
        ours(stock, form, out)


if __name__ == "__main__":
    main()
