"""Chromium, and the page opened in it.

Answers of the server are replaced only where a real one cannot be had on purpose: overload, a lost
connection, thousands of entities, spans that cross.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page.steps import CHROMIUM, Server
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it runs, so does an event loop that others must not meet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def screen() -> dict[str, Any]:
    """How the page is seen; tests override it by parametrizing."""
    return {}


@pytest.fixture
def page(browser: Browser, server: Server, screen: dict[str, Any]) -> Iterator[Page]:
    """The page, loaded. At the end: no script failed, nothing was blocked, no other host asked."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | screen)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    asked: list[str] = []
    troubles: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto(server.url)
    expect(page.locator("#preset-list button").first).to_be_visible()

    yield page

    context.close()
    assert [url for url in asked if not url.startswith((server.url, "data:"))] == []
    # Chromium itself reports each answer of 400 and above there.
    assert [line for line in troubles if not line.startswith("Failed to load resource")] == []
