"""The corpora that the embedded model trains on: a folder of `SOURCE.SPLIT.jsonl` files."""

import pathlib

from pipeline.dataset import Row, read_rows
from pipeline.errors import DataError


def read_split(folder: pathlib.Path, split: str) -> dict[str, list[Row]]:
    """Rows by source of every `*.{split}.jsonl` in a folder; DataError when there is none."""
    paths = sorted(folder.glob(f"*.{split}.jsonl"))
    if not paths:
        raise DataError(f"no *.{split}.jsonl in {folder}; point DATA_DIR at the corpora")
    return {path.name.split(".", 1)[0]: read_rows(path) for path in paths}
