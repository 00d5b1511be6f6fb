"""The dataset format: what is read, what is refused, and what its digest depends on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import labelled
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import dataset
from pipeline.dataset import File, Row, Span, digest, read, read_rows, resplit, text_of
from pipeline.errors import DataError

GOOD = {"tokenized_text": ["Ada", "ran", "home"], "ner": [[0, 0, "person"]]}


def test_rows_are_read_with_their_source_and_line(tmp_path: Path) -> None:
    """A file's stem up to its first dot names the source; blank lines count and are skipped."""
    file = tmp_path / "news.train.jsonl"
    file.write_bytes(b"\r\n" + json.dumps(GOOD).encode() + b"\r\n\n")

    [row] = read_rows(file)

    assert row == Row(("Ada", "ran", "home"), (Span(0, 0, "person"),), "news")
    assert row.line == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"tokenized_text": ["Ada"]', "not JSON: .* at column 27"),
        (b'["Ada"]', "a row is an object"),
        (b'{"ner": []}', "tokenized_text is missing"),
        (b'{"tokenized_text": ["Ada"]}', "ner is missing"),
        (b'{"tokenized_text": ["Ada"], "ner": [], "id": 7}', "unknown key 'id'"),
        (b'{"tokenized_text": ["Ada"], "ner": [], "ner": []}', "a key is given twice"),
        (b'{"tokenized_text": "Ada ran", "ner": []}', "must be a list of strings"),
        (b'{"tokenized_text": ["Ada", 1], "ner": []}', "must be a list of strings"),
        (b'{"tokenized_text": [], "ner": []}', "tokenized_text is empty"),
        (b'{"tokenized_text": ["Ada", " "], "ner": []}', "word 1 is empty"),
        (b'{"tokenized_text": ["A\\u0000"], "ner": []}', "word 0 holds a NUL"),
        (b'{"tokenized_text": ["A\x00"], "ner": []}', "not JSON: Invalid control character"),
        (b'{"tokenized_text": ["\\ud83d"], "ner": []}', "word 0 holds half of a surrogate"),
        (b'{"tokenized_text": ["caf\xe9"], "ner": []}', "not UTF-8: byte 0xe9"),
        (b'{"tokenized_text": ["Ada"], "ner": {}}', "ner must be a list"),
        (b'{"tokenized_text": ["Ada"], "ner": [[0, 0]]}', r"ner 0 must be \[start, end, label\]"),
        (b'{"tokenized_text": ["Ada"], "ner": [["0", 0, "person"]]}', "whole numbers"),
        (b'{"tokenized_text": ["Ada"], "ner": [[0.0, 0, "person"]]}', "whole numbers"),
        (b'{"tokenized_text": ["Ada"], "ner": [[false, 0, "person"]]}', "whole numbers"),
        (b'{"tokenized_text": ["Ada"], "ner": [[0, 1, "person"]]}', "outside the 1 words"),
        (b'{"tokenized_text": ["Ada"], "ner": [[-1, 0, "person"]]}', "outside the 1 words"),
        (b'{"tokenized_text": ["A", "B"], "ner": [[1, 0, "person"]]}', "ends before it starts"),
        (b'{"tokenized_text": ["Ada"], "ner": [[0, 0, ""]]}', "has no label"),
        (b'{"tokenized_text": ["Ada"], "ner": [[0, 0, 7]]}', "has no label"),
        (b'{"tokenized_text": ["Ada"], "ner": [[0, 0, " person"]]}', "spaces around it"),
        (
            b'{"tokenized_text": ["Ada"], "ner": [[0, 0, "person"], [0, 0, "name"]]}',
            r"mention 0\.\.0 is labelled twice, 'person' and 'name'",
        ),
        (b"[" * 100_000, "not a row: nested too deep|not JSON"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, line: bytes, message: str) -> None:
    """The error says in which file and line what is wrong."""
    file = tmp_path / "bad.jsonl"
    file.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + b"\n")

    with pytest.raises(DataError, match=rf"^bad\.jsonl line 2: .*({message})"):
        read_rows(file)


def test_a_byte_order_mark_is_named(tmp_path: Path) -> None:
    """It says how to save the file, and finds nothing else wrong with its line."""
    file = tmp_path / "bom.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())

    with pytest.raises(DataError, match=r"^bom\.jsonl line 1: starts with a byte order mark"):
        read_rows(file)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """One error lists the problems of all files, the first twenty of many."""
    labelled.write(tmp_path / "a.jsonl", [{}] * 15)
    labelled.write(tmp_path / "b.jsonl", [[]] * 10)

    with pytest.raises(DataError) as caught:
        read(tmp_path)

    lines = str(caught.value).splitlines()
    assert lines[0] == "the data has 25 problems:"
    assert "a.jsonl line 1:" in lines[1]
    assert "b.jsonl line 5:" in lines[20]
    assert lines[21:] == ["- and 5 more"]


def test_no_text_of_the_data_is_in_a_message(tmp_path: Path) -> None:
    """Messages reach logs and Slack; the words of a row must not."""
    labelled.write(tmp_path / "a.jsonl", [{"tokenized_text": ["hush", "hush\0"], "ner": []}])
    (tmp_path / "b.jsonl").write_bytes(b'{"tokenized_text": ["hush"')

    with pytest.raises(DataError) as caught:
        read(tmp_path)

    assert "2 problems" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_nothing_to_read_says_what_to_give(tmp_path: Path) -> None:
    """No file and a folder without files both name the format."""
    with pytest.raises(DataError, match="no file at"):
        read_rows(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match=r"no \*\.jsonl in"):
        read(tmp_path)


def test_each_file_keeps_its_own_labels(tmp_path: Path) -> None:
    """A text is asked for what its own annotators marked."""
    labelled.write(tmp_path / "a.jsonl", [labelled.row("Ada ran", ("Ada", "person"))])
    labelled.write(tmp_path / "b.jsonl", [labelled.row("in Oslo", ("Oslo", "city"))])

    assert [(file.name, file.labels) for file in read(tmp_path)] == [
        ("a.jsonl", ("person",)),
        ("b.jsonl", ("city",)),
    ]


ROWS = labelled.sentences()[:6]


def digest_of(folder: Path, files: dict[str, list[dict[str, Any]]]) -> str:
    for name, rows in files.items():
        labelled.write(folder / name, rows)
    return digest(read(folder))


def test_the_digest_depends_on_the_rows_alone(tmp_path: Path) -> None:
    """Names and order of files, order of rows and spans, and JSON's spacing change nothing."""
    turned = [{"ner": row["ner"][::-1], "tokenized_text": row["tokenized_text"]} for row in ROWS]
    random.Random(1).shuffle(turned)
    spaced = tmp_path / "c"
    spaced.mkdir()
    text = "\n\n".join(json.dumps(row, separators=(" , ", " : ")) for row in ROWS)
    (spaced / "y.jsonl").write_text(text, encoding="utf-8")

    whole = digest_of(tmp_path / "a", {"a.jsonl": ROWS})

    assert len(whole) == 64
    assert digest_of(tmp_path / "b", {"z.jsonl": turned[:3], "a.jsonl": turned[3:]}) == whole
    assert digest(read(spaced)) == whole


@pytest.mark.parametrize(
    "change",
    [
        {"tokenized_text": ["Ada", "Lovelace", "was", "born", "in", "Rome", "."]},
        {"ner": [[0, 0, "person"], [5, 5, "city"]]},
        {"ner": [[0, 1, "name"], [5, 5, "city"]]},
        {"ner": [[0, 1, "person"]]},
    ],
)
def test_the_digest_changes_with_any_row(tmp_path: Path, change: dict[str, Any]) -> None:
    """A word, a boundary, a label or a mention more or less is other data."""
    changed = [{**ROWS[0], **change}, *ROWS[1:]]

    assert digest_of(tmp_path / "a", {"a.jsonl": ROWS}) != digest_of(
        tmp_path / "b", {"a.jsonl": changed}
    )


def test_the_digest_depends_on_what_a_row_is_asked_for() -> None:
    """The same rows with other labels to look for are measured otherwise."""
    row = Row(("Ada",), (Span(0, 0, "person"),), "x")

    assert digest([File("a", (row,), ("person",))]) != digest(
        [File("a", (row,), ("city", "person"))]
    )
    assert digest([File("a", (row, row), ("person",))]) != digest([File("a", (row,), ("person",))])


def test_words_are_split_as_gliner_splits_them() -> None:
    """A corpus word that GLiNER would split is split, and mentions keep their text."""
    row = resplit(
        Row(("In", "U.S.", "@ada_l"), (Span(1, 1, "location"), Span(2, 2, "person")), "x")
    )

    assert row.words == ("In", "U", ".", "S", ".", "@", "ada_l")
    assert row.spans == (Span(1, 4, "location"), Span(5, 6, "person"))


@given(st.lists(st.text(min_size=1), max_size=8))
def test_text_and_ranges_agree(words: list[str]) -> None:
    """Each range cuts its word out of the text."""
    text, ranges = text_of(words)

    assert [text[start:end] for start, end in ranges] == words


@given(
    st.dictionaries(st.sampled_from(["tokenized_text", "ner", "x"]), st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=8,
    ))
)  # fmt: skip
def test_any_json_is_a_row_or_a_data_error(tmp_path_factory: Any, value: dict[str, Any]) -> None:
    """Nothing that JSON can hold raises anything else."""
    file = tmp_path_factory.getbasetemp() / "any.jsonl"
    file.write_text(json.dumps(value), encoding="utf-8")

    try:
        rows, message = read_rows(file), ""
    except DataError as error:
        rows, message = [], str(error)

    assert message.startswith("any.jsonl line 1: ") or all(
        0 <= span.start <= span.end < len(row.words) for row in rows for span in row.spans
    )


def test_a_description_counts_what_is_there(tmp_path: Path) -> None:
    """Rows, mentions and labels of all files together."""
    labelled.write(tmp_path / "a.jsonl", ROWS)

    found = dataset.describe(read(tmp_path), "s3://data/eval")

    assert (found.rows, found.mentions, found.labels) == (6, 12, ("city", "person"))
    assert found.uri == "s3://data/eval"
