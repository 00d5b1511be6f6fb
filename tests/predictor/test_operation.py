"""Operations of our own: what passes leave behind, and what is left of a model that has gone."""

from __future__ import annotations

import ctypes
import gc
import shutil
from pathlib import Path

import attention_built
import numpy as np
import psutil
import pytest
from scores import WINDOWS

from predictor import bundle, embedded
from predictor.engines import attention, blocks, openvino
from predictor.engines.attention import bf16
from predictor.engines.encoder import Layer, Layers, Linear, Norm
from predictor.engines.openvino import OpenVinoEngine
from predictor.engines.operation import Operation, Operations

PASSES, LOADS = 50, 5
RESTS = range(24, 256, 16)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model in OpenVINO's form: torch, which converts it, has a memory of its own."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copytree(embedded.path(), folder, dirs_exist_ok=True)
    assert openvino.export(bundle.locate(str(folder)), folder, "bf16")
    return folder


@pytest.fixture(params=["whole encoders", "attention alone"])
def folder(request: pytest.FixtureRequest, exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose operations are of either kind, where the processor has both."""
    if request.param == "attention alone":
        monkeypatch.setattr(blocks, "fuse", lambda *_: Operations())
    return exported


def load(folder: Path) -> OpenVinoEngine:
    return OpenVinoEngine.load(bundle.locate(str(folder)), "bf16", 2)


def alive() -> int:
    gc.collect()
    return sum(issubclass(type(one), Operation) for one in gc.get_objects())


def megabytes() -> float:
    return psutil.Process().memory_info().rss / 1e6


@attention_built.required
def test_a_pass_leaves_no_operation_behind(folder: Path) -> None:
    """OpenVINO asks for a copy of each at every pass."""
    engine = load(folder)
    engine.score(WINDOWS)
    before = alive()

    for _ in range(PASSES):
        engine.score(WINDOWS)

    assert alive() == before
    assert (before > 0) == (engine.fused > 0) == (attention.level() > 0)


@attention_built.required
def test_nothing_is_left_of_a_model_that_has_gone(folder: Path) -> None:
    """Neither operations nor what they read, which is most of the model."""
    before = alive()
    sizes = []
    for _ in range(LOADS):
        engine = load(folder)
        engine.score(WINDOWS)
        loaded = megabytes()
        del engine
        assert alive() == before
        sizes.append((loaded, megabytes()))

    (first_loaded, first_gone), *_, (_, last_gone) = sizes
    # One of four would be as much.
    assert last_gone - first_gone < 0.7 * (first_loaded - first_gone), sizes


def test_nothing_is_left_of_what_was_converted() -> None:
    """TorchScript keeps what was traced, unless it is told that this was all."""
    weights = (embedded.path() / "model.safetensors").stat().st_size / 1e6
    sizes = []
    for _ in range(LOADS + 2):
        load(embedded.path())
        gc.collect()
        sizes.append(megabytes())

    assert sizes[-1] - sizes[1] < weights, sizes


@attention_built.required
def test_passes_of_one_size_take_no_more_memory() -> None:
    """What a pass needs is kept from one to the next: it is over a megabyte for a short text.

    Of what was allocated to a boundary glibc leaves a rest behind, and when somebody has taken
    that, the next pass does not fit where the one before was.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    width, total = 768, 96
    source = np.random.default_rng(1)

    def linear(columns: int, rows: int) -> Linear:
        weights = source.integers(-9, 9, (columns, rows), dtype=np.int8)
        ones = np.ones(max(columns, rows), np.float32)
        return Linear.whole(weights, ones[:columns], ones[:columns], ones[:rows], -3, 3)

    norm = Norm(None, None, 1e-6)
    square = linear(width, width)
    layer = Layer(linear(3 * width, width), square, norm, square, square, norm, None)
    layers = Layers([layer], 12)
    states = bf16(source.normal(size=(total, width)).astype(np.float32))
    out = np.zeros((total, width), np.uint16)
    sizes, rows = np.array([total], np.int32), np.zeros(1, np.int32)

    for using in range(1, attention.level() + 1):
        layers.encode(states, out, sizes, rows, None, using)
        before = megabytes()
        for _ in range(PASSES):
            for size in RESTS:
                libc.malloc(size)
            layers.encode(states, out, sizes, rows, None, using)
        assert megabytes() - before < 0.2 * PASSES, attention.LEVELS[using]
