"""The pictures of an evaluation, as PNG files that MLflow shows.

The colours are Okabe and Ito's, which people with colour blindness can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import Evaluation, Score
from pipeline.measuring.curves import Bin, Point, calibration_error
from pipeline.scoring import THRESHOLD

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CANDIDATE, _CHAMPION, _GREY = "#0072B2", "#E69F00", "#6b6b6b"
_MOST_LABELS = 30
"""Most labels in a picture; the tables have all."""
_LONGEST_NAME = 28
_STYLE = {
    "figure.dpi": 130,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.2,
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "text.parse_math": False,
}

Curves = Mapping[str, Sequence[Point]]
"""By model, the candidate first."""


def labels(evaluation: Evaluation, file: Path) -> None:
    """F1 of each label with its interval, candidate beside champion; the most frequent first."""
    ours = evaluation.candidate
    names = sorted(ours.labels, key=lambda label: -ours.labels[label].support)[:_MOST_LABELS]
    bars = {"candidate": [ours.micro, *(ours.labels[name] for name in names)]}
    if theirs := evaluation.champion:
        bars["champion"] = [theirs.micro, *(theirs.labels[name] for name in names)]
    ticks = ["all labels", *names]
    more = len(ours.labels) - len(names)
    title = f"F1 by label{f', the {len(names)} most frequent' if more else ''}"
    _bars(title, ticks, bars, "mention", file)


def lengths(evaluation: Evaluation, file: Path) -> None:
    """F1 of each group of texts by their length, candidate beside champion."""
    groups = list(evaluation.candidate.by_length)
    bars = {"candidate": [evaluation.candidate.by_length[name] for name in groups]}
    if theirs := evaluation.champion:
        bars["champion"] = [theirs.by_length[name] for name in groups]
    _bars("F1 by length of the text", [f"{name} words" for name in groups], bars, "mention", file)


def thresholds(curves: Curves, file: Path) -> None:
    """Precision against recall as the threshold rises, and F1 against the threshold."""
    with picture(file, 11, 4.6, 2) as (left, right):
        for colour, (name, points) in zip((_CANDIDATE, _CHAMPION), curves.items(), strict=False):
            default = next(one for one in points if one.threshold == THRESHOLD)
            best = max(points, key=lambda one: one.f1)
            recall, precision = [p.recall for p in points], [p.precision for p in points]
            left.plot(recall, precision, "-", color=colour, lw=2, label=name)
            left.plot(default.recall, default.precision, "o", color=colour, ms=8, clip_on=False)
            right.plot([p.threshold for p in points], [p.f1 for p in points], color=colour, lw=2)
            right.plot(
                *(default.threshold, default.f1), "o", color=colour, ms=8, clip_on=False,
                label=f"{name}: {default.f1:.3f} at {THRESHOLD}, "
                f"best {best.f1:.3f} at {best.threshold:g}",
            )  # fmt: skip
        left.set(title="Precision and recall over thresholds", xlabel="recall", ylabel="precision")
        left.set(xlim=(0, 1), ylim=(0, 1.01))
        right.set(title="F1 over thresholds", xlabel="threshold", ylabel="micro F1")
        right.set(xlim=(0, 1), ylim=(0, 1.01))
        left.plot([], [], "o", color=_GREY, ms=8, label=f"at threshold {THRESHOLD}")
        left.legend(loc="lower left")
        right.legend(loc="lower left")


def reliability(bins: Mapping[str, Sequence[Bin]], file: Path) -> None:
    """Scores against the share that is right; on the diagonal, a score is a probability."""
    with picture(file, 6.4, 6.4, 1) as (axes,):
        axes.plot([0, 1], [0, 1], "--", color=_GREY, lw=1, label="a score is a probability")
        for colour, (name, found) in zip((_CANDIDATE, _CHAMPION), bins.items(), strict=False):
            most = max((one.count for one in found), default=1)
            axes.plot(
                [one.score for one in found], [one.right for one in found], "-", color=colour, lw=2,
                label=f"{name}: off by {100 * calibration_error(found):.1f} points on average",
            )  # fmt: skip
            axes.scatter(
                [one.score for one in found],
                [one.right for one in found],
                s=[25 + 200 * one.count / most for one in found],
                color=colour,
                alpha=0.6,
            )
        axes.set(title="Reliability of scores; large dots stand for many mentions")
        axes.set(xlabel="score that the model gave", ylabel="share of mentions that are right")
        axes.set(xlim=(0, 1), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(loc="upper left")


def confusion(counts: NDArray[np.int64], names: Sequence[str], file: Path) -> None:
    """What true mentions were given, in per cent of each row.

    Args:
        counts: as `mistakes.confusion` has them, labels in the order of `names`.
    """
    order = np.argsort(-counts[:-1].sum(axis=1), kind="stable")[:_MOST_LABELS]
    chosen = [*order.tolist(), len(names)]
    part = counts[np.ix_(chosen, chosen)]
    totals = counts[chosen].sum(axis=1, keepdims=True)
    shares = 100 * part / np.maximum(1, totals)
    ticks = [_short(names[index]) for index in order]
    size = 3.4 + 0.52 * len(chosen)
    with picture(file, size, size, 1) as (axes,):
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.argwhere(part > 0):
            axes.text(
                column, row, f"{part[row, column]}", ha="center", va="center", fontsize=8.5,
                color="white" if shares[row, column] > 55 else "#1a1a1a",
            )  # fmt: skip
        axes.set_xticks(range(len(chosen)), [*ticks, "missed"], rotation=40, ha="right")
        axes.set_yticks(range(len(chosen)), [*ticks, "nothing there"])
        axes.tick_params(length=0)
        axes.set(xlabel="what the candidate gave", ylabel="what is true")
        axes.set(title="Mentions by true and given label\nsame span; shaded by share of the row")


def _bars(
    title: str, ticks: Sequence[str], bars: Mapping[str, Sequence[Score]], what: str, file: Path
) -> None:
    """Horizontal bars with intervals, one group a tick."""
    thick = 0.8 / len(bars)
    with picture(file, 8.6, 1.6 + (0.2 + 0.26 * len(bars)) * len(ticks), 1) as (axes,):
        at = np.arange(len(ticks))
        for index, (colour, (name, found)) in enumerate(
            zip((_CANDIDATE, _CHAMPION), bars.items(), strict=False)
        ):
            f1 = np.array([one.f1 for one in found])
            # A bootstrap's middle may lie beside the score itself.
            low = np.maximum(0, f1 - [one.f1_low for one in found])
            high = np.maximum(0, [one.f1_high for one in found] - f1)
            places = at + (index - (len(bars) - 1) / 2) * thick
            axes.barh(places, f1, thick * 0.92, color=colour, label=name)
            axes.errorbar(
                f1, places, xerr=[low, high], fmt="none", ecolor="#1a1a1a", elinewidth=1, capsize=2
            )
            for place, one in zip(places, found, strict=True):
                axes.text(1.02, place, f"{one.f1:.3f}", va="center", fontsize=8.5, color=_GREY)
        counted = [
            f"{_short(tick)}\n{one.support} {what}{'' if one.support == 1 else 's'}"
            for tick, one in zip(ticks, next(iter(bars.values())), strict=True)
        ]
        axes.set_yticks(at, counted, fontsize=9)
        axes.set_ylim(len(ticks) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set(title=title, xlim=(0, 1), xlabel="F1, with 95 % interval")
        if len(bars) > 1:
            axes.legend(loc="lower right", bbox_to_anchor=(1.08, 1.0), ncols=2)


@contextmanager
def picture(file: Path, width: float, height: float, columns: int) -> Iterator[list[Axes]]:
    """A picture to draw on, written at the end. It touches no state of matplotlib's own."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = _STYLE
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield [figure.add_subplot(1, columns, number) for number in range(1, columns + 1)]
        figure.savefig(file)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
