"""A server that asks for a key: the page asks its reader, and keeps the key to itself."""

from __future__ import annotations

from collections.abc import Iterator

import keyed_server
import pytest
from keyed_server import KEY
from page.steps import LABELS, MARKS, TEXT, ask, fill
from playwright.sync_api import Browser, expect
from servers import RunningServer

pytestmark = MARKS


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that one caller may ask."""
    with keyed_server.running(tmp_path_factory.mktemp("keyed")) as server:
        yield server


def test_a_reader_gives_the_key_once(browser: Browser, keyed: RunningServer) -> None:
    """It is asked for where it is needed, hidden while it is typed, sent, and never shown."""
    page = browser.new_page()
    page.goto(keyed.url)
    expect(page.locator("#failure-title")).to_have_text("An API key is needed")
    page.get_by_label("API key").fill("another")
    page.get_by_label("API key").press("Enter")
    expect(page.locator("#failure-title")).to_have_text("An API key is needed")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#preset-list button").first).to_be_visible()
    expect(page.get_by_label("API key")).to_be_hidden()
    fill(page, TEXT, LABELS)

    assert ask(page)
    assert page.locator("#key").get_attribute("type") == "password"
    page.locator("#tab-curl").click()
    expect(page.locator("#code")).to_contain_text("X-API-Key: $GLINER_API_KEY")
    page.locator("#tab-python").click()
    expect(page.locator("#code")).to_contain_text('os.environ["GLINER_API_KEY"]')
    assert KEY not in page.content()
    page.close()


def test_a_key_that_no_header_can_hold_is_said_to_be_wrong(
    browser: Browser, keyed: RunningServer
) -> None:
    """The reader typed something else by mistake: the page stays where it was."""
    page = browser.new_page()
    page.goto(keyed.url)
    page.get_by_label("API key").fill("schlüssel→日本")
    page.get_by_role("button", name="Try again").click()

    expect(page.locator("#failure-title")).to_have_text("An API key is needed")
    expect(page.get_by_label("API key")).to_be_visible()
    page.close()
