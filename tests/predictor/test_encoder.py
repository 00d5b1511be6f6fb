"""An encoder's layers in C: the numbers of the book, in every way that the processor has."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import attention_built
import numpy as np
import pytest
from by_the_book import DISTANCES, Floats, attended, drawn, floats

from predictor.engines import attention
from predictor.engines.attention import Tables, bf16
from predictor.engines.encoder import Layer, Layers, Linear, Norm

WIDTH, HEADS, WIDE = 64, 2, 192
LENGTHS = ([1], [15, 16, 17], [31, 33, 1], [70, 2])
_erf = np.vectorize(math.erf)


@dataclass(frozen=True)
class Product:
    """A linear layer as a model has it."""

    weights: np.ndarray[tuple[int, int], np.dtype[np.int8]]
    worth: Floats
    bias: Floats
    smooth: Floats
    low: float
    high: float

    @classmethod
    def drawn(cls, columns: int, rows: int, low: float, high: float, seed: int) -> Product:
        """One whose results are about as large as what it reads."""
        source = np.random.default_rng(seed)
        return cls(
            source.integers(-127, 128, (columns, rows), dtype=np.int8),
            (source.uniform(0.5, 1.5, columns) / 70 / math.sqrt(rows)).astype(np.float32),
            source.normal(0, 0.2, columns).astype(np.float32),
            source.uniform(0.5, 1, rows).astype(np.float32),
            low,
            high,
        )

    def of(self, states: Floats) -> Floats:
        """Its activations in steps, and the product of what these are worth."""
        step = (self.high - self.low) / 255
        steps = np.clip(np.rint((states * self.smooth - self.low) / step), 0, 255)
        worth = steps * step + self.low
        found: Floats = worth @ (self.weights * self.worth[:, None]).T + self.bias
        return found

    def packed(self) -> Linear:
        """As C reads it."""
        return Linear.whole(self.weights, self.worth, self.bias, self.smooth, self.low, self.high)


@dataclass(frozen=True)
class Floating:
    """The same in bf16."""

    weights: Floats
    bias: Floats

    @classmethod
    def drawn(cls, columns: int, rows: int, low: float, high: float, seed: int) -> Floating:
        """One as large as the whole one of this seed, which has a range."""
        whole = Product.drawn(columns, rows, low, high, seed)
        return cls(floats(bf16(whole.weights * whole.worth[:, None])), whole.bias)

    def of(self, states: Floats) -> Floats:
        """The product of its activations, which are rounded too."""
        found: Floats = floats(bf16(states)) @ self.weights.T + self.bias
        return found

    def packed(self) -> Linear:
        """As C reads it."""
        return Linear.rounded(self.weights, self.bias)


Linears = Product | Floating


@dataclass(frozen=True)
class Book:
    """A layer by the book."""

    mixed: Linears
    out: Linears
    wide: Linears
    narrow: Linears
    scale: Floats | None
    shift: Floats | None
    tables: tuple[Floats, Floats] | None

    @classmethod
    def drawn(cls, seed: int, kind: type[Linears], *, relative: bool, plain: bool) -> Book:
        """A layer of random numbers; plain ones have norms without scales."""
        source = np.random.default_rng(seed)
        tables = [
            drawn(HEADS, 32, WIDTH // HEADS, seed=seed + one) / np.float32(8) for one in (1, 2)
        ]
        return cls(
            kind.drawn(3 * WIDTH, WIDTH, -3.1, 2.9, seed),
            kind.drawn(WIDTH, WIDTH, -2, 2.2, seed + 3),
            kind.drawn(WIDE, WIDTH, -3, 3.1, seed + 4),
            kind.drawn(WIDTH, WIDE, -0.17, 3.5, seed + 5),
            None if plain else source.uniform(0.5, 1.5, WIDTH).astype(np.float32),
            None if plain else source.normal(0, 0.1, WIDTH).astype(np.float32),
            (tables[0], tables[1]) if relative else None,
        )

    def norm(self, states: Floats) -> Floats:
        """Of each row."""
        off = states - states.mean(axis=1, keepdims=True)
        normal = off / np.sqrt((off**2).mean(axis=1, keepdims=True) + 1e-6)
        found: Floats = normal * (1 if self.scale is None else self.scale)
        return found if self.shift is None else found + self.shift

    def of(self, states: Floats, sizes: list[int], kept: list[int]) -> Floats:
        """What the layer makes of some texts."""
        mixed = floats(bf16(self.mixed.of(states)))
        used = attended(mixed[: sum(sizes)], sizes, HEADS, self.tables)
        seen = np.zeros_like(states)
        seen[: len(used)] = floats(bf16(used))
        middle = self.norm(self.out.of(seen[kept]) + states[kept])
        wide = self.wide.of(middle)
        active = 0.5 * wide * (1 + _erf(wide / math.sqrt(2)))
        return self.norm(self.narrow.of(active) + middle)

    def packed(self) -> Layer:
        """As C reads it."""
        norm = Norm(self.scale, self.shift, 1e-6)
        return Layer(
            mixed=self.mixed.packed(),
            out=self.out.packed(),
            seen=norm,
            wide=self.wide.packed(),
            narrow=self.narrow.packed(),
            last=norm,
            tables=Tables.make(*self.tables) if self.tables else None,
        )


@attention_built.required
@pytest.mark.parametrize("kind", [Product, Floating], ids=["int8", "bf16"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("some", [True, False], ids=["some are kept", "all"])
@pytest.mark.parametrize("sizes", LENGTHS, ids=str)
def test_numbers_are_those_of_the_formula(
    sizes: list[int], some: bool, relative: bool, kind: type[Linears]
) -> None:
    """Two layers over texts of all lengths, with room behind the last that means nothing."""
    total = sum(sizes) + 3
    book = [Book.drawn(seed, kind, relative=relative, plain=some) for seed in (10, 20)]
    states = drawn(total, WIDTH)
    # In any order and twice, as what is kept is filled up.
    kept = [*reversed(range(0, sum(sizes), 2)), 0, 0] if some else list(range(total))
    wanted = book[1].of(book[0].of(states, sizes, list(range(total))), sizes, kept)
    layers = Layers([one.packed() for one in book], HEADS)
    rows = DISTANCES.rows(max(sizes) + 5).astype(np.int32) if relative else np.zeros(1, np.int32)

    for using in range(1, attention.level() + 1):
        out = np.full((len(kept), WIDTH), 0x7FC0, np.uint16)  # not a number
        layers.encode(
            bf16(states),
            out,
            np.array(sizes, np.int32),
            rows,
            np.array(kept, np.int32) if some else None,
            using,
        )
        off = np.abs(floats(out) - wanted)[[one < sum(sizes) for one in kept]]
        if not some:
            assert not out[sum(sizes) :].any()

        # What bf16 rounds to the other side may be a step away, which is 0.02 before the norm.
        most, mean = (0.3, 0.012) if kind is Product else (0.2, 0.008)
        assert off.max() < most, attention.LEVELS[using]
        assert off.mean() < mean, attention.LEVELS[using]


@attention_built.required
def test_activations_beyond_their_range_are_at_its_ends() -> None:
    """As OpenVINO rounds them; and GELU of what is far from zero is all or nothing."""
    book = Book.drawn(30, Product, relative=False, plain=True)
    states = drawn(20, WIDTH) * 30
    wanted = book.of(states, [20], list(range(20)))
    layers = Layers([book.packed()], HEADS)

    for using in range(1, attention.level() + 1):
        out = np.zeros((20, WIDTH), np.uint16)
        sizes, rows = np.array([20], np.int32), np.zeros(1, np.int32)
        layers.encode(bf16(states), out, sizes, rows, None, using)

        assert np.abs(floats(out) - wanted).max() < 0.12, attention.LEVELS[using]


@attention_built.required
def test_activations_beyond_whole_numbers_are_at_the_upper_end() -> None:
    """However large: one beyond 2**31 steps is no less than one beyond 255."""
    book = Book.drawn(30, Product, relative=False, plain=True)
    sizes, rows = np.array([20], np.int32), np.zeros(1, np.int32)
    layers = Layers([replace(book.packed(), wide=_times(book.wide, 1e12))], HEADS)
    enough = Layers([replace(book.packed(), wide=_times(book.wide, 1e6))], HEADS)

    for using in range(1, attention.level() + 1):
        found = [np.zeros((20, WIDTH), np.uint16) for _ in range(2)]
        for one, out in zip((layers, enough), found, strict=True):
            one.encode(bf16(drawn(20, WIDTH)), out, sizes, rows, None, using)

        assert np.abs(floats(found[0]) - floats(found[1])).max() < 0.1, attention.LEVELS[using]


def _times(product: Linears, factor: float) -> Linear:
    """A layer whose results are so many times as large."""
    packed = product.packed()
    assert packed.scale is not None
    more = np.float32(factor)
    return replace(packed, shift=packed.shift * more, scale=packed.scale * more)


@attention_built.required
@pytest.mark.parametrize("wrong", ["sizes", "rows", "kept", "width", "type", "strides"])
def test_what_would_go_beyond_an_array_is_refused(wrong: str) -> None:
    """Before C reads it, whoever calls."""
    layers = Layers([Book.drawn(30, Floating, relative=True, plain=True).packed()], HEADS)
    given: dict[str, Any] = {
        "states": bf16(drawn(20, WIDTH)),
        "out": np.zeros((2, WIDTH), np.uint16),
        "sizes": np.array([11, 9], np.int32),
        "rows": DISTANCES.rows(11).astype(np.int32),
        "kept": np.array([0, 19], np.int32),
    }
    layers.encode(**given, using=attention.level())
    changed: dict[str, dict[str, Any]] = {
        "sizes": {"sizes": np.array([12, 9], np.int32)},
        "rows": {"rows": given["rows"][:20]},
        "kept": {"kept": np.array([0, 20], np.int32)},
        "width": {"states": bf16(drawn(20, WIDTH // 2))},
        "type": {"rows": given["rows"].astype(np.int64)},
        "strides": {"states": bf16(drawn(40, WIDTH))[::2]},
    }
    given |= changed[wrong]

    with pytest.raises(ValueError, match=r"is not one of|are not among|is not among|too few"):
        layers.encode(**given, using=attention.level())


@attention_built.required
@pytest.mark.parametrize("kind", [Product, Floating])
def test_help_changes_no_bit(kind: type[Linears]) -> None:
    """Whoever does a part does the same; here by more threads than this machine may have cores."""
    total = 70
    book = [Book.drawn(seed, kind, relative=True, plain=False) for seed in (10, 20)]
    states = bf16(drawn(total, WIDTH))
    sizes, rows = np.array([total], np.int32), DISTANCES.rows(total).astype(np.int32)

    def found(cores: int, using: int) -> bytes:
        out = np.zeros((total, WIDTH), np.uint16)
        layers = Layers([one.packed() for one in book], HEADS, cores)
        layers.encode(states, out, sizes, rows, None, using)
        return out.tobytes()

    for using in range(1, attention.level() + 1):
        alone = found(1, using)
        assert {found(4, using) for _ in range(100)} == {alone}
