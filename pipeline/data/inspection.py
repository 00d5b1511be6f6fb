"""What is wrong with a data set as a whole: rows that are fine one by one and not together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pipeline.dataset import File, Row, refuse, shown, text_of


def check(files: Sequence[File], min_examples: int = 0) -> None:
    """Hold all files of a data set against each other.

    A label that differs from another in case alone is refused: a model would be asked for
    both, and each would be counted as wrong where the other is meant.

    Args:
        min_examples: fewest mentions of each label, in all files together.

    Raises:
        DataError: empty files, files without mentions, texts that occur twice, labels that
            differ in case alone, or too few mentions; each with file and line.
    """
    problems = [*_empty(files), *_twice(files), *_alike(files), *_rare(files, min_examples)]
    refuse(problems)


def check_disjoint(files: Sequence[File], others: Sequence[File]) -> None:
    """Hold evaluation data against training data: no text may be in both.

    Case and spacing do not make another text.

    Raises:
        DataError: a text of `files` is in `others` as well; names both places.
    """
    known = {_text(row): (file, row) for file in others for row in file.rows}
    refuse(
        [
            f"{_place(file, row)}: the text is also in the other part, {_place(*known[_text(row)])}"
            for file, row in _each(files)
            if _text(row) in known
        ]
    )


def _empty(files: Sequence[File]) -> Iterator[str]:
    for file in files:
        if not file.rows:
            yield f"{file.name} line 1: the file is empty"
        elif not file.labels:
            yield f"{file.name} line 1: no row of the file has a mention"


def _twice(files: Sequence[File]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for file, row in _each(files):
        text = " ".join(text_of(row.words)[0].split())
        if text in seen:
            yield f"{_place(file, row)}: the text is a duplicate of {seen[text]}; keep one"
        seen.setdefault(text, _place(file, row))


def _alike(files: Sequence[File]) -> Iterator[str]:
    seen: dict[str, tuple[str, str]] = {}
    told: set[str] = set()
    for file, row in _each(files):
        for span in row.spans:
            name, where = seen.setdefault(span.label.casefold(), (span.label, _place(file, row)))
            if name != span.label and span.label not in told:
                told.add(span.label)
                yield (
                    f"{_place(file, row)}: label {shown(span.label)} differs in case alone from "
                    f"{shown(name)} at {where}; write it one way"
                )


def _rare(files: Sequence[File], least: int) -> Iterator[str]:
    counts = Counter(span.label for _, row in _each(files) for span in row.spans)
    first: dict[str, str] = {}
    for file, row in _each(files):
        for span in row.spans:
            first.setdefault(span.label, _place(file, row))
    for label, count in sorted(counts.items()):
        if count < least:
            yield (
                f"{first[label]}: label {shown(label)} has {count} "
                f"{'mention' if count == 1 else 'mentions'} in all files, fewer than {least}; "
                "label more texts, drop the label, or lower min_examples"
            )


def _each(files: Iterable[File]) -> Iterator[tuple[File, Row]]:
    return ((file, row) for file in files for row in file.rows)


def _text(row: Row) -> str:
    return " ".join(" ".join(row.words).split()).casefold()


def _place(file: File, row: Row) -> str:
    return f"{file.name} line {row.line}"
