"""The labels to find: typed, pasted, described, from a preset."""

from __future__ import annotations

import json
import urllib.request

from page.steps import MARKS, PREDICT, TEXT, Server, ask, fill, instance_in
from playwright.sync_api import Page, expect

pytestmark = MARKS


def test_presets_replace_the_labels(page: Page, server: Server) -> None:
    """Each preset of the server is offered, and picking one sets its labels and no others."""
    with urllib.request.urlopen(f"{server.url}/api/v1/config") as response:
        presets = json.load(response)["presets"]
    for preset in presets.values():
        button = page.locator("#preset-list").get_by_role("button", name=preset["title"])
        button.click()

        expect(page.locator("#label-list li")).to_have_text(list(preset["labels"]))
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(page.locator('#preset-list [aria-pressed="true"]')).to_have_count(1)


def test_labels_are_typed_pasted_refused_and_removed(page: Page) -> None:
    """Enter, comma and a pasted list add, a second one is refused, Backspace and cross remove."""
    fill(page, TEXT, ())
    box = page.locator("#label-input")
    chips = page.locator("#label-list li")
    box.press_sequentially("person,")
    page.evaluate("navigator.clipboard.writeText('city, home town\\nriver')")
    box.press("Control+V")
    expect(chips).to_have_text(["person", "city", "home town", "river"])

    box.fill("city")
    box.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Already there: city")).to_be_visible()
    expect(chips).to_have_count(4)

    box.press("Backspace")
    page.get_by_role("button", name="Remove city").click()
    expect(chips).to_have_text(["person", "home town"])
    expect(page.get_by_role("button", name="Remove home town")).to_be_focused()


def test_a_label_still_being_typed_counts(page: Page) -> None:
    """Asking takes the label that stands in the input but was never entered."""
    fill(page, TEXT, ())
    page.locator("#label-input").fill("person")
    with page.expect_request(PREDICT) as request:
        page.get_by_role("button", name="Find entities").click()

    assert instance_in(request.value)["labels"] == ["person"]


def test_descriptions_are_sent_with_their_labels(page: Page) -> None:
    """One description turns the list of labels into an object."""
    fill(page, TEXT, ("person", "location"))
    page.get_by_text("Describe labels").click()
    page.locator("#description-list").get_by_label("location").fill("cities and countries")
    with page.expect_request(PREDICT) as request:
        ask(page)

    labels = {"person": None, "location": "cities and countries"}
    assert instance_in(request.value)["labels"] == labels
