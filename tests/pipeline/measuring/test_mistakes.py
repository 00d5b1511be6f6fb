"""Mistakes: of which kind, in which order, and how labels are confused."""

from __future__ import annotations

from pipeline.measuring.mistakes import confusion, mistakes, snippet
from pipeline.scoring import Found, Mention

TRUE: list[set[Mention]] = [
    {(0, 3, "person"), (10, 20, "city"), (30, 35, "date"), (40, 45, "city")},
    {(0, 5, "person")},
]
FOUND = [
    (
        Found(0, 3, "person", 0.99),
        Found(10, 20, "person", 0.9),
        Found(30, 38, "date", 0.8),
        Found(40, 45, "city", 0.3),
        Found(50, 55, "city", 0.95),
    ),
    (Found(3, 8, "city", 0.6),),
]


def test_each_mistake_has_its_kind_and_the_surest_come_first() -> None:
    """Wrong ones by score from the top, then missed ones from the bottom."""
    found = mistakes(TRUE, FOUND)

    assert [(one.kind, one.true_label, one.given_label, one.score) for one in found] == [
        ("spurious", "", "city", 0.95),
        ("wrong label", "city", "person", 0.9),
        ("wrong boundary", "date", "date", 0.8),
        ("wrong label and boundary", "person", "city", 0.6),
        ("missed", "city", "", 0.3),
    ]


def test_a_true_mention_explains_one_mistake_alone() -> None:
    """Two pieces of one name are a wrong boundary and a spurious mention."""
    true: list[set[Mention]] = [{(0, 10, "person")}]
    found = mistakes(true, [(Found(0, 4, "person", 0.9), Found(6, 10, "person", 0.8))])

    assert [one.kind for one in found] == ["wrong boundary", "spurious"]


def test_no_mistakes_of_a_model_that_is_right() -> None:
    """Nor of one asked about nothing."""
    assert mistakes([{(0, 3, "city")}, set()], [(Found(0, 3, "city", 0.6),), ()]) == []


def test_confusion_counts_the_same_span_alone() -> None:
    """Rows add up to the true mentions, columns to those given."""
    given: list[set[Mention]] = [{one[:3] for one in row if one.score > 0.5} for row in FOUND]

    counts = confusion(TRUE, given, ["city", "date", "person"])

    assert counts.tolist() == [
        [0, 0, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 1, 1],
        [2, 1, 0, 0],
    ]
    assert counts[:-1].sum() == sum(map(len, TRUE))
    assert counts[:, :-1].sum() == sum(map(len, given))


def test_a_snippet_shows_the_mention_in_its_surroundings() -> None:
    """Cut on both sides, and marked where it was cut."""
    text = f"{'a' * 100} Oslo {'b' * 100}"

    before, mention, after = snippet(text, 101, 105)

    assert mention == "Oslo"
    assert before == f"…{'a' * 59} "
    assert after == f" {'b' * 59}…"
    assert snippet("in Oslo", 3, 7) == ("in ", "Oslo", "")
