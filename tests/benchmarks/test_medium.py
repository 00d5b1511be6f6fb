"""The model that speed is measured on, small enough to be made here."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from small_medium import SMALL

from benchmarks import forms, medium, texts
from predictor import bundle, engines
from predictor.engines import Window
from predictor.extraction import Extractor, Label, Query


def test_texts_are_what_they_are_said_to_be() -> None:
    """Sentences of 12 to 40 words, 27 on average, the same for the same seed."""
    asked = texts.sentences(2000, seed=1)
    words = [len(one.text.split()) for one in asked]

    assert statistics.mean(words) == pytest.approx(27, abs=0.5)
    assert (min(words), max(words)) == (12, 40)
    assert asked == texts.sentences(2000, seed=1) != texts.sentences(2000, seed=2)
    assert [len(one.text.split()) for one in texts.of_length(300, 2, seed=1)] == [300, 300]
    assert [len(set(one.labels)) for one in texts.with_labels(100, 2, seed=1)] == [100, 100]


@pytest.mark.slow
def test_model_finds_a_few_entities(tmp_path: Path) -> None:
    """Random weights are set so that a sentence has some entities, through our engine too."""
    stock, ours = tmp_path / "stock", tmp_path / "ours"
    medium.write(stock, SMALL)
    ours.mkdir()
    forms.ours(stock, "fp32", ours, tmp_path)
    found = bundle.locate(str(ours))
    engine = engines.load(found, "cpu", found.manifest.precision, 1)
    asked = texts.sentences(30, seed=1)
    labels = tuple(Label(name, name, 0.5) for name in texts.LABELS)

    queries = [Query(one.text, labels, flat_ner=True, multi_label=False) for one in asked]
    counts = [len(one.entities) for one in Extractor(engine).extract(queries)]

    assert found.manifest.engine == engine.name == "openvino"
    assert 0.5 < statistics.mean(counts) < 8
    [scores] = engine.score([Window(tuple(asked[0].text.split()), texts.LABELS)])
    assert (scores > 0.5).mean() < 0.2
