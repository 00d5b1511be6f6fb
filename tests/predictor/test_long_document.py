"""A document of 20,000 words through the embedded model."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from gliner import GLiNER

from predictor import embedded as shipped
from predictor.extraction import Extraction, Extractor, Label, Query

LABELS = ("person", "city", "company", "date")
FILLER = (
    "The report was late again and nobody had read it before the meeting began . "
    "It was a long morning , the coffee was cold , and the windows would not open . "
)
NAMED = "Ada Lovelace moved from London to join Microsoft in Seattle in March 2019 . "


def read(extractor: Extractor, text: str, threshold: float = 0.5) -> Extraction:
    labels = tuple(Label(name, name, threshold) for name in LABELS)
    [result] = extractor.extract([Query(text, labels, flat_ner=True, multi_label=False)])
    return result


@pytest.fixture(scope="module")
def document() -> str:
    """20,000 words in which the same sentence comes at every distance from a boundary."""
    sentences: list[str] = []
    words = 0
    for gap in itertools.cycle(range(1, 4)):
        block = FILLER * gap + NAMED
        words += len(block.split())
        if words > 20_000:
            break
        sentences.append(block)
    text = "".join(sentences)
    return text + "so " * (20_000 - len(text.split()))


@pytest.fixture(scope="module")
def gliner() -> Any:
    return GLiNER.from_pretrained(str(shipped.path()), local_files_only=True)


@pytest.mark.slow
def test_twenty_thousand_words(embedded: Extractor, document: str) -> None:
    """All of it is read, and what is found does not depend on where a window ends."""
    result = read(embedded, document)

    limits = embedded.engine.limits
    assert result.words == 20_000
    assert 20_000 / limits.words < result.windows < 20_000 / (limits.words - 50) + 2
    assert all(document[one.start : one.end] == one.text for one in result.entities)
    ends = [0, *(one.end for one in result.entities)]
    assert all(end <= one.start for end, one in zip(ends, result.entities, strict=False)), (
        "an entity was found twice"
    )
    expected = document.count("Ada Lovelace")
    found = sum(one.text == "Ada Lovelace" for one in result.entities)
    assert found == expected, f"{found} of {expected}"


@pytest.mark.parametrize(
    "text",
    [
        NAMED,
        FILLER + NAMED + FILLER,
        "Angela Merkel met Emmanuel Macron in Paris on 3 May 2019 🙂 — they spoke of Airbus.",
        "東京 and Zürich: café, naïve, Ångström!",
        "ok",
    ],
)
def test_one_window_equals_gliner(embedded: Extractor, gliner: Any, text: str) -> None:
    """What fits one window gives what GLiNER gives, entity for entity."""
    expected = gliner.predict_entities(text, list(LABELS), threshold=0.3)

    result = read(embedded, text, threshold=0.3)

    assert result.windows == 1
    ours = [(one.start, one.end, one.label, one.text) for one in result.entities]
    theirs = [(one["start"], one["end"], one["label"], one["text"]) for one in expected]
    assert ours == theirs
    scores = [one["score"] for one in expected]
    assert [one.score for one in result.entities] == pytest.approx(scores, abs=1e-5)
