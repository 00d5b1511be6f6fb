"""The dataset format: labelled words as JSON lines, how they are read, and their digest.

A row is GLiNER's own: `{"tokenized_text": ["Ada", "ran"], "ner": [[0, 0, "person"]]}`, spans in
words, both ends included. Each file has a label set of its own, the labels that occur in it: a
model is asked for those, so that a text is never asked for what its annotators did not mark.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation import Dataset

PATTERN = "*.jsonl"
WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")
"""GLiNER's own word splitter: a model must be trained on the words it will be served."""
MOST_PROBLEMS = 20
"""How many problems one error lists."""
_KEYS = ("tokenized_text", "ner")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Span:
    """Words `start` to `end`, both included, are one mention of `label`."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """One text as words, and every mention in it.

    Attributes:
        source: the corpus it came from.
        line: its line in its file, from 1; 0 where it came from no file.
    """

    words: tuple[str, ...]
    spans: tuple[Span, ...]
    source: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class File:
    """The rows of one file.

    Attributes:
        name: the file's name, without its folder.
        labels: what its rows are asked for, sorted.
    """

    name: str
    rows: tuple[Row, ...] = field(repr=False)
    labels: tuple[str, ...]


def read(folder: Path) -> list[File]:
    """All `*.jsonl` files directly in a folder, by name.

    Raises:
        DataError: there is none, or one holds what is not a labelled row; names file and line.
    """
    paths = sorted(path for path in folder.glob(PATTERN) if path.is_file())
    if not paths:
        raise DataError(f"no {PATTERN} in {folder}; name a folder with files in GLiNER's format")
    problems: list[str] = []
    files = []
    for path in paths:
        rows = tuple(_rows(path, problems))
        files.append(File(path.name, rows, tuple(labels_of(rows))))
    refuse(problems)
    return files


def read_rows(path: Path) -> list[Row]:
    """All rows of one file; the file's stem up to the first dot names their source.

    Raises:
        DataError: there is no such file, or it holds what is not a labelled row; names the line.
    """
    if not path.is_file():
        raise DataError(f"no file at {path}; give a {PATTERN} file in GLiNER's format")
    problems: list[str] = []
    rows = list(_rows(path, problems))
    refuse(problems)
    return rows


def refuse(problems: Sequence[str]) -> None:
    """Raise one `DataError` that lists the problems, if there are any; the first few of many."""
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        more = len(problems) - MOST_PROBLEMS
        shown = [*problems[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])]
        raise DataError("\n- ".join([f"the data has {len(problems)} problems:", *shown]))


def digest(files: Iterable[File]) -> str:
    """SHA-256 of the canonical rows, hexadecimal.

    A canonical row is the JSON array of its words, its spans in order and the labels that it
    is asked for, with no spaces. The rows are hashed in the order of their own digests: the
    names and order of files, the order of rows and of spans, and the spacing of JSON change
    nothing; a word, a span, a label or a row more does.
    """
    rows = sorted(_canonical(row, file.labels) for file in files for row in file.rows)
    return hashlib.sha256(b"".join(rows)).hexdigest()


def _canonical(row: Row, labels: Sequence[str]) -> bytes:
    spans = sorted([span.start, span.end, span.label] for span in row.spans)
    text = json.dumps([row.words, spans, labels], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def describe(files: Sequence[File], uri: str, newest: datetime | None = None) -> Dataset:
    """What an evaluation says of the data it was made on."""
    rows = [row for file in files for row in file.rows]
    return Dataset(
        uri=uri,
        digest=digest(files),
        rows=len(rows),
        mentions=sum(len(row.spans) for row in rows),
        labels=tuple(labels_of(rows)),
        newest=newest and newest.astimezone(timezone.utc),
    )


def text_of(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The words joined by single spaces, with the character range of each."""
    ranges, at = [], 0
    for word in words:
        ranges.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), ranges


def resplit(row: Row) -> Row:
    """The same row in the words GLiNER itself would split its text into.

    Corpora keep "U.S." or "@name" as one word, the served model never sees them so.
    """
    words: list[str] = []
    first: list[int] = []
    last: list[int] = []
    for word in row.words:
        pieces = WORD.findall(word) or [word]
        first.append(len(words))
        words.extend(pieces)
        last.append(len(words) - 1)
    spans = tuple(Span(first[span.start], last[span.end], span.label) for span in row.spans)
    return Row(tuple(words), spans, row.source, row.line)


def labels_of(rows: Iterable[Row]) -> list[str]:
    """The labels that occur, sorted."""
    return sorted({span.label for row in rows for span in row.spans})


def shown(name: str) -> str:
    """A label or a key as a message shows it."""
    return repr(name if len(name) <= 60 else f"{name[:60]}…")


def listed(names: Sequence[str]) -> str:
    """Labels as a message lists them; of many the first ones."""
    more = f" and {len(names) - MOST_PROBLEMS} more" if len(names) > MOST_PROBLEMS else ""
    return ", ".join(map(shown, names[:MOST_PROBLEMS])) + more


def _rows(path: Path, problems: list[str]) -> Iterator[Row]:
    """The rows that can be read; of each other line, what is wrong with it."""
    source = path.name.split(".", 1)[0]
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number == 1 and line.startswith(_BOM):
                problems.append(
                    f"{path.name} line 1: starts with a byte order mark; save it as UTF-8 without"
                )
                line = line.removeprefix(_BOM)
            if line.strip():
                try:
                    yield _row(line.rstrip(), source, number)
                except ValueError as error:
                    problems.append(f"{path.name} line {number}: {error}")


def _row(line: bytes, source: str, number: int) -> Row:
    value = _parsed(line)
    if not isinstance(value, dict):
        raise ValueError("a row is an object with tokenized_text and ner")
    for key in _KEYS:
        if key not in value:
            raise ValueError(f"{key} is missing; a row has tokenized_text and ner")
    if unknown := [key for key in value if key not in _KEYS]:
        raise ValueError(f"unknown key {shown(unknown[0])}; a row has tokenized_text and ner")
    words = _words(value["tokenized_text"])
    return Row(words, _spans(value["ner"], len(words)), source, number)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte 0x{line[error.start]:02x}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not a row: nested too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key is given twice")
    return value


def _words(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ValueError("tokenized_text must be a list of strings")
    if not value:
        raise ValueError("tokenized_text is empty")
    for index, word in enumerate(value):
        if not word.strip():
            raise ValueError(f"word {index} is empty")
        _check_characters(word, f"word {index}")
    return tuple(value)


def _spans(value: Any, count: int) -> tuple[Span, ...]:
    if not isinstance(value, list):
        raise ValueError("ner must be a list of [start, end, label]")
    spans = [_span(index, one, count) for index, one in enumerate(value)]
    seen: dict[tuple[int, int], str] = {}
    for span in spans:
        where = (span.start, span.end)
        if where in seen:
            raise ValueError(
                f"mention {span.start}..{span.end} is labelled twice, {shown(seen[where])} and "
                f"{shown(span.label)}; keep one"
            )
        seen[where] = span.label
    return tuple(spans)


def _span(index: int, value: Any, count: int) -> Span:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"ner {index} must be [start, end, label]")
    start, end, label = value
    # True is an int to Python, and no place in a text.
    if type(start) is not int or type(end) is not int:
        raise ValueError(f"ner {index}: start and end must be whole numbers")
    if start > end:
        raise ValueError(f"mention {start}..{end} ends before it starts")
    if not 0 <= start <= end < count:
        raise ValueError(f"mention {start}..{end} lies outside the {count} words")
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"mention {start}..{end} has no label")
    if label != " ".join(label.split()):
        raise ValueError(f"label {shown(label)} has spaces around it or several inside")
    _check_characters(label, f"the label of mention {start}..{end}")
    return Span(start, end, label)


def _check_characters(text: str, what: str) -> None:
    if "\0" in text:
        raise ValueError(f"{what} holds a NUL character")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{what} holds half of a surrogate pair")
