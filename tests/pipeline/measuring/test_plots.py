"""Pictures: drawn for any evaluation, with nothing cut off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import labelled
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.evaluation import Evaluation
from pipeline.measuring import plots
from pipeline.measuring.curves import THRESHOLDS, Bin, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = [Point(at, 0.5 + at / 2, 1 - at, 0.6) for at in THRESHOLDS]
BINS = [Bin(0.4, 0.5, 3, 0.44, 0.4), Bin(0.9, 1.0, 30, 0.97, 1.0)]
LABELS = {f"label number {index} with a name": 0.5 + index / 100 for index in range(35)}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Axes]]:
    """The axes of the pictures that the test draws."""
    found: list[Axes] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments: object, **options: object) -> None:
        found.extend(figure.axes)
        save(figure, *arguments, **options)  # type: ignore[arg-type] # whatever it was given

    monkeypatch.setattr(Figure, "savefig", keep)
    yield found
    assert all(axes.get_title(loc="left") for axes in found)
    assert all(axes.get_xlabel() for axes in found)


def white_at_the_edge(file: Path) -> bool:
    picture = imread(file)[..., :3]
    edges = (picture[0], picture[-1], picture[:, 0], picture[:, -1])
    return all(bool((edge == 1).all()) for edge in edges)


@pytest.mark.parametrize(
    "evaluation",
    [
        labelled.evaluation(),
        labelled.evaluation(champion=labelled.measured(0.7)),
        labelled.evaluation(
            labelled.measured(0.8, LABELS),
            labelled.measured(0.7, LABELS),
            labels=tuple(LABELS),
        ),
        labelled.evaluation(labelled.measured(0, {"$x^": 0.0})),
    ],
    ids=["alone", "with a champion", "many labels", "nothing right"],
)
def test_bars_of_any_evaluation(evaluation: Evaluation, tmp_path: Path, drawn: list[Axes]) -> None:
    """Every label shown has its support, and nothing touches the edge."""
    plots.labels(evaluation, tmp_path / "labels.png")
    plots.lengths(evaluation, tmp_path / "lengths.png")

    ticks = [text.get_text() for text in drawn[0].get_yticklabels()]
    assert ticks[0] == "all labels\n100 mentions"
    assert len(ticks) == 1 + min(30, len(evaluation.candidate.labels))
    assert (drawn[0].get_legend() is None) == (evaluation.champion is None)
    assert white_at_the_edge(tmp_path / "labels.png")
    assert white_at_the_edge(tmp_path / "lengths.png")


def test_curves_name_the_models_and_the_best_threshold(tmp_path: Path, drawn: list[Axes]) -> None:
    """Of each model."""
    plots.thresholds({"candidate": POINTS, "champion": POINTS}, tmp_path / "t.png")
    plots.reliability({"candidate": BINS, "champion": []}, tmp_path / "r.png")

    legend = drawn[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "candidate: 0.600 at 0.5, best 0.600 at 0.05",
        "champion: 0.600 at 0.5, best 0.600 at 0.05",
    ]
    assert white_at_the_edge(tmp_path / "t.png")
    assert white_at_the_edge(tmp_path / "r.png")


@pytest.mark.parametrize("count", [0, 1, 4, 35])
def test_a_heat_map_of_any_number_of_labels(count: int, tmp_path: Path, drawn: list[Axes]) -> None:
    """The most frequent of many; missed and spurious ones always."""
    names = [f"label {index}" for index in range(count)]
    counts = np.diag(np.arange(count + 1)[::-1]).astype(np.int64)

    plots.confusion(counts, names, tmp_path / "c.png")

    ticks = [text.get_text() for text in drawn[0].get_yticklabels()]
    assert ticks == [*names[:30], "nothing there"]
    assert drawn[0].get_xticklabels()[-1].get_text() == "missed"
    assert white_at_the_edge(tmp_path / "c.png")


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    """A step may share its process with somebody who draws."""
    before = dict(mpl.rcParams)

    plots.labels(labelled.evaluation(), tmp_path / "labels.png")

    assert dict(mpl.rcParams) == before
