"""The machine's own limit: how fast it multiplies matrices of a model's shapes.

`python -m benchmarks.limit FOLDER int8|bf16|fp32 SUBWORDS WORDS LABELS` prints it as JSON. A
library multiplies on one thread a core, as many rows at once as a batch of eight texts has; int8
into int32, without what it takes to round activations, by PyTorch or by ONNX Runtime, whichever is
faster: without VNNI PyTorch takes one number at a time.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_LARGEST = 127
_TEXTS = 8
_ROUNDS, _SECONDS = 7, 0.8

_Product = Callable[[int, int, int], Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Limit:
    """What the machine could do if it did nothing but multiply.

    Attributes:
        gflops_a_text: products of one text, once the waste is gone.
        gflops: measured, all cores: the best round's, for other work can only slow it down.
        texts_per_second: what these come to.
    """

    precision: str
    gflops_a_text: float
    gflops: float
    texts_per_second: float


def work(config: dict[str, Any], subwords: float, words: float, labels: int) -> float:
    """Floating-point operations of one text's matrix products, once the waste is gone.

    m x k by k x n is 2 m k n.

    Args:
        config: GLiNER's, with one for the encoder.
        subwords: positions of text and prompts.
        words: of the text, each read from one subword.
        labels: asked for.
    """
    encoder = config["encoder_config"]
    width, wide = encoder["hidden_size"], encoder["intermediate_size"]
    head = config["hidden_size"]
    earlier, kept = encoder["num_hidden_layers"] - 1, words + labels
    # Only queries, keys and values of the last layer are wanted of every subword.
    inputs, outputs = 3 * width**2, width**2 + 2 * width * wide
    linear = subwords * (earlier * (inputs + outputs) + inputs) + kept * outputs
    # Scores and values; relative positions are a score for each of 2L distances, twice.
    places = 2 + 2 * 2 * bool(encoder.get("relative_attention"))
    attention = (earlier + 1) * places * subwords**2 * width
    projected = kept * width * head * (width != head)
    lstm = words * bool(config.get("num_rnn_layers")) * 2 * 4 * (head**2 // 2 + (head // 2) ** 2)
    prompts = labels * (8 + 4) * head**2
    spans = words * (2 * (8 + 4) * head**2 + config["max_width"] * 4 * head * labels)
    return float(2 * (linear + attention + projected + lstm + prompts + spans))


def measure(config: dict[str, Any], precision: str, subwords: float) -> float:
    """Operations in a second, of the encoder's linear layers: the best of some rounds."""
    ways = (_whole, _whole_by_onnx) if precision == "int8" else (partial(_floating, precision),)
    return max(_measure(config, way, subwords) for way in ways)


def _measure(config: dict[str, Any], product: _Product, subwords: float) -> float:
    encoder = config["encoder_config"]
    width, wide = encoder["hidden_size"], encoder["intermediate_size"]
    rows = round(_TEXTS * subwords)
    rates: list[float] = []
    cores = torch.get_num_threads()
    for _ in range(_ROUNDS):
        done = [0.0] * cores
        gate = threading.Barrier(cores)

        def lane(index: int, gate: threading.Barrier = gate, done: list[float] = done) -> None:
            # Each core has weights of its own, so none multiplies what the other has in cache.
            torch.set_num_threads(1)
            layers = [(width, width)] * 4 + [(width, wide), (wide, width)]
            made = [product(rows, a, b) for a, b in layers]
            with torch.inference_mode():
                for multiply in made:
                    multiply()
                gate.wait()
                started, count = time.perf_counter(), 0
                while time.perf_counter() - started < _SECONDS:
                    for multiply in made:
                        multiply()
                    count += 1
                seconds = time.perf_counter() - started
            done[index] = count * 2 * rows * sum(a * b for a, b in layers) / seconds

        threads = [threading.Thread(target=lane, args=(one,)) for one in range(cores)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        rates.append(sum(done))
    return max(rates)


def _whole(rows: int, width: int, out: int) -> Callable[[], object]:
    """One layer's product of random whole numbers."""
    states, weights = (
        torch.randint(-_LARGEST, _LARGEST, size, dtype=torch.int8)
        for size in ((rows, width), (width, out))
    )
    return partial(torch._int_mm, states, weights)  # torch has no other of whole numbers


def _whole_by_onnx(rows: int, width: int, out: int) -> Callable[[], object]:
    """The same on ONNX Runtime, which lays the weights out for it."""
    random = np.random.default_rng(0)
    weights = random.integers(-_LARGEST, _LARGEST, (width, out), dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["states", "weights"], ["out"])],
        "product",
        [helper.make_tensor_value_info("states", TensorProto.UINT8, [rows, width])],
        [helper.make_tensor_value_info("out", TensorProto.INT32, [rows, out])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    states = random.integers(0, 2 * _LARGEST, (rows, width), dtype=np.uint8)
    return partial(session.run, None, {"states": states})


def _floating(precision: str, rows: int, width: int, out: int) -> Callable[[], object]:
    """One layer's product of random numbers."""
    dtype = _DTYPES[precision]
    return partial(
        torch.nn.functional.linear,
        torch.randn(rows, width).to(dtype),
        torch.randn(out, width).to(dtype),
    )


def main() -> None:
    """Measure and print."""
    folder, precision, subwords, words, labels = sys.argv[1:]
    config = json.loads((Path(folder) / "gliner_config.json").read_text(encoding="utf-8"))
    flops = work(config, float(subwords), float(words), int(labels))
    rate = measure(config, precision, float(subwords))
    found = Limit(precision, flops / 1e9, rate / 1e9, rate / flops)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
