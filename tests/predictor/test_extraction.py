"""Windows, options and offsets, on a model whose answers are known."""

from __future__ import annotations

import fakes
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor import windows
from predictor.engines import Limits
from predictor.errors import InvalidRequest
from predictor.extraction import Extractor, Label, Query


def query(text: str, *labels: str, threshold: float = 0.5, **options: bool) -> Query:
    return Query(
        text,
        tuple(Label(name, name, threshold) for name in labels or ("name", "number")),
        flat_ner=options.get("flat_ner", True),
        multi_label=options.get("multi_label", False),
    )


@pytest.fixture
def engine() -> fakes.FakeEngine:
    return fakes.FakeEngine(fakes.names_and_numbers)


@pytest.fixture
def extractor(engine: fakes.FakeEngine) -> Extractor:
    return Extractor(engine, window_overlap=6, batch_size=4)


def found(extractor: Extractor, text: str, *labels: str, **options: bool) -> list[str]:
    [result] = extractor.extract([query(text, *labels, **options)])
    return [entity.text for entity in result.entities]


def test_offsets_after_emoji(extractor: Extractor) -> None:
    """Offsets count characters, not bytes."""
    [result] = extractor.extract([query("🙂🙂 Ada")])

    assert [(one.start, one.end) for one in result.entities] == [(3, 6)]


@pytest.mark.parametrize("text", ["", " \n\t ", "\x01\x02", "\u200b\x00"])
def test_nothing_to_read(extractor: Extractor, engine: fakes.FakeEngine, text: str) -> None:
    """A text without words has no entities and never meets the model."""
    [result] = extractor.extract([query(text)])

    assert (result.entities, result.words, result.windows) == ((), 0, 0)
    assert engine.seen == []


def test_words_that_tokenizers_drop_do_not_shift_the_others(extractor: Extractor) -> None:
    """A control character is a word to the splitter and nothing to the tokenizer."""
    text = "\x01 so \x02\x02 said Ada \x03 Lovelace"

    assert found(extractor, text) == ["Ada \x03 Lovelace"]


def test_long_text_counts_words_and_windows(extractor: Extractor, engine: fakes.FakeEngine) -> None:
    """A text over the model's limit is read in windows that overlap and cover it."""
    words = [f"w{index}" for index in range(50)]

    [result] = extractor.extract([query(" ".join(words))])

    windows = [window.words for batch in engine.seen for window in batch]
    assert (result.words, result.windows) == (50, len(windows)) == (50, 4)
    assert max(map(len, windows)) == engine.limits.words
    assert {word for window in windows for word in window} == set(words)


@pytest.mark.parametrize("before", range(40))
def test_entity_at_every_place_is_found_once(extractor: Extractor, before: int) -> None:
    """Wherever an entity lies, across a boundary too, it is found whole and once."""
    text = " ".join(["and"] * before + ["Ada", "King", "Lovelace"] + ["so"] * (45 - before))

    assert found(extractor, text) == ["Ada King Lovelace"]


def test_score_comes_from_the_window_with_most_context() -> None:
    """Of two windows that hold a span, the one in whose middle it lies more decides."""

    def by_context(span: tuple[str, ...], prompt: str) -> float:
        return 0.9 if span == ("x",) else 0.0

    engine = fakes.FakeEngine(by_context)
    extractor = Extractor(engine, window_overlap=6)
    # Windows are words 0 to 20 and 14 to 34: word 14 is at the second one's edge.
    text = " ".join(["x" if index in (14, 19) else "y" for index in range(30)])

    [result] = extractor.extract([query(text)])

    assert [one.start for one in result.entities] == [28, 38]


def test_word_longer_than_a_window_is_read_in_pieces(extractor: Extractor) -> None:
    """A text without spaces is one word to the splitter, and still not cut off."""
    text = "Ab" * 2000 + " Ada"

    [result] = extractor.extract([query(text)])

    assert result.windows > 1
    assert result.entities[-1].text.endswith("Ada")
    assert all(text[one.start : one.end] == one.text for one in result.entities)


def test_threshold_by_label(extractor: Extractor) -> None:
    """Each label has its own bar, which a score must be above."""
    labels = (Label("name", "name", 0.75), Label("number", "number", 0.95))

    [result] = extractor.extract(
        [Query("Ada King met 7", labels, flat_ner=True, multi_label=False)]
    )

    assert [(one.text, one.label) for one in result.entities] == [("Ada King", "name")]


def test_nested(extractor: Extractor) -> None:
    """With flat_ner off, entities inside entities are kept."""
    assert found(extractor, "Ada King", flat_ner=False) == ["Ada King", "Ada", "King"]


def test_several_labels_for_a_span() -> None:
    """With multi_label on, one span carries each label it scores for."""
    extractor = Extractor(fakes.FakeEngine(lambda span, prompt: 0.8 if span == ("Ada",) else 0.0))

    [one] = extractor.extract([query("Ada", "name", "pioneer")])
    [both] = extractor.extract([query("Ada", "name", "pioneer", multi_label=True)])

    assert [entity.label for entity in one.entities] == ["name"]
    assert [entity.label for entity in both.entities] == ["name", "pioneer"]


def test_descriptions_are_prompts_and_names_are_answers(extractor: Extractor) -> None:
    """The model reads the description, the answer says the name."""
    labels = (Label("who", "name", 0.5),)

    [result] = extractor.extract([Query("Ada", labels, flat_ner=True, multi_label=False)])

    assert [one.label for one in result.entities] == ["who"]


def test_texts_keep_their_own_options_and_order(extractor: Extractor) -> None:
    """A batch mixes lengths, labels and options, and answers in the order asked."""
    long = " ".join(["word"] * 60)
    queries = [query(f"{long} Ada"), query("7 of 9", "number"), query(""), query("Bo", "name")]

    together = extractor.extract(queries)

    assert together == [extractor.extract([one])[0] for one in queries]
    assert [len(one.entities) for one in together] == [1, 2, 0, 1]


def test_equal_scores_do_not_depend_on_batches() -> None:
    """Which of two equal spans is kept is the same whatever order windows come back in."""
    text = " ".join(["Ada"] * 50)
    results = []
    for size in (1, 2, 8):
        engine = fakes.FakeEngine(lambda span, prompt: 0.75)
        results.append(Extractor(engine, window_overlap=6, batch_size=size).extract([query(text)]))
    reading = next(Extractor(engine, window_overlap=6).read([query(text)]))
    for row in reversed(list(reading.rows)):
        row.collect(engine.score([row.window])[0])

    assert results == [[reading.result()]] * 3


def test_texts_are_read_when_they_are_asked_for(
    extractor: Extractor, engine: fakes.FakeEngine
) -> None:
    """Reading a request can stop between its texts, and meets the model not at all."""
    many = tuple(str(number) for number in range(200))
    texts = extractor.read([query("Ada " * 30), query("Ada", *many)])

    first = next(texts)

    assert [len(row.window.words) for row in first.rows] == [20, 16]
    with pytest.raises(InvalidRequest, match=r"^instance 1: labels: 200 labels take"):
        next(texts)
    assert engine.seen == []


@pytest.mark.parametrize(("words", "labels"), [(5, 2), (19, 20), (400, 2), (3000, 50)])
def test_estimate(extractor: Extractor, words: int, labels: int) -> None:
    """Work is known roughly before a text is read."""
    asked = query("some words " * (words // 2), *(f"label {n}" for n in range(labels)))
    [reading] = extractor.read([asked])

    positions = sum(row.positions for row in reading.rows)

    assert positions / 8 < extractor.estimate([asked]) < positions * 8


def test_forward_passes_are_bounded(engine: fakes.FakeEngine) -> None:
    """Neither rows nor padded positions in one pass go over their limits."""
    extractor = Extractor(engine, window_overlap=6, batch_size=4, batch_positions=60)
    queries = [query("word " * size) for size in (18, 2, 2, 2, 2, 2, 2, 19)]

    extractor.extract(queries)

    rows = [len(batch) for batch in engine.seen]
    padded = [len(batch) * max(6 + len(one.words) for one in batch) for batch in engine.seen]
    assert sum(rows) == len(queries)
    assert max(rows) == 4
    assert max(padded) <= 60


def test_too_many_candidates_are_refused_by_index() -> None:
    """A threshold that keeps everything is refused before it costs the memory."""
    engine = fakes.FakeEngine(lambda span, prompt: 0.5)
    extractor = Extractor(engine, max_candidates=100)

    with pytest.raises(InvalidRequest, match=r"^instance 1: threshold: more than 100 spans"):
        extractor.extract([query("a"), query("a " * 200, threshold=0.0)])


def test_too_many_candidates_in_all_are_refused() -> None:
    """Many texts that keep everything cost as much as one: what they hold is counted together."""
    engine = fakes.FakeEngine(lambda span, prompt: 0.5)
    extractor = Extractor(engine, max_candidates=100)

    with pytest.raises(InvalidRequest, match=r"^threshold: more than 100 spans of all texts"):
        extractor.extract([query("a a a a a", threshold=0.0) for _ in range(5)])

    for _ in range(5):  # what one request holds is not the next one's
        assert extractor.extract([query("a a a a a", threshold=0.0)])


def test_labels_that_leave_no_room_are_refused() -> None:
    """Labels share the model's positions with the text."""
    engine = fakes.FakeEngine(fakes.names_and_numbers, Limits(words=20, width=3, positions=100))
    extractor = Extractor(engine)

    with pytest.raises(InvalidRequest, match="labels take 42 of the model's 100 positions"):
        extractor.extract([query("Ada", *(f"label {index}" for index in range(20)))])


texts = st.text(
    st.one_of(
        st.sampled_from("aA1 \n\t.-_"),
        st.sampled_from("🙂👩🏽‍🚀🇩🇪é"),
        st.sampled_from("\u0301\u0308\u200d\u200b\ufeff\u202e"),
        st.sampled_from("שלוםمرحبا"),
        st.sampled_from("東京都日本한국"),
        st.characters(categories=["Cc", "Cf", "Zs", "Lu", "Nd", "So", "Mn"]),
    ),
    max_size=300,
)


@pytest.mark.parametrize("text", ["word " * 5_000, "." * 5_000, "東" * 5_000, "\u200d" * 5_000])
def test_a_long_text_is_read_in_parts(engine: fakes.FakeEngine, text: str) -> None:
    """Whoever reads may stop again and again, and each word is read as if it stood alone."""
    parts = list(Extractor(engine).read_in_parts([query(text)]))

    [reading] = [one for one in parts if one]
    words = reading.words
    assert len(parts) > 4 or text[0] == "東"
    assert all(
        text[start:end] == token
        for token, start, end in zip(words.tokens, words.starts, words.ends, strict=True)
    )
    assert "".join(words.tokens) == text.replace(" ", "").replace("\u200d", "")


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=80),
    st.integers(1, 30),
    st.integers(0, 20),
)
def test_each_window_sees_more_of_the_text(counts: list[int], longest: int, overlap: int) -> None:
    """No window holds only what the one before it has seen, and each word is in one."""
    pieces = windows.cut(counts, len(counts), longest, overlap, 64)

    ends = [one.end for one in pieces]
    assert ends == sorted(set(ends))
    assert all(one.positions <= 64 for one in pieces)
    assert {at for one in pieces for at in range(one.start, one.end)} == set(range(len(counts)))


@given(texts)
def test_offsets_of_any_text(text: str) -> None:
    """text[start:end] is the entity, whatever the script, marks and controls."""
    extractor = Extractor(
        fakes.FakeEngine(lambda span, prompt: 0.9 if len(span) < 3 else 0.1), window_overlap=6
    )

    [result] = extractor.extract([query(text, flat_ner=False)])

    assert all(text[one.start : one.end] == one.text for one in result.entities)
    assert all(one.text.strip() == one.text for one in result.entities)
    # Every printable word is in some entity: nothing was cut.
    covered = {at for one in result.entities for at in range(one.start, one.end)}
    missed = [at for at, letter in enumerate(text) if at not in covered]
    assert not any(text[at].isprintable() and not text[at].isspace() for at in missed)
