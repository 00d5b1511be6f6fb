import json
import pathlib

import pytest

from predictor.embedded.corpora import (
    CorpusError,
    Row,
    Span,
    read_rows,
    read_split,
    resplit,
    text_of,
)


def write(path: pathlib.Path, *rows: object) -> pathlib.Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_rows_are_read_with_their_source(tmp_path: pathlib.Path) -> None:
    """A file's stem names the source of its rows; blank lines are skipped."""
    path = write(
        tmp_path / "news.train.jsonl", {"tokenized_text": ["Ada", "ran"], "ner": [[0, 0, "person"]]}
    )
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")

    assert read_rows(path) == [Row(("Ada", "ran"), (Span(0, 0, "person"),), "news")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["Ada"], "a row is an object"),
        ({"ner": []}, "tokenized_text"),
        ({"tokenized_text": "Ada ran", "ner": []}, "list of strings"),
        ({"tokenized_text": ["Ada"], "ner": [[0, 1, "person"]]}, "outside the 1 words"),
        ({"tokenized_text": ["Ada"], "ner": [[0, 0, ""]]}, "no label"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: pathlib.Path, row: object, message: str) -> None:
    """The error says in which file and line what is wrong."""
    path = write(tmp_path / "bad.jsonl", {"tokenized_text": ["ok"], "ner": []}, row)

    with pytest.raises(CorpusError, match=rf"bad\.jsonl line 2: .*{message}"):
        read_rows(path)


def test_a_missing_corpus_is_an_error(tmp_path: pathlib.Path) -> None:
    """No file and no file of a split both say what to give."""
    with pytest.raises(CorpusError, match="no corpus file"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match=r"no \*\.train\.jsonl"):
        read_split(tmp_path, "train")


def test_words_are_split_as_gliner_splits_them() -> None:
    """A corpus word that GLiNER would split is split, and mentions keep their text."""
    row = resplit(
        Row(("In", "U.S.", "@ada_l"), (Span(1, 1, "location"), Span(2, 2, "person")), "x")
    )

    assert row.words == ("In", "U", ".", "S", ".", "@", "ada_l")
    assert row.spans == (Span(1, 4, "location"), Span(5, 6, "person"))


def test_text_and_ranges_agree() -> None:
    """Each range cuts its word out of the text."""
    words = ["Ada", "🙂", "ran"]

    text, ranges = text_of(words)

    assert [text[start:end] for start, end in ranges] == words
