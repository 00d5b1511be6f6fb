import pytest

from predictor.embedded.corpora import Row, Span
from predictor.embedded.evaluate import Score, count, total, truth


def test_micro_f1_of_a_hand_made_case() -> None:
    """A wrong label and a wrong end are each one wrong and one missed."""
    true = [{(0, 3, "person"), (9, 15, "location")}, {(0, 5, "person")}]
    found = [{(0, 3, "person"), (9, 15, "person")}, {(0, 4, "person")}]

    scores = count(true, found)

    assert scores == {"person": Score(1, 2, 1), "location": Score(0, 0, 1)}
    assert total(scores) == Score(1, 2, 2)
    assert total(scores).precision == pytest.approx(1 / 3)
    assert total(scores).recall == pytest.approx(1 / 3)
    assert total(scores).f1 == pytest.approx(1 / 3)


def test_nothing_to_find_and_nothing_found_scores_zero_without_error() -> None:
    """Empty counts divide by nothing."""
    assert total(count([set()], [set()])).f1 == 0.0


def test_truth_is_in_characters_of_the_asked_labels() -> None:
    """Words are joined by single spaces; labels not asked for do not count."""
    row = Row(("Dr", "Ada", "Lovelace"), (Span(1, 2, "person"), Span(0, 0, "title")), "x")

    assert truth(row, ["person"]) == {(3, 15, "person")}
