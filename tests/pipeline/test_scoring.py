"""Counting mentions: against seqeval's and GLiNER's own counting, and by what must always hold."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from gliner.evaluation import BaseNEREvaluator
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2

from pipeline import scoring
from pipeline.dataset import Row, Span
from pipeline.scoring import Found, Mention, Tally, tally

LABELS = ("city", "date", "person")
WORDS = 12


@st.composite
def flat(draw: st.DrawFn) -> set[Mention]:
    """Mentions of a text of twelve words, none of which share a word; ends are exclusive."""
    cuts = draw(st.lists(st.integers(0, WORDS), unique=True, max_size=8).map(sorted))
    pairs = list(itertools.pairwise(cuts))
    labels = draw(st.lists(st.sampled_from((*LABELS, "")), min_size=8, max_size=8))
    return {(*pair, label) for pair, label in zip(pairs, labels, strict=False) if label}


texts = st.lists(st.tuples(flat(), flat()), min_size=1, max_size=12)
Pairs = list[tuple[set[Mention], set[Mention]]]


def counted(pairs: Pairs) -> Tally:
    return tally([true for true, _ in pairs], [found for _, found in pairs], LABELS)


def tags(mentions: set[Mention]) -> list[str]:
    found = ["O"] * WORDS
    for start, end, label in mentions:
        found[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
    return found


@given(texts)
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_seqeval(pairs: Pairs) -> None:
    """Micro, macro and each label, in seqeval's strict mode."""
    ours = scoring.scores(counted(pairs))
    true, found = [tags(one) for one, _ in pairs], [tags(one) for _, one in pairs]
    occurring = sorted({one[2] for pair in pairs for mentions in pair for one in mentions})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # seqeval speaks up when it divides by nothing
        options = {"scheme": IOB2, "zero_division": 0}
        micro = precision_recall_fscore_support(true, found, average="micro", **options)
        each = precision_recall_fscore_support(true, found, average=None, **options)

    assert (ours.micro.precision, ours.micro.recall, ours.micro.f1) == pytest.approx(micro[:3])
    for index, label in enumerate(occurring):
        score = ours.labels[label]
        theirs = [column[index] for column in each]
        assert [score.precision, score.recall, score.f1, score.support] == pytest.approx(theirs)


def test_macro_f1_agrees_with_seqeval() -> None:
    """The mean over labels, each counting the same however often it occurs."""
    pairs: Pairs = [
        ({(0, 2, "person"), (3, 4, "city")}, {(0, 2, "person"), (3, 4, "date")}),
        ({(0, 1, "person"), (2, 5, "date")}, {(0, 1, "person"), (2, 5, "date")}),
    ]
    true, found = [tags(one) for one, _ in pairs], [tags(one) for _, one in pairs]

    theirs = precision_recall_fscore_support(
        true, found, average="macro", scheme=IOB2, zero_division=0
    )[2]

    assert scoring.scores(counted(pairs)).macro_f1 == pytest.approx(theirs)


@given(texts)
@settings(max_examples=60, deadline=None)
def test_it_agrees_with_gliners_own_evaluation(pairs: Pairs) -> None:
    """Micro precision, recall and F1."""
    # GLiNER's counting fails where no text has any mention.
    pairs = [*pairs, ({(0, 1, "city")}, {(0, 1, "city")})]

    evaluator = BaseNEREvaluator([sorted(true) for true, _ in pairs], [sorted(f) for _, f in pairs])
    theirs = evaluator.compute_prf(*evaluator.transform_data())

    ours = scoring.scores(counted(pairs)).micro
    assert ours.precision == pytest.approx(theirs["precision"])
    assert ours.recall == pytest.approx(theirs["recall"])
    assert ours.f1 == pytest.approx(theirs["f_score"])


@given(texts)
@settings(max_examples=60, deadline=None)
def test_what_always_holds(pairs: Pairs) -> None:
    """Bounds, sums, and that labels and groups of texts add up to the whole."""
    result = counted(pairs)
    found = scoring.scores(result)
    right, wrong, missed = result.micro.tolist()

    assert right + missed == sum(len(true) for true, _ in pairs) == found.micro.support
    assert right + wrong == sum(len(given) for _, given in pairs) == found.micro.found
    assert sum(one.support for one in found.labels.values()) == found.micro.support
    assert min(found.micro.precision, found.micro.recall) <= found.micro.f1 + 1e-12
    for score in (found.micro, *found.labels.values()):
        assert 0 <= score.f1_low <= score.f1_high <= 1
        assert score.f1 <= max(score.precision, score.recall) + 1e-12
    # Swapping truth and prediction swaps precision and recall.
    turned = scoring.scores(counted([(given, true) for true, given in pairs])).micro
    assert (turned.precision, turned.recall) == (found.micro.recall, found.micro.precision)
    assert turned.f1 == found.micro.f1
    groups = scoring.by_length(result, [5 * (index % 5) + 1 for index in range(len(pairs))])
    assert sum(one.support for one in groups.values()) == found.micro.support


def test_micro_f1_of_a_hand_made_case() -> None:
    """A wrong label and a wrong end are each one wrong and one missed."""
    true = [{(0, 3, "person"), (9, 15, "city")}, {(0, 5, "person")}]
    found = [{(0, 3, "person"), (9, 15, "person")}, {(0, 4, "person")}]

    result = tally(true, found, ["city", "person"])

    assert result.of("person").tolist() == [1, 2, 1]
    assert result.of("city").tolist() == [0, 0, 1]
    assert scoring.f1(result.micro) == pytest.approx(1 / 3)


def test_nothing_to_find_and_nothing_found_scores_zero_without_error() -> None:
    """Empty counts divide by nothing, also where there is no text or no label."""
    empty = scoring.scores(tally([set()], [set()], ["city"]))

    assert (empty.micro.f1, empty.micro.f1_high, empty.macro_f1) == (0, 0, 0)
    assert scoring.scores(tally([], [], [])).micro.f1 == 0


def test_truth_is_in_characters_of_the_asked_labels() -> None:
    """Words are joined by single spaces; labels not asked for do not count."""
    row = Row(("Dr", "Ada", "Lovelace"), (Span(1, 2, "person"), Span(0, 0, "title")), "x")

    assert scoring.truth(row, ["person"]) == {(3, 15, "person")}


def test_a_threshold_is_compared_as_the_extractor_compares_it() -> None:
    """A score that is the threshold in single precision is not above it."""
    at = float(np.float32(0.7))
    found = [Found(0, 1, "city", at), Found(2, 3, "city", float(np.nextafter(np.float32(at), 1)))]

    assert scoring.given(found, 0.7) == {(2, 3, "city")}


def test_texts_are_grouped_by_their_length() -> None:
    """The upper end belongs to the group; what is longer than all has one of its own."""
    true: list[set[Mention]] = [{(0, 1, "city")}] * 4

    groups = scoring.by_length(tally(true, true, ["city"]), [10, 11, 160, 161])

    assert list(groups) == ["1-10", "11-20", "81-160", "over 160"]
    assert all(one.f1 == 1 for one in groups.values())
