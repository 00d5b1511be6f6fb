"""Swagger and ReDoc in real Chromium: they show every endpoint and ask no other host."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from servers import RunningServer

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
HOST = "gliner.example"
"""Swagger leaves some of its requests to others out on localhost."""
ENDPOINTS = (
    "/v1/models/{model_name}:predict",
    "/v2/models/{model_name}/infer",
    "/predict",
    "/api/v1/predict",
    "/v2/models/{model_name}/ready",
    "/v2/health/live",
    "/metrics",
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.skipif(
        CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, once for this module."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def address(server: RunningServer) -> str:
    """The server under a name that is not localhost."""
    return server.url.replace("127.0.0.1", HOST)


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page. At the end: no script failed, nothing was blocked, no other host was asked."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    troubles: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )

    yield page

    page.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
    assert troubles == []


def test_swagger(page: Page, address: str) -> None:
    """Swagger lists our endpoints and sends a request that is answered."""
    page.goto(f"{address}/api/docs")

    for endpoint in ENDPOINTS:
        expect(page.locator(f'.opblock-summary-path[data-path="{endpoint}"]')).to_have_count(1)
    block = page.locator("#operations-web-api_predict_api_v1_predict_post")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    block.get_by_role("button", name="Execute").click()
    status = block.locator(".live-responses-table tbody .response-col_status").first
    expect(status).to_have_text(re.compile("200"), timeout=20_000)


def test_redoc(page: Page, address: str) -> None:
    """ReDoc shows our endpoints."""
    page.goto(f"{address}/api/redoc")

    expect(page.get_by_role("heading", name="gliner-kserve")).to_be_visible(timeout=20_000)
    for endpoint in ENDPOINTS:
        expect(page.get_by_text(endpoint, exact=True).first).to_be_attached()
