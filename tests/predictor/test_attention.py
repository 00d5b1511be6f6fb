"""Attention in one step: the same numbers as by the book, in OpenVINO's place, and only there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from numpy.typing import NDArray
from scores import WINDOWS, worst

from predictor import bundle, embedded, logs
from predictor.engines import attention, openvino
from predictor.engines.attention import AMX, AVX512, Tables
from predictor.engines.openvino import OpenVinoEngine
from predictor.engines.reading import Distances
from predictor.engines.silent import ov
from predictor.engines.torch import TorchEngine

Floats = NDArray[np.float32]
built = pytest.mark.skipif(
    not attention.built(), reason="there was no C compiler where .venv was made"
)
DISTANCES = Distances(span=16, buckets=16, furthest=64)
"""32 rows: the distances from 8 on share them."""
WIDE = {"hidden_size": 64}
"""Two heads of 32."""
LENGTHS = ([1], [15, 16, 17], [31, 32, 33, 1, 64], [7, 300, 2])


def floats(rounded: NDArray[np.uint16]) -> Floats:
    return (rounded.astype(np.uint32) << 16).view(np.float32)


def by_the_book(
    mixed: Floats, sizes: list[int], heads: int, tables: tuple[Floats, Floats] | None
) -> Floats:
    """DeBERTa's own formula, a text and a head at a time."""
    found = []
    at = 0
    for size in sizes:
        queries, keys, values = np.split(mixed[at : at + size], 3, axis=1)
        at += size
        parts = []
        for head in range(heads):
            query, key, value = (
                np.split(one, heads, axis=1)[head] for one in (queries, keys, values)
            )
            score = query @ key.T
            if tables is not None:
                places = np.arange(size)
                rows = DISTANCES.rows(size)[size - 1 - (places[:, None] - places)]
                ahead, behind = query @ tables[0][head].T, key @ tables[1][head].T
                score += np.take_along_axis(ahead, rows, axis=1)
                score += np.take_along_axis(behind, rows.T, axis=1).T
            weights = np.exp(score - score.max(axis=1, keepdims=True))
            parts.append(weights / weights.sum(axis=1, keepdims=True) @ value)
        found.append(np.concatenate(parts, axis=1))
    return np.concatenate(found)


def drawn(*shape: int, seed: int = 5) -> Floats:
    """Random numbers that bf16 holds."""
    return floats(attention.bf16(np.random.default_rng(seed).standard_normal(shape, np.float32)))


@built
def test_it_uses_what_the_processor_has() -> None:
    """By what the kernel says of it."""
    flags = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    there = AMX if {"amx_tile", "amx_bf16"} <= flags else AVX512 if "avx512_bf16" in flags else 0

    assert attention.level() == there


@built
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize(("heads", "width"), [(1, 32), (3, 64)])
@pytest.mark.parametrize("sizes", LENGTHS, ids=str)
def test_numbers_are_those_of_the_formula(
    sizes: list[int], heads: int, width: int, relative: bool
) -> None:
    """Texts of all lengths in one pass, none of which sees another; in every way there is here."""
    total, positions, model = sum(sizes) + 3, max(sizes) + 5, heads * width
    mixed = drawn(total, 3 * model)
    mixed[:, :model] /= np.float32(width)
    tables = (drawn(heads, 32, width, seed=6), drawn(heads, 32, width, seed=7) / np.float32(16))
    rows = DISTANCES.rows(positions).astype(np.int32) if relative else np.zeros(1, np.int32)
    wanted = by_the_book(mixed, sizes, heads, tables if relative else None)

    for using in range(1, attention.level() + 1):
        out = np.full((total, model), 0x7FC0, np.uint16)  # not a number
        attention.attend(
            attention.bf16(mixed),
            out,
            np.array(sizes, np.int32),
            heads,
            Tables.make(*tables) if relative else None,
            rows,
            using,
        )
        off = np.abs(floats(out[:-3]) - wanted)

        assert off.max() < 0.03, attention.LEVELS[using]
        assert off.mean() < 0.003, attention.LEVELS[using]
        assert not out[-3:].any(), attention.LEVELS[using]


@built
def test_scores_far_apart() -> None:
    """Softmax of scores that are hundreds apart is all of one and nothing of the rest."""
    mixed = drawn(20, 96)
    mixed[:, :64] *= 40
    wanted = by_the_book(mixed, [20], 1, None)

    for using in range(1, attention.level() + 1):
        out = np.zeros((20, 32), np.uint16)
        sizes, rows = np.array([20], np.int32), np.zeros(1, np.int32)
        attention.attend(attention.bf16(mixed), out, sizes, 1, None, rows, using)

        assert np.abs(floats(out) - wanted).max() < 0.02


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DeBERTa with heads as wide as ours computes them."""
    return checkpoints.write(tmp_path_factory.mktemp("wide"), "deberta", WIDE)


def load(folder: Path, precision: str = "bf16") -> OpenVinoEngine:
    return OpenVinoEngine.load(bundle.locate(str(folder)), precision, 2)


@built
@pytest.mark.parametrize("name", ["embedded", "deberta"])
def test_a_model_scores_as_with_openvinos_own(
    name: str, wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In all layers, the last of which keeps a part; in one batch, alone, and in two lanes."""
    folder = embedded.path() if name == "embedded" else wide
    reference = TorchEngine.load(folder, "cpu", "fp32")
    assert reference.rewritten is not None
    expected = reference.score(WINDOWS)
    ours = load(folder)
    monkeypatch.setattr(attention, "level", lambda: 0)
    theirs = load(folder)

    assert ours.fused == (len(reference.rewritten.blocks) if attention.library() else 0)
    assert theirs.fused == 0
    most = max(0.02, 2 * worst(theirs.score(WINDOWS), expected))
    assert worst(ours.score(WINDOWS), expected) < most
    with ThreadPoolExecutor(2) as pool:
        for index, alone in enumerate(pool.map(lambda one: ours.score([one]), WINDOWS * 4)):
            one = index % len(WINDOWS)
            assert worst(alone, expected[one : one + 1], [WINDOWS[one]]) < most


@built
def test_a_model_starts_from_its_export(wide: Path, tmp_path: Path) -> None:
    """What is stored has OpenVINO's attention, and serves where ours was not built; read again it
    is the same model."""
    found = bundle.locate(str(wide))
    assert openvino.export(found, tmp_path, "bf16")
    stored = ov.Core().read_model(tmp_path / openvino.MODEL)
    kinds = [one.get_type_name() for one in stored.get_ordered_ops()]

    assert kinds.count("ScaledDotProductAttention") == 2
    assert "Attention" not in kinds
    assert attention.fuse(stored) == (2 if attention.library() else 0)


@pytest.mark.parametrize(
    ("encoder", "precision"),
    [
        (WIDE, "fp32"),  # it computes in bf16
        ({}, "bf16"),  # heads of 16
        ({**WIDE, "pos_att_type": ["c2p"]}, "bf16"),  # one table of two
    ],
    ids=["fp32", "narrow", "one-table"],
)
def test_what_it_cannot_do_stays_with_openvino(
    encoder: dict[str, Any], precision: str, tmp_path: Path
) -> None:
    """And is served all the same."""
    engine = load(checkpoints.write(tmp_path, "deberta", encoder), precision)

    assert engine.fused == 0
    assert len(engine.score(WINDOWS)) == len(WINDOWS)


def test_where_it_was_not_built(
    wide: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The model serves, and the log says why it is slower."""
    for one in (attention.library, attention.level):
        one.cache_clear()
    monkeypatch.setattr(attention, "built", list)
    monkeypatch.setattr("predictor.engines.openvino._capabilities", lambda core: ("BF16",))
    with caplog.at_level("INFO", logs.OURS):
        engine = load(wide)
    for one in (attention.library, attention.level):
        one.cache_clear()

    assert engine.fused == 0
    assert "no C compiler" in caplog.text
    assert len(engine.score(WINDOWS)) == len(WINDOWS)
