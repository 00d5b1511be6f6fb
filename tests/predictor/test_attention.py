"""Attention in C: the same numbers as by the book, in every way that the processor has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attention_built
import numpy as np
import pytest
from by_the_book import DISTANCES, attended, drawn, floats

from predictor.engines import attention
from predictor.engines.attention import AMX, AVX512, Tables

ROOT = Path(__file__).parents[2]
LENGTHS = ([1], [15, 16, 17], [31, 32, 33, 1, 64], [7, 300, 2])


@attention_built.required
def test_it_uses_what_the_processor_has() -> None:
    """By what the kernel says of it."""
    flags = set(Path("/proc/cpuinfo").read_text("utf-8").split())
    there = (
        AMX
        if {"amx_tile", "amx_bf16", "amx_int8"} <= flags
        else AVX512
        if "avx512_bf16" in flags
        else 0
    )

    assert attention.level() == there


@attention_built.required
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
    wanted = attended(mixed, sizes, heads, tables if relative else None)

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


@attention_built.required
def test_scores_far_apart() -> None:
    """Softmax of scores that are hundreds apart is all of one and nothing of the rest."""
    mixed = drawn(20, 96)
    mixed[:, :64] *= 40
    wanted = attended(mixed, [20], 1, None)

    for using in range(1, attention.level() + 1):
        out = np.zeros((20, 32), np.uint16)
        sizes, rows = np.array([20], np.int32), np.zeros(1, np.int32)
        attention.attend(attention.bf16(mixed), out, sizes, 1, None, rows, using)

        assert np.abs(floats(out) - wanted).max() < 0.02


@attention_built.required
@pytest.mark.parametrize("column", [0, 32], ids=["query", "key"])
def test_what_is_no_number_stays_none(column: int) -> None:
    """Damaged weights do not give answers that look well."""
    mixed = drawn(20, 96)
    mixed[3, column] = np.nan

    for using in range(1, attention.level() + 1):
        out = np.zeros((20, 32), np.uint16)
        sizes, rows = np.array([20], np.int32), np.zeros(1, np.int32)
        attention.attend(attention.bf16(mixed), out, sizes, 1, None, rows, using)

        touched = [3] if column == 0 else range(20)
        assert np.isnan(floats(out)[touched]).all()
        assert np.isfinite(np.delete(floats(out), touched, axis=0)).all()


@attention_built.required
def test_heads_of_other_widths_are_refused() -> None:
    """C would leave out what is beyond whole steps."""
    mixed, out = np.zeros((4, 3 * 48), np.uint16), np.zeros((4, 48), np.uint16)
    sizes, rows = np.array([4], np.int32), np.zeros(1, np.int32)

    with pytest.raises(ValueError, match="1 heads in a width of 48"):
        attention.attend(mixed, out, sizes, 1, None, rows, attention.level())


@attention_built.required
def test_what_was_built_of_other_sources_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of before, beside that of another Python or in place of ours, would read other arrays."""
    files = []
    for name, form in (("before", ""), ("other", "int attention_form(void) { return 99; }")):
        source = tmp_path / f"{name}.c"
        source.write_text(f"int attention_level(void) {{ return 1; }} {form}\n", "utf-8")
        files.append(tmp_path / f"{name}.so")
        subprocess.check_call(["cc", "-shared", "-fPIC", "-o", str(files[-1]), str(source)])
    own = attention.built()[0]
    monkeypatch.setattr(attention, "built", lambda: [*files, own])

    found = attention.library.__wrapped__()

    assert attention.level() == (found.attention_level() if found else 0)
    assert found is None or found._name == str(own)


@attention_built.required
def test_nothing_outside_of_its_arrays_is_touched(tmp_path: Path) -> None:
    """Nothing undefined is done either: compiled again, under sanitizers and without a warning."""
    sources = map(str, sorted(Path(attention.__file__).parent.glob("*.c")))
    watched = tmp_path / "watched.so"
    strict = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsanitize=address,undefined")
    built = subprocess.run(
        ["cc", "-O1", "-g", *strict, "-shared", "-fPIC", "-o", str(watched), *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    sanitizer = subprocess.check_output(["cc", "-print-file-name=libasan.so"], text=True).strip()
    ran = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "attention_in_bounds.py"), str(watched)],
        env={
            "LD_PRELOAD": sanitizer,
            # Python itself leaks, and its threads are no matter here.
            "ASAN_OPTIONS": "detect_leaks=0",
            "UBSAN_OPTIONS": "halt_on_error=1",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout == "done\n", ran.stderr
