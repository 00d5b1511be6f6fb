import random

import pytest

from predictor.embedded.sentences import TemplateError, Writer, labelled


def test_every_template_can_be_written() -> None:
    """Each slot has a filler and ends where a word ends."""
    writer = Writer(random.Random(0))

    for template in writer.templates:
        for _ in range(5):
            row = writer.sentence(template)
            assert len(row.spans) == template.count("{")


def test_sentences_repeat_with_the_seed() -> None:
    """The same seed writes the same rows."""
    assert Writer(random.Random(7)).write(50) == Writer(random.Random(7)).write(50)


def test_gibberish_has_no_mentions() -> None:
    """Gibberish is labelled with nothing."""
    writer = Writer(random.Random(1))

    assert all(not labelled(writer.gibberish(), []).spans for _ in range(50))


def test_a_mark_within_a_word_is_refused() -> None:
    """A mention must be whole words as GLiNER splits them."""
    with pytest.raises(TemplateError, match="not whole words"):
        labelled("Apple-backed", [(0, 5, "company")])


def test_an_unknown_slot_is_named() -> None:
    """The error says which slot of which template."""
    with pytest.raises(TemplateError, match=r"'planet' in 'On \{planet\}'"):
        Writer(random.Random(0)).sentence("On {planet}")
