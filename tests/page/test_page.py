"""Asking: what is sent, what is said while waiting, and what when it goes wrong."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from page.steps import (
    MARKS,
    PREDICT,
    TEXT,
    Server,
    ask,
    entities_in,
    fill,
    found,
    instance_in,
    marked,
    rows,
)
from playwright.sync_api import Browser, Page, Route, expect

pytestmark = MARKS


def test_the_slider_asks_again(page: Page) -> None:
    """Moving the threshold sends one request, once it rests, and shows the answer to that one."""
    found(page, TEXT)
    sent: list[Any] = []
    page.on("request", lambda request: sent.append(instance_in(request)["threshold"]))
    slider = page.get_by_label("Threshold")
    slider.fill("0.7")
    with page.expect_response(PREDICT) as answer:
        slider.fill("0.8")
    entities = entities_in(page, answer.value)

    expect(page.locator("#threshold-value")).to_have_text("0.80")
    expect(page.locator("#rows tr")).to_have_count(len(entities))
    assert sent == [0.8]
    assert all(float(row[2]) >= 0.8 for row in rows(page))


def test_options_are_sent(page: Page) -> None:
    """The two boxes turn into flat_ner and multi_label."""
    fill(page, TEXT)
    page.get_by_label("Nested entities").check()
    page.get_by_label("Several labels").check()
    with page.expect_request(PREDICT) as request:
        ask(page)

    instance = instance_in(request.value)
    assert (instance["flat_ner"], instance["multi_label"]) == (False, True)


def test_a_changed_form_marks_the_answer_as_old(page: Page) -> None:
    """The answer stays, and the page says that it belongs to another question."""
    found(page, TEXT)
    page.locator("#text").press_sequentially("!")
    expect(page.locator("#status")).to_have_text("The form has changed since this answer.")

    page.locator("#text").press("Backspace")
    expect(page.locator("#status")).to_contain_text("ms")


def test_the_policy_forbids_everything_else(page: Page, server: Server) -> None:
    """Inline scripts and other hosts are refused by the browser itself."""
    request = urllib.request.Request(server.url, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request) as response:
        policy = response.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_missing_text_and_labels_are_said_before_asking(page: Page) -> None:
    """Nothing is sent; the field in question is named, marked and has the focus."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.get_by_role("button", name="Find entities").click()
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#text")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#text-error")).to_have_text("Type a text first.")

    fill(page, TEXT, ())
    page.get_by_role("button", name="Find entities").click()
    expect(page.locator("#label-input")).to_be_focused()
    expect(page.locator("#label-input-error")).to_have_text("Add at least one label.")
    assert sent == []


def test_a_refusal_of_the_server_is_shown(page: Page) -> None:
    """A real 400: the server's own message, the status and the request id."""
    page.route(
        PREDICT,
        lambda route: route.continue_(post_data='{"instances": [{"text": "a", "labels": [""]}]}'),
    )
    fill(page, TEXT)
    with page.expect_response(PREDICT) as answer:
        page.get_by_role("button", name="Find entities").click()

    assert answer.value.status == 400
    expect(page.locator("#failure-title")).to_have_text("The server refused this request")
    expect(page.locator("#failure-message")).to_have_text(answer.value.json()["error"])
    request_id = answer.value.headers["x-request-id"]
    expect(page.locator("#failure-facts")).to_have_text(f"HTTP 400 · request {request_id}")


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (413, "The request is too large"),
        (429, "Too many requests at the moment"),
        (500, "The server failed"),
        (503, "The server is not ready"),
        (504, "The answer took too long"),
    ],
)
def test_overload_is_explained_and_can_be_retried(page: Page, status: int, title: str) -> None:
    """Each status has a sentence of its own, with the time to wait; then it works again."""
    headers = {"retry-after": "3", "x-request-id": "abc"}
    body = '{"error": "<b>queue</b> is full"}'
    page.route(
        PREDICT,
        lambda route: route.fulfill(
            status=status, headers=headers, content_type="application/json", body=body
        ),
    )
    fill(page, TEXT)
    page.get_by_role("button", name="Find entities").click()
    expect(page.get_by_role("alert").filter(has_text=title)).to_be_visible()
    expect(page.locator("#failure-message")).to_have_text("<b>queue</b> is full")
    expect(page.locator("#failure-advice")).to_have_text("Try again in 3 seconds.")

    page.unroute(PREDICT)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer")).to_be_visible()
    expect(page.locator("#failure")).to_be_hidden()


def test_an_answer_that_is_not_json_is_a_failure(page: Page) -> None:
    """A proxy's page in HTML is neither shown nor believed."""
    page.route(PREDICT, lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    fill(page, TEXT)
    page.get_by_role("button", name="Find entities").click()

    expect(page.locator("#failure-title")).to_have_text("The server failed")
    expect(page.locator("#failure-facts")).to_have_text("HTTP 502")


def test_a_lost_connection_is_explained(page: Page) -> None:
    """No status to show, but a sentence and a way on."""
    page.route(PREDICT, lambda route: route.abort())
    fill(page, TEXT)
    page.get_by_role("button", name="Find entities").click()

    expect(page.locator("#failure-title")).to_have_text("The server cannot be reached")


def test_settings_that_do_not_load_can_be_asked_for_again(browser: Browser, server: Server) -> None:
    """Opened while the server starts, the page recovers by one button."""
    page = browser.new_page()
    page.route("**/api/v1/config", lambda route: route.fulfill(status=503))
    page.goto(server.url)
    expect(page.locator("#failure-title")).to_have_text("The server is not ready")
    page.unroute("**/api/v1/config")
    page.get_by_role("button", name="Try again").click()

    expect(page.locator("#empty")).to_be_visible()
    page.close()


def test_a_request_can_be_cancelled(page: Page) -> None:
    """While waiting the page says so; Cancel ends it and gives the focus back."""
    page.route(PREDICT, lambda route: None)
    fill(page, TEXT)
    page.get_by_role("button", name="Find entities").click()
    expect(page.locator("#status")).to_have_text("Looking for entities…")
    expect(page.locator("#results")).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Cancel").press("Enter")

    expect(page.locator("#status")).to_have_text("Cancelled.")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(page.get_by_role("button", name="Find entities")).to_be_focused()


def test_only_the_latest_question_is_answered(page: Page) -> None:
    """An answer that comes late, for a question asked before, is dropped."""
    held: list[Route] = []
    page.route(PREDICT, lambda route: held.append(route), times=1)
    fill(page, TEXT)
    page.get_by_role("button", name="Find entities").click()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    entities = found(page, "Ada Lovelace lived in London.", ("person", "location"))
    body = '{"predictions": [{"entities": [], "words": 1, "windows": 1}]}'
    held[0].fulfill(content_type="application/json", body=body)
    page.wait_for_timeout(200)

    assert [entity["text"] for entity in entities] == marked(page)
