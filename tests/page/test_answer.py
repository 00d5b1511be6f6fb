"""The answer: marks, legend and table show what the server sent, as text."""

from __future__ import annotations

import re
import time

import pytest
from page.steps import (
    LABELS,
    MARKS,
    PREDICT,
    TEXT,
    answer_with,
    ask,
    entities_in,
    entity,
    fill,
    found,
    marked,
    plain_text,
    row_of,
    rows,
)
from playwright.sync_api import Page, expect

HOSTILE = (
    '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2">'
    "<style>body{display:none}</style></textarea></mark>&lt;b&gt; "
)

pytestmark = MARKS


def test_entities_are_marked_listed_and_counted(page: Page) -> None:
    """Marks, table and legend show just what the server sent."""
    entities = found(page, TEXT)

    assert [entity["text"] for entity in entities] == marked(page)
    assert [row_of(entity) for entity in entities] == rows(page)
    assert plain_text(page) == TEXT
    for label in LABELS:
        count = sum(entity["label"] == label for entity in entities)
        expect(page.locator("#legend li").filter(has_text=label)).to_have_text(f"{label} {count}")
    expect(page.locator("#status")).to_contain_text(re.compile(r"words? in 1 window · [\d,]+ ms"))


@pytest.mark.parametrize(
    "before", ["🎉 ", "👩‍🔬🇧🇷 ", "é\u0301 ", "\U0001d4b3 مرحبا ", "東京 ", "\u2028\n\n "]
)
def test_offsets_hold_after_any_character(page: Page, before: str) -> None:
    """The server counts code points and JavaScript UTF-16 units; the right words are marked."""
    entities = found(page, before + TEXT + " 🎉")

    assert [entity["text"] for entity in entities] == marked(page)
    assert plain_text(page) == before + TEXT + " 🎉"


def test_nested_crossing_and_shared_spans_are_readable(page: Page) -> None:
    """Marks stand inside marks, each with its name; a span that crosses another is continued."""
    text = "🎉 The University of California, Berkeley and Bank of New York City Hall."
    university, bank = "University of California, Berkeley", "Bank of New York"
    parts = [(university, "a"), ("California", "b"), ("Berkeley", "b"), (bank, "a")]
    answer = [entity(text, *part) for part in parts]
    answer += [entity(text, bank, "b"), entity(text, "New York City", "b")]
    answer_with(page, answer)
    fill(page, text, ("a", "b"))
    ask(page)

    assert marked(page) == [university, "California", "Berkeley", bank, "New York", " City"]
    assert plain_text(page) == text
    assert page.locator("mark.outer").count() == 2
    assert page.locator("mark mark").count() == 3
    expect(page.locator("mark").nth(3).locator("> .tag")).to_have_text(["a", "b"])
    expect(page.locator("mark > .tag")).to_have_text(["b", "b", "a", "a", "b", "b"])


def test_every_example_gives_an_answer(page: Page) -> None:
    """Each example fills the form and is answered by the real model."""
    for button in page.locator("#example-list button").all():
        with page.expect_response(PREDICT) as answer:
            button.click()
        entities = entities_in(page, answer.value)

        assert answer.value.ok
        expect(page.locator("#rows tr")).to_have_count(len(entities))
    expect(page.locator("#status")).to_contain_text(re.compile(r"in [2-9] windows"))  # the long one


def test_the_table_is_sorted_by_column(page: Page) -> None:
    """A column's heading sorts by it, and the other way round when pressed again."""
    scores = [entity["score"] for entity in found(page, TEXT)]
    head = page.get_by_role("columnheader", name="Score")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    down = [row[2] for row in rows(page)]
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")

    assert down == [f"{score:.3f}" for score in sorted(scores, reverse=True)]
    assert [row[2] for row in rows(page)] == [f"{score:.3f}" for score in sorted(scores)]


def test_a_row_leads_to_its_place_in_the_text(page: Page) -> None:
    """Pressing an entity in the table moves the focus to its mark."""
    entities = found(page, TEXT)
    page.locator("#rows button").last.click()

    expect(page.locator("mark").last).to_be_focused()
    expect(page.locator("mark").last).to_contain_text(entities[-1]["text"])


def test_text_and_labels_never_become_markup(page: Page) -> None:
    """Markup in the text and in labels is shown as it was typed, and nothing in it runs."""
    text = HOSTILE + TEXT
    label = "<img src=x onerror='window.hacked = 3'>"
    answer_with(page, [entity(text, HOSTILE.strip(), label)])
    fill(page, text, (label, "__proto__"))
    page.get_by_text("Describe labels").click()
    ask(page)
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(page.locator("#panel-code, #panel-table").locator("visible=true")).to_have_count(1)

    assert plain_text(page) == text
    assert rows(page)[0][:2] == [HOSTILE.strip(), label]
    assert page.locator("main :is(img, script, style)").count() == 0
    assert page.evaluate("window.hacked") is None
    expect(page.locator("#label-list li")).to_have_text([label, "__proto__"])


def test_hostile_text_goes_through_the_real_server(page: Page) -> None:
    """The same with the server's own answer."""
    entities = found(page, HOSTILE + TEXT)

    assert [entity["text"] for entity in entities] == marked(page)
    assert plain_text(page) == HOSTILE + TEXT
    assert page.evaluate("window.hacked") is None


def test_thousands_of_entities_do_not_freeze_the_page(page: Page) -> None:
    """A part is shown at once, and everything on demand; the page keeps answering."""
    text = "🎉 Ada Lovelace of London, " * 5_000
    names = [match.start() for match in re.finditer("Ada Lovelace", text)]
    answer_with(
        page,
        [
            {"text": "Ada Lovelace", "label": "person", "start": at, "end": at + 12, "score": 0.9}
            for at in names
        ],
    )
    fill(page, text, ("person",))
    began = time.monotonic()
    ask(page)
    expect(page.locator("#rows tr")).to_have_count(500)
    took = time.monotonic() - began

    assert took < 5
    assert len(plain_text(page)) < 30_000
    page.get_by_role("button", name="Show all 5,000 rows").click()
    expect(page.locator("#rows tr")).to_have_count(5_000)
    expect(page.locator("#rows button").nth(500)).to_be_focused()
    page.get_by_role("button", name=re.compile("Show all .* characters")).click()
    assert plain_text(page) == text
    assert set(marked(page)) == {"Ada Lovelace"}
