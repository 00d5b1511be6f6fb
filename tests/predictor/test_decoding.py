"""The greedy search keeps what GLiNER's own keeps."""

from __future__ import annotations

from types import SimpleNamespace

from gliner.decoding.decoder import Span, SpanDecoder
from hypothesis import given
from hypothesis import strategies as st

from predictor.decoding import Candidate, select

WIDTH = 5

spans = st.builds(
    lambda start, width, label, score: Candidate(start, start + width, label, score),
    st.integers(0, 20),
    st.integers(0, WIDTH - 1),
    st.integers(0, 2),
    st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.5, 0.7, 0.9]),
)


def gliners(candidates: list[Candidate], flat_ner: bool, multi_label: bool) -> set[Candidate]:
    decoder = SpanDecoder(SimpleNamespace())
    given_spans = [Span(one.start, one.end, str(one.label), one.score) for one in candidates]
    kept = decoder.greedy_search(given_spans, flat_ner=flat_ner, multi_label=multi_label)
    return {Candidate(one.start, one.end, int(one.entity_type), one.score) for one in kept}


@given(
    st.lists(spans, max_size=40, unique_by=lambda one: one[:3]),
    st.booleans(),
    st.booleans(),
)
def test_same_as_gliner(candidates: list[Candidate], flat_ner: bool, multi_label: bool) -> None:
    """Flat or nested, one label or several: the kept spans are GLiNER's, ties included."""
    kept = select(candidates, flat_ner=flat_ner, multi_label=multi_label)

    assert set(kept) == gliners(candidates, flat_ner, multi_label)
    assert len(kept) == len(set(kept))


def test_position_order() -> None:
    """Entities come by position, an outer one before those inside it."""
    inner, outer, later = Candidate(1, 1, 0, 0.9), Candidate(0, 2, 0, 0.8), Candidate(4, 4, 0, 1.0)

    kept = select([inner, later, outer], flat_ner=False, multi_label=False)

    assert kept == [outer, inner, later]
