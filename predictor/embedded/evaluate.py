"""Entity-level scores of a GLiNER folder: `python -m predictor.embedded.evaluate MODEL FILE...`.

A mention counts when its characters and its label are both exactly right; flat, threshold 0.5.
"""

import argparse
import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from gliner import GLiNER

from predictor.embedded.corpora import CorpusError, Row, labels_of, read_rows, text_of

THRESHOLD = 0.5
Mention = tuple[int, int, str]


@dataclasses.dataclass(slots=True)
class Score:
    """Counts of right, wrong and missed mentions."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Share of the found that are right; 0 when nothing was found."""
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        """Share of the true that were found; 0 when there is nothing to find."""
        return self.right / max(1, self.right + self.missed)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / max(1, 2 * self.right + self.wrong + self.missed)


def count(true: Iterable[set[Mention]], found: Iterable[set[Mention]]) -> dict[str, Score]:
    """Score by label over texts given in the same order."""
    scores: dict[str, Score] = collections.defaultdict(Score)
    for expected, given in zip(true, found, strict=True):
        for mention in expected | given:
            score = scores[mention[2]]
            score.right += mention in expected and mention in given
            score.wrong += mention not in expected
            score.missed += mention not in given
    return dict(scores)


def total(scores: dict[str, Score]) -> Score:
    """The micro score: all labels counted together."""
    return Score(
        sum(score.right for score in scores.values()),
        sum(score.wrong for score in scores.values()),
        sum(score.missed for score in scores.values()),
    )


def truth(row: Row, labels: Sequence[str]) -> set[Mention]:
    """The row's mentions with these labels, in characters of its words joined by spaces."""
    ranges = text_of(row.words)[1]
    return {
        (ranges[span.start][0], ranges[span.end][1], span.label)
        for span in row.spans
        if span.label in labels
    }


def score(
    model: GLiNER, rows: Sequence[Row], labels: Sequence[str], threshold: float = THRESHOLD
) -> dict[str, Score]:
    """Score by label of stock GLiNER inference, asked for exactly these labels."""
    texts = [text_of(row.words)[0] for row in rows]
    entities = model.inference(texts, list(labels), threshold=threshold, batch_size=16)
    found = [{(e["start"], e["end"], e["label"]) for e in of_text} for of_text in entities]
    return count([truth(row, labels) for row in rows], found)


def table(model: GLiNER, paths: Sequence[pathlib.Path]) -> str:
    """A Markdown table: each file's micro score, and below it the score of each label."""
    lines = [
        "| corpus | label | precision | recall | F1 | mentions |",
        "|---|---|---|---|---|---|",
    ]
    for path in paths:
        rows = read_rows(path)
        sets = [labels_of(rows)]
        if sets[0] == ["location", "miscellaneous", "organization", "person"]:
            sets.append([label for label in sets[0] if label != "miscellaneous"])
        for labels in sets:
            scores = score(model, rows, labels)
            lines.append(
                _line(path.name.removesuffix(".jsonl"), f"{len(labels)} labels", total(scores))
            )
            lines += [_line("", label, scores.get(label, Score())) for label in labels]
    return "\n".join(lines)


def _line(corpus: str, label: str, score: Score) -> str:
    strong = "**" if corpus else ""
    return (
        f"| {strong}{corpus}{strong} | {strong}{label}{strong} | {score.precision:.3f} | "
        f"{score.recall:.3f} | {strong}{score.f1:.3f}{strong} | {score.right + score.missed} |"
    )


def main() -> None:
    """Load the model, score it on each file, print the table."""
    parser = argparse.ArgumentParser(prog="python -m predictor.embedded.evaluate")
    parser.add_argument("model", type=pathlib.Path, help="a folder GLiNER can load")
    parser.add_argument("files", type=pathlib.Path, nargs="+", help="*.jsonl, GLiNER's format")
    options = parser.parse_args()
    model = GLiNER.from_pretrained(str(options.model), local_files_only=True)
    try:
        print(table(model, options.files))
    except CorpusError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
