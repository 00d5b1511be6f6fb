"""GLiNER behind Flask: what most people write first.

`python -m benchmarks.peers.flask_gliner FOLDER PORT [--onnx FILE]` serves `predict_entities`, on
PyTorch in fp32 or on ONNX Runtime, each as GLiNER ships it, a request at a time: both use all
cores for one.
"""

from __future__ import annotations

import argparse
from typing import Any

import waitress
from flask import Flask, request
from gliner import GLiNER


def main() -> None:
    """Load the model and serve it until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("port", type=int)
    parser.add_argument("--onnx", help="the ONNX file in the folder")
    given = parser.parse_args()
    how = {"load_onnx_model": True, "onnx_model_file": given.onnx} if given.onnx else {}
    model = GLiNER.from_pretrained(given.folder, local_files_only=True, **how)
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> list[dict[str, Any]]:
        asked = request.get_json()
        found: list[dict[str, Any]] = model.predict_entities(asked["text"], asked["labels"])
        return found

    waitress.serve(app, host="127.0.0.1", port=given.port, threads=1, backlog=1024)


if __name__ == "__main__":
    main()
