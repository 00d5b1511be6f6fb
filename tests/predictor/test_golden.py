"""A model that is no longer itself does not pass its golden answers."""

from __future__ import annotations

import json
from pathlib import Path

import fakes
import pytest

from predictor import golden
from predictor.engines import Limits
from predictor.errors import BundleError
from predictor.extraction import Extractor


def model(factor: float = 1.0) -> Extractor:
    """A model whose scores are those of the sound one times a factor."""
    limits = Limits(words=60, width=4, positions=400)
    return Extractor(fakes.FakeEngine(lambda span, _: 0.8 * factor * span[0].istitle(), limits))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    golden.record(model(), tmp_path / golden.FILE)
    return tmp_path / golden.FILE


def test_same_model(file: Path) -> None:
    """The model that was recorded passes."""
    assert golden.check(model(), file) == len(golden.REQUESTS)


@pytest.mark.parametrize("factor", [0.1, 0.7, 0.97, 1.03])
def test_changed_scores(file: Path, factor: float) -> None:
    """Scores that collapsed or drifted by more than the tolerance are told."""
    with pytest.raises(BundleError, match="request 0 no longer gives its golden answer"):
        golden.check(model(factor), file)


def test_rounding(file: Path) -> None:
    """Differences that rounding makes are let pass."""
    assert golden.check(model(1.005), file)


def test_scores_that_rose_over_the_threshold(tmp_path: Path) -> None:
    """A model that finds more than before has changed as well."""
    golden.record(model(0.5), tmp_path / golden.FILE)

    with pytest.raises(BundleError, match=r"recorded was below 0\.5"):
        golden.check(model(), tmp_path / golden.FILE)


@pytest.mark.parametrize("text", ["", "[]", '{"requests": [{"text": "a"}]}'])
def test_not_golden_answers(file: Path, text: str) -> None:
    """A file of another form is told from a model that changed."""
    file.write_text(text)

    with pytest.raises(BundleError, match="not golden answers"):
        golden.check(model(), file)


def test_file_for_people(file: Path) -> None:
    """The file shows requests and answers as a person would write them."""
    first = json.loads(file.read_text())["requests"][0]

    assert set(first) == {"text", "labels", "entities"}
    assert set(first["entities"][0]) == {"text", "label", "start", "end", "score"}
