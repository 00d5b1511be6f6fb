import json
import pathlib

import pytest

from pipeline.dataset import Row, Span
from pipeline.errors import DataError
from predictor.embedded.corpora import read_split


def test_a_split_is_read_by_source(tmp_path: pathlib.Path) -> None:
    """Files of another split are left alone."""
    row = json.dumps({"tokenized_text": ["Ada"], "ner": [[0, 0, "person"]]})
    for name in ("news.train.jsonl", "web.train.jsonl", "news.dev.jsonl"):
        (tmp_path / name).write_text(row, encoding="utf-8")

    assert read_split(tmp_path, "train") == {
        source: [Row(("Ada",), (Span(0, 0, "person"),), source)] for source in ("news", "web")
    }


def test_a_missing_split_is_an_error(tmp_path: pathlib.Path) -> None:
    """It says which files to give."""
    with pytest.raises(DataError, match=r"no \*\.train\.jsonl"):
        read_split(tmp_path, "train")
