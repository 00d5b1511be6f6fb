"""Rows of labelled words, and how they are read from GLiNER's training format."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Sequence

WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")
"""GLiNER's own word splitter: a model must be trained on the words it will be served."""


class CorpusError(ValueError):
    """A corpus file is missing or holds something that is not a labelled row."""


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Words `start` to `end`, both included, are one mention of `label`."""

    start: int
    end: int
    label: str


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One text as words, every mention in it, and the corpus it came from."""

    words: tuple[str, ...]
    spans: tuple[Span, ...]
    source: str


def read_rows(path: pathlib.Path) -> list[Row]:
    """All rows of one JSON-lines file; the file's stem up to the first dot names the source.

    Raises CorpusError, naming file and line, for anything that is not a labelled row.
    """
    if not path.is_file():
        raise CorpusError(f"no corpus file at {path}; give a *.jsonl file in GLiNER's format")
    source = path.name.split(".", 1)[0]
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    rows.append(_row(json.loads(line), source))
                except (ValueError, TypeError, KeyError) as error:
                    raise CorpusError(f"{path.name} line {number}: {error}") from error
    return rows


def read_split(folder: pathlib.Path, split: str) -> dict[str, list[Row]]:
    """Rows by source of every `*.{split}.jsonl` in a folder; CorpusError when there is none."""
    paths = sorted(folder.glob(f"*.{split}.jsonl"))
    if not paths:
        raise CorpusError(f"no *.{split}.jsonl in {folder}; point DATA_DIR at the corpora")
    return {path.name.split(".", 1)[0]: read_rows(path) for path in paths}


def _row(value: object, source: str) -> Row:
    if not isinstance(value, dict):
        raise ValueError("a row is an object with tokenized_text and ner")
    words = value["tokenized_text"]
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("tokenized_text is a list of strings")
    spans = []
    for start, end, label in value["ner"]:
        if not 0 <= start <= end < len(words):
            raise ValueError(f"mention {start}..{end} lies outside the {len(words)} words")
        if not isinstance(label, str) or not label:
            raise ValueError(f"mention {start}..{end} has no label")
        spans.append(Span(start, end, label))
    return Row(tuple(words), tuple(spans), source)


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
    return Row(tuple(words), spans, row.source)


def labels_of(rows: Iterable[Row]) -> list[str]:
    """The labels that occur, sorted."""
    return sorted({span.label for row in rows for span in row.spans})
