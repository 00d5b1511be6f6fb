import random

from pipeline.dataset import Row, Span
from predictor.embedded.augment import join, recase, rename

ROW = Row(("Ada", "met", "Bob", "."), (Span(0, 0, "person"), Span(2, 2, "person")), "x")


def test_renamed_mentions_keep_their_label_and_place() -> None:
    """Words between mentions stay, and each span covers its new name."""
    row = rename(ROW, {"person": [("Grace", "Hopper")]}, random.Random(3))

    assert [w for w in row.words if w in ("met", ".")] == ["met", "."]
    for span in row.spans:
        assert row.words[span.start : span.end + 1] in (("Grace", "Hopper"), ("Ada",), ("Bob",))


def test_recasing_changes_nothing_but_case() -> None:
    """All lower, all upper, or as it was; the mentions stay."""
    assert recase(ROW, random.Random(0), lower=1.0).words == ("ada", "met", "bob", ".")
    assert recase(ROW, random.Random(0), lower=0.0, upper=1.0).words == ("ADA", "MET", "BOB", ".")
    assert recase(ROW, random.Random(0), lower=0.0, upper=0.0) == ROW


def test_joined_rows_shift_their_mentions() -> None:
    """The second row's mentions follow the first row's words."""
    assert join([ROW, ROW]).spans[2:] == (Span(4, 4, "person"), Span(6, 6, "person"))
