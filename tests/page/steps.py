"""What the tests of the page have in common: its steps and what can be read from it."""

from __future__ import annotations

import json
import shutil
from typing import Any, Protocol

import pytest
from playwright.sync_api import Page, Request, Response, expect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MARKS = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
    ),
]
PREDICT = "**/v1/models/*:predict"
TEXT = "Marie Curie was born in Warsaw and moved to Paris, where she studied at the Sorbonne."
LABELS = ("person", "location", "organization")
LOW = 0.0  # any model finds something; how good it is, other tests say

Entity = dict[str, Any]


class Server(Protocol):
    """A predictor process that is ready."""

    url: str


def fill(page: Page, text: str, labels: tuple[str, ...] = LABELS, threshold: float = LOW) -> None:
    """Fill the form and press nothing."""
    if len(text) < 10_000:
        page.locator("#text").fill(text)
    else:  # Chromium's way of typing takes minutes for thousands of lines
        page.locator("#text").evaluate("(box, text) => { box.value = text; }", text)
        page.locator("#text").dispatch_event("input")
    if page.locator("#clear-labels").is_visible():
        page.locator("#clear-labels").click()
    for label in labels:
        page.locator("#label-input").fill(label)
        page.locator("#label-input").press("Enter")
    page.locator("#threshold").fill(str(threshold))


def ask(page: Page) -> list[Entity]:
    """Press the button and return the entities that the server sent."""
    with page.expect_response(PREDICT) as answer:
        page.get_by_role("button", name="Find entities").click()
    return entities_in(page, answer.value)


def entities_in(page: Page, response: Response) -> list[Entity]:
    """The entities in an answer, once the page shows it."""
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")
    entities: list[Entity] = response.json()["predictions"][0]["entities"]
    return entities


def instance_in(request: Request) -> dict[str, Any]:
    """The one text asked about, as sent."""
    body: Any = request.post_data_json
    instance: dict[str, Any] = body["instances"][0]
    return instance


def found(page: Page, text: str, labels: tuple[str, ...] = LABELS) -> list[Entity]:
    """Ask about a text and return the entities that the server sent, at least one."""
    fill(page, text, labels)
    entities = ask(page)
    assert entities, "the model finds nothing here, so this test would show nothing"
    return entities


def marked(page: Page) -> list[str]:
    """What is marked in the text, without the names of labels, in order."""
    marks: list[str] = page.locator("#marked").evaluate(
        """box => [...box.querySelectorAll("mark")].map(mark => {
            const copy = mark.cloneNode(true);
            copy.querySelectorAll(".tag").forEach(tag => tag.remove());
            return copy.textContent;
        })"""
    )
    return marks


def plain_text(page: Page) -> str:
    """The text shown beside the form, without the names of labels."""
    shown: str = page.locator("#marked").evaluate(
        """box => {
            const copy = box.cloneNode(true);
            copy.querySelectorAll(".tag").forEach(tag => tag.remove());
            return copy.textContent;
        }"""
    )
    return shown


def rows(page: Page) -> list[list[str]]:
    """The table, cell by cell."""
    cells: list[list[str]] = page.locator("#rows").evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return cells


def row_of(entity: Entity) -> list[str]:
    """The row that the table should have for an entity."""
    start, end = str(entity["start"]), str(entity["end"])
    return [entity["text"], entity["label"], f"{entity['score']:.3f}", start, end]


def answer_with(page: Page, entities: list[Entity]) -> None:
    """Let the server 'send' these entities."""
    body = json.dumps({"predictions": [{"entities": entities, "words": 9, "windows": 1}]})
    page.route(PREDICT, lambda route: route.fulfill(content_type="application/json", body=body))


def entity(text: str, part: str, label: str) -> Entity:
    """An entity as the server would send it, with the offsets of a part of the text."""
    start = text.index(part)
    return {"text": part, "label": label, "start": start, "end": start + len(part), "score": 0.9}
