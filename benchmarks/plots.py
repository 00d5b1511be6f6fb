"""The pictures: latency against load, cost against length and labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from benchmarks.results import Results
from benchmarks.systems import SYSTEMS, System
from pipeline.measuring.plots import picture

_OURS = "#0072B2"
_OTHERS = ("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#6b6b6b")
_SIZE = (8.0, 4.5)
COSTS = {"words": "length", "labels": "labels"}
"""What costs are by, and the picture of each."""
_PEERS = [one.name for one in SYSTEMS if not one.ours]


def draw(found: Results, folder: Path) -> list[Path]:
    """Draw what was measured; nothing for what was not."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    if found.open:
        files.append(folder / "latency.png")
        with picture(files[-1], *_SIZE, 1) as (axes,):
            _load(axes, found)
    for by, name in COSTS.items():
        if any(row["by"] == by for row in found.costs):
            files.append(folder / f"{name}.png")
            with picture(files[-1], *_SIZE, 1) as (axes,):
                _costs(axes, found, by)
    return files


def _load(axes: Axes, found: Results) -> None:
    for system in _named({row["system"] for row in found.open}):
        rows = found.arrivals(system.name)
        offered = [row["offered"] for row in rows]
        _line(axes, system, offered, [row["p99_ms"] for row in rows], f"{_title(system)}, p99")
        _line(axes, system, offered, [row["p50_ms"] for row in rows], f"{_title(system)}, p50", ":")
    axes.set(
        title="Latency against load, medium shape",
        xlabel="requests offered in a second, at random",
        ylabel="milliseconds until the answer",
        xscale="log",
        yscale="log",
    )
    _plain_ticks(axes)
    # Below: steep lines leave no room for it between them.
    axes.figure.legend(loc="outside lower center", ncols=3)


def _costs(axes: Axes, found: Results, by: str) -> None:
    for system in _named({row["system"] for row in found.costs}):
        rows = [row for row in found.costs if row["system"] == system.name and row["by"] == by]
        sizes = [row["size"] for row in rows]
        _line(axes, system, sizes, [row["p50_ms"] for row in rows], _title(system))
    axes.set(
        title=f"A text alone, by its {by}, medium shape",
        xlabel="words of the text" if by == "words" else "labels asked for, 27 words",
        ylabel="milliseconds until the answer",
        xscale="log",
        yscale="log",
    )
    if by == "words":
        # GLiNER reads no further; ours reads a text of any length, in windows.
        axes.axvline(384, color="#6b6b6b", linewidth=0.8, linestyle="--")
        axes.annotate(
            "the others drop what is behind",
            (384, axes.get_ylim()[0]),
            xytext=(4, 4),
            textcoords="offset points",
            color="#6b6b6b",
        )
    _plain_ticks(axes)
    axes.legend()


def _line(
    axes: Axes, system: System, x: Sequence[float], y: Sequence[float], label: str, style: str = "-"
) -> None:
    kind: dict[str, Any] = {"marker": "o", "markersize": 4, "linestyle": style, "label": label}
    axes.plot(x, y, color=_colour(system), linewidth=2.2 if system.ours else 1.4, **kind)


def _colour(system: System) -> str:
    return _OURS if system.ours else _OTHERS[_PEERS.index(system.name) % len(_OTHERS)]


def _title(system: System) -> str:
    return f"{system.title} {system.precision}"


def _named(names: set[str]) -> list[System]:
    return [one for one in SYSTEMS if one.name in names]


def _plain_ticks(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
