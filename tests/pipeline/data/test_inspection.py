"""Rows that are fine one by one and not together."""

from __future__ import annotations

from pathlib import Path

import labelled
import pytest

from pipeline.data.inspection import check, check_disjoint
from pipeline.dataset import read
from pipeline.errors import DataError

ADA = labelled.row("Ada ran", ("Ada", "person"))
OSLO = labelled.row("in Oslo", ("Oslo", "city"))


def test_good_data_passes(tmp_path: Path) -> None:
    """As many mentions as asked for are enough."""
    labelled.write(tmp_path / "a.jsonl", [ADA, OSLO])

    check(read(tmp_path), min_examples=1)


def test_duplicates_are_named_with_both_places(tmp_path: Path) -> None:
    """Within a file and across files, whatever their labels and spacing."""
    again = {"tokenized_text": ["Ada ran"], "ner": []}
    labelled.write(tmp_path / "a.jsonl", [ADA, OSLO, ADA])
    labelled.write(tmp_path / "b.jsonl", [OSLO, again])

    with pytest.raises(DataError) as caught:
        check(read(tmp_path))

    text = str(caught.value)
    assert "a.jsonl line 3: the text is a duplicate of a.jsonl line 1" in text
    assert "b.jsonl line 1: the text is a duplicate of a.jsonl line 2" in text
    assert "b.jsonl line 2: the text is a duplicate of a.jsonl line 1" in text


def test_labels_that_differ_in_case_alone_are_named_once(tmp_path: Path) -> None:
    """They would be two labels to a model and one to a reader."""
    shout = [labelled.row(f"{name} ran", (name, "Person")) for name in ("Bob", "Eve")]
    labelled.write(tmp_path / "a.jsonl", [ADA, *shout])

    with pytest.raises(
        DataError, match=r"a\.jsonl line 2: label 'Person' .* 'person' at a"
    ) as caught:
        check(read(tmp_path))

    assert "problems" not in str(caught.value)


def test_a_rare_label_is_named_where_it_first_is(tmp_path: Path) -> None:
    """With how often it occurs and what to do."""
    labelled.write(tmp_path / "a.jsonl", [ADA, OSLO, labelled.row("Bob ran", ("Bob", "person"))])

    with pytest.raises(DataError, match=r"^a\.jsonl line 2: label 'city' has 1 mention .* than 2"):
        check(read(tmp_path), min_examples=2)


def test_empty_files_and_files_without_mentions_are_named(tmp_path: Path) -> None:
    """A model cannot be asked for anything there."""
    labelled.write(tmp_path / "a.jsonl", [])
    labelled.write(tmp_path / "b.jsonl", [labelled.row("nothing here")])

    with pytest.raises(DataError) as caught:
        check(read(tmp_path))

    assert "a.jsonl line 1: the file is empty" in str(caught.value)
    assert "b.jsonl line 1: no row of the file has a mention" in str(caught.value)


def test_a_text_of_the_other_part_is_named_with_both_places(tmp_path: Path) -> None:
    """Case and spacing do not make another text."""
    labelled.write(tmp_path / "train" / "a.jsonl", [OSLO, ADA])
    shout = {"tokenized_text": ["ADA RAN"], "ner": []}
    labelled.write(tmp_path / "eval" / "b.jsonl", [shout, labelled.row("Eve ran")])
    train, evaluation = read(tmp_path / "train"), read(tmp_path / "eval")

    with pytest.raises(DataError, match=r"^b\.jsonl line 1: .* the other part, a\.jsonl line 2$"):
        check_disjoint(evaluation, train)
    check_disjoint(read(tmp_path / "train"), [])
