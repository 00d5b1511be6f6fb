"""Entity-level scores of a GLiNER folder: `python -m predictor.embedded.evaluate MODEL FILE...`.

A mention counts when its characters and its label are both exactly right; flat, threshold 0.5.
"""

import argparse
import pathlib
from collections.abc import Sequence

from gliner import GLiNER

from pipeline import scoring
from pipeline.dataset import Row, labels_of, read_rows, text_of
from pipeline.errors import DataError
from pipeline.scoring import THRESHOLD, Counts, Tally, tally, truth


def score(
    model: GLiNER, rows: Sequence[Row], labels: Sequence[str], threshold: float = THRESHOLD
) -> Tally:
    """Counts by label of stock GLiNER inference, asked for exactly these labels."""
    texts = [text_of(row.words)[0] for row in rows]
    entities = model.inference(texts, list(labels), threshold=threshold, batch_size=16)
    found = [{(e["start"], e["end"], e["label"]) for e in of_text} for of_text in entities]
    return tally([truth(row, labels) for row in rows], found, labels)


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
            counted = score(model, rows, labels)
            name = path.name.removesuffix(".jsonl")
            lines.append(_line(name, f"{len(labels)} labels", counted.micro))
            lines += [_line("", label, counted.of(label)) for label in labels]
    return "\n".join(lines)


def _line(corpus: str, label: str, counts: Counts) -> str:
    strong = "**" if corpus else ""
    return (
        f"| {strong}{corpus}{strong} | {strong}{label}{strong} | {scoring.precision(counts):.3f} | "
        f"{scoring.recall(counts):.3f} | {strong}{scoring.f1(counts):.3f}{strong} | "
        f"{int(counts[0] + counts[2])} |"
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
    except DataError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
