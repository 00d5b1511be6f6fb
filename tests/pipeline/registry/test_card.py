"""Tests of `pipeline.registry.card`."""

from __future__ import annotations

from pathlib import Path

import labelled
import pytest

from pipeline.registry import LONGEST_DESCRIPTION, card
from pipeline.registry.card import Links
from predictor.bundle import Bundle, Manifest


@pytest.fixture
def found(tmp_path: Path) -> Bundle:
    """A bundle whose own card is longer than MLflow takes."""
    (tmp_path / "MODEL_CARD.md").write_text("# Model\n\n" + "A paragraph of it.\n\n" * 1000)
    return Bundle(tmp_path, Manifest(id="ours/model", engine="torch", precision="bf16"), "a" * 64)


def test_a_reviewer_finds_what_to_decide_by(found: Bundle) -> None:
    """Scores of both with intervals, the difference, links, and how to decide."""
    evaluation = labelled.evaluation(
        labelled.measured(0.81, engine="openvino int8"),
        labelled.measured(0.83, version=7),
        loss=0.02,
    )

    text = card.write(found, evaluation, Links(run="http://m/run", champion="http://m/7"))

    assert "| F1 | 0.810 (0.760 to 0.860) | 0.830 (0.780 to 0.880) |" in text
    assert "champion (version 7)" in text
    assert "| measured with | openvino int8 | torch fp32 |" in text
    assert "Difference in F1: -0.020 (-0.040 to +0.000)" in text
    assert "[run](http://m/run) · [champion](http://m/7)" in text
    assert "set `review` to `approved` or `rejected`" in text
    assert "torch in bf16" in text
    assert "# Model" in text


def test_it_fits_what_mlflow_takes(found: Bundle) -> None:
    """The own card is cut between paragraphs, and the reader is told where all of it is."""
    labels = {f"label {number}": 0.5 for number in range(300)}
    evaluation = labelled.evaluation(labelled.measured(0.8, labels))

    text = card.write(found, evaluation, Links())

    assert len(text) <= LONGEST_DESCRIPTION
    assert "280 more labels" in text
    assert text.endswith("`MODEL_CARD.md` among the version's files.\n")


def test_labels_do_not_break_the_table(found: Bundle) -> None:
    """A label is a caller's text: it may hold what Markdown reads."""
    evaluation = labelled.evaluation(labelled.measured(0.8, {"a|b`c": 0.5}))

    text = card.write(found, evaluation, Links())

    assert "| a\\|b'c | 100 |" in text


def test_the_first_version_has_nothing_beside_it(found: Bundle) -> None:
    """No empty column where no champion serves."""
    text = card.write(found, labelled.evaluation(), Links())

    assert "There is no champion" in text
    assert "| F1 | 0.800 (0.750 to 0.850) |\n" in text
