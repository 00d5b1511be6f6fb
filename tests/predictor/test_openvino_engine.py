"""The model on OpenVINO against the same model on PyTorch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scores import WINDOWS, worst

from predictor import bundle, embedded
from predictor.engines import openvino
from predictor.engines.openvino import OpenVinoEngine
from predictor.engines.torch import TorchEngine


@pytest.fixture(scope="module", params=["embedded", "deberta"])
def folder(request: pytest.FixtureRequest, tiny_deberta: Path) -> Path:
    return embedded.path() if request.param == "embedded" else tiny_deberta


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[NDArray[np.float32]]:
    return TorchEngine.load(folder, "cpu", "fp32").score(WINDOWS)


def load(folder: Path, precision: str = "fp32", threads: int = 1) -> OpenVinoEngine:
    return OpenVinoEngine.load(bundle.locate(str(folder)), precision, threads)


@pytest.mark.parametrize(("precision", "most"), [("fp32", 3e-5), ("bf16", 0.1)])
def test_scores_equal_torch(
    folder: Path, expected: list[NDArray[np.float32]], precision: str, most: float
) -> None:
    """In one batch with padding, and each alone."""
    engine = load(folder, precision)

    assert worst(engine.score(WINDOWS), expected) < most
    for index, window in enumerate(WINDOWS):
        alone = engine.score([window])
        assert worst(alone, expected[index : index + 1], [window]) < most


def test_lanes_do_not_mix(folder: Path, expected: list[NDArray[np.float32]]) -> None:
    """Two threads at once get what one after the other would."""
    engine = load(folder, threads=2)
    assert engine.lanes == 2

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda index: engine.score([WINDOWS[index % 3]]), range(60)))

    for index, one in enumerate(found):
        assert worst(one, [expected[index % 3]], [WINDOWS[index % 3]]) < 3e-5


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority on Linux")
def test_threads_that_compute_give_way(folder: Path) -> None:
    """To those of the server, one of which called for them."""
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    load(folder)  # libraries have threads of their own, which converting a model starts
    before = set(Path("/proc/self/task").iterdir())

    engine = load(folder, threads=2)
    engine.score(WINDOWS)
    made = set(Path("/proc/self/task").iterdir()) - before

    assert len(made) >= engine.lanes
    assert {os.getpriority(os.PRIO_PROCESS, int(one.name)) for one in made} == {min(own + 5, 19)}


def test_an_exported_bundle_needs_no_torch(
    folder: Path, expected: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    """It gives the same scores in a process that loads neither torch nor GLiNER."""
    packed = tmp_path / "packed"
    shutil.copytree(folder, packed)
    assert openvino.export(bundle.locate(str(packed)), packed, "fp32")
    script = """
import json, sys
from predictor import bundle
from predictor.engines import Window
from predictor.engines.openvino import OpenVinoEngine
engine = OpenVinoEngine.load(bundle.locate(sys.argv[1]), "fp32", 1)
windows = [Window(*map(tuple, one)) for one in json.loads(sys.argv[2])]
scores = [one.tolist() for one in engine.score(windows)]
heavy = sorted({"torch", "gliner", "transformers"} & set(sys.modules))
print(json.dumps([heavy, engine.limits.words, engine.markers, scores]))
"""
    asked = json.dumps([[window.words, window.prompts] for window in WINDOWS])

    done = subprocess.run(
        [sys.executable, "-c", script, str(packed), asked],
        capture_output=True,
        text=True,
        check=True,
    )

    heavy, words, markers, scores = json.loads(done.stdout)
    torch_engine = TorchEngine.load(folder, "cpu", "fp32")
    assert heavy == []
    assert words == torch_engine.limits.words
    assert tuple(markers) == torch_engine.markers
    assert worst([np.array(one, dtype=np.float32) for one in scores], expected) < 3e-5


def test_a_cpu_without_bf16_computes_in_fp32(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle chosen on a newer machine serves on an older one, and says how."""
    monkeypatch.setattr(openvino, "capabilities", lambda: ["FP32", "INT8"])

    engine = load(tiny_bert, "bf16")

    assert engine.precision == "fp32"
    assert "no bf16" in caplog.text


def test_nothing_is_reported() -> None:
    """OpenVINO's converter sends statistics where it finds the package that does."""
    from openvino.tools.ovc import convert_impl, telemetry_stub

    assert convert_impl.tm is telemetry_stub
