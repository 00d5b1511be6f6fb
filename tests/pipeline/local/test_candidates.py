"""Candidates that must be turned away are what their names say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.local import candidates
from predictor import bundle, embedded, golden
from predictor.errors import BundleError
from predictor.extraction import Extractor

ROWS: tuple[dict[str, Any], ...] = (
    {"tokenized_text": ["Ada", "in", "London"], "ner": [[0, 0, "person"], [2, 2, "location"]]},
    {"tokenized_text": ["IBM", "and", "Ada"], "ner": [[0, 0, "organization"], [2, 2, "person"]]},
)


def test_every_label_is_exchanged(tmp_path: Path) -> None:
    """Texts and spans stay, no mention keeps its label, and the labels stay those of the file."""
    source = tmp_path / "train"
    source.mkdir()
    (source / "a.jsonl").write_text("\n".join(map(json.dumps, ROWS)))

    out = candidates.mislabelled(source, tmp_path / "out")

    wrong = [json.loads(line) for line in (out / "a.jsonl").read_text().splitlines()]
    assert [row["tokenized_text"] for row in wrong] == [row["tokenized_text"] for row in ROWS]
    assert [row["ner"] for row in wrong] == [
        [[0, 0, "location"], [2, 2, "organization"]],
        [[0, 0, "person"], [2, 2, "location"]],
    ]


def test_damaged_bundle_fails_its_golden_answers(tmp_path: Path) -> None:
    """It is a bundle that loads, with another digest, and does not give what was recorded."""
    from predictor.engines.torch import TorchEngine

    whole = tmp_path / "whole"
    shutil.copytree(embedded.path(), whole)

    out = candidates.damaged(whole, tmp_path / "damaged")

    found = bundle.locate(str(out))
    assert found.digest != bundle.locate(str(whole)).digest
    extractor = Extractor(TorchEngine.load(out, "cpu", "fp32"))
    with pytest.raises(BundleError, match="golden answer"):
        golden.check(extractor, out / golden.FILE)
