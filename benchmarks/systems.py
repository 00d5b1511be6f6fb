"""What is compared: ours and its peers, each started as its own documentation says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.models import FORMS, Model
from benchmarks.texts import Question

FAST_GLINER = Path(".venv-fast-gliner/bin/python")
"""An environment of its own: it wants another huggingface_hub."""


@dataclass(frozen=True, slots=True)
class System:
    """One way to serve GLiNER over HTTP.

    Attributes:
        name: in results.
        title: in tables.
        precision: what it computes in.
        form: which of `benchmarks.models.FORMS` it is; empty for others.
        lossless: whether weights and activations stay in floating point.
        command: starts it, given a model and a port.
        path: of its predictions.
        body: a question as it wants it.
        entities: what it found, from its answer.
    """

    name: str
    title: str
    precision: str
    command: Callable[[Model, int], list[str]]
    path: str
    body: Callable[[Question], Any]
    entities: Callable[[Any], list[dict[str, Any]]]
    lossless: bool = True
    form: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is this project."""
        return bool(self.form)


def _plain(question: Question) -> Any:
    return {"text": question.text, "labels": list(question.labels)}


def _as_is(answer: Any) -> Any:
    return answer


def _ours(form: str) -> System:
    engine, _, precision = form.rpartition("-")

    def command(model: Model, port: int) -> list[str]:
        ports = ["--http_port", str(port), "--enable_grpc", "false"]
        return [
            *(sys.executable, "-m", "predictor", "--model", str(model.ours[form])),
            *("--model_name", "gliner", *ports),
        ]

    return System(
        name=f"ours-{form}",
        title=f"gliner-kserve{', ONNX Runtime' if engine else ''}",
        precision=precision,
        command=command,
        path="/v1/models/gliner:predict",
        body=lambda question: {"instances": [_plain(question)]},
        entities=lambda answer: answer["predictions"][0]["entities"],
        lossless=precision != "int8",
        form=form,
    )


def _flask(name: str, title: str, precision: str, onnx: str = "") -> System:
    def command(model: Model, port: int) -> list[str]:
        folder = model.onnx if onnx else model.stock
        module = [sys.executable, "-m", "benchmarks.peers.flask_gliner", str(folder), str(port)]
        return [*module, *(["--onnx", onnx] if onnx else [])]

    return System(
        name, title, precision, command, "/predict", _plain, _as_is, lossless=precision != "int8"
    )


def _ray() -> System:
    """In bf16, which is its default; fp32 takes ten times as long on some batches."""

    def command(model: Model, port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "gliner.serve", "--model", str(model.stock)),
            *("--device", "cpu", "--num-gpus-per-replica", "0"),
            *("--num-cpus-per-replica", "2", "--port", str(port)),
            "--no-compile",  # torch.compile fails here on some models, on all it takes minutes
        ]

    return System(
        name="ray",
        title="gliner.serve (Ray Serve)",
        precision="bf16",
        command=command,
        path="/gliner",
        body=_plain,
        entities=lambda answer: answer["entities"],
    )


def _fast(precision: str, file: str) -> System:
    def command(model: Model, port: int) -> list[str]:
        script = str(Path(__file__).parent / "peers" / "flask_fast_gliner.py")
        return [str(FAST_GLINER), script, str(model.onnx), str(port), str(model.onnx / file)]

    return System(
        name=f"fast-gliner-{precision}",
        title="Flask, fast-gliner (gline-rs)",
        precision=precision,
        command=command,
        path="/predict",
        body=_plain,
        entities=_as_is,
        lossless=precision != "int8",
    )


NOTHING = System(
    name="kserve-nothing",
    title="KServe, a model that does nothing",
    precision="",
    command=lambda _, port: [sys.executable, "-m", "benchmarks.peers.kserve_nothing", str(port)],
    path="/v1/models/nothing:predict",
    body=lambda question: {"instances": [_plain(question)]},
    entities=lambda answer: answer["predictions"][0]["entities"],
)
"""No peer: what a lone request takes of a server that anything on KServe has."""

FLASK = "flask"
SYSTEMS = (
    *map(_ours, FORMS),
    _flask(FLASK, "Flask, predict_entities", "fp32"),
    _ray(),
    _fast("fp32", "model.onnx"),
    _fast("int8", "model_quantized.onnx"),
    _flask("onnx-fp32", "Flask, ONNX Runtime", "fp32", "model.onnx"),
    _flask("onnx-int8", "Flask, ONNX Runtime", "int8", "model_quantized.onnx"),
)
