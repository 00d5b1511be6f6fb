"""fast-gliner, which is gline-rs under Python, behind the same Flask.

`python benchmarks/peers/flask_fast_gliner.py FOLDER PORT FILE`, with the environment of
`requirements/bench-fast-gliner.lock`, which has nothing of this project.
"""

from __future__ import annotations

import sys
from typing import Any

import waitress
from fast_gliner import FastGLiNER
from flask import Flask, request


def main() -> None:
    """Load the model and serve it until the process is ended."""
    folder, port, onnx = sys.argv[1:]
    model = FastGLiNER(folder, onnx, "cpu")
    app = Flask(__name__)

    @app.post("/predict")
    def predict() -> list[dict[str, Any]]:
        asked = request.get_json()
        found: list[dict[str, Any]] = model.predict_entities(asked["text"], list(asked["labels"]))
        return found

    waitress.serve(app, host="127.0.0.1", port=int(port), threads=1, backlog=1024)


if __name__ == "__main__":
    main()
