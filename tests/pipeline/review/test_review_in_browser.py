"""A reviewer approves with a few clicks in the MLflow UI, in Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import labelled
import pytest
import review_service
import reviewed
from page import steps
from playwright.sync_api import Page, expect, sync_playwright
from reviewed import Launches

from pipeline.registry import Registry, card
from pipeline.review import webhook
from pipeline.settings import Settings
from predictor import bundle, embedded

pytestmark = steps.MARKS
LOADING = 60_000  # milliseconds: MLflow's page is large, and the machine may be busy


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    with review_service.hooked(settings) as changed:
        yield changed


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=steps.CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser.new_page(viewport={"width": 1280, "height": 1600})
        browser.close()


def test_a_reviewer_approves_on_the_page_of_the_version(
    settings: Settings, registry: Registry, page: Page
) -> None:
    """The page says how to decide; the tag is changed there, and the service hears of it."""
    launches = Launches()
    number = reviewed.register(registry, f1=0.81, precision=0.8, recall=0.82)
    found = bundle.locate(str(embedded.path()))
    text = card.write(found, labelled.evaluation(), card.Links())
    registry.client.update_model_version(registry.name, str(number), text)
    reviewed.ask(registry, number)
    app = webhook.app(settings, registry, launches, poll_seconds=3_600)
    with review_service.serving(app) as service:
        webhook.ensure(settings, service.url)

        page.goto(registry.version_url(number))
        expect(page.get_by_text("To decide", exact=True)).to_be_visible(timeout=LOADING)
        row = page.get_by_role("row").filter(has=page.get_by_text("review", exact=True))
        expect(row).to_contain_text("pending")
        row.get_by_test_id("editable-table-button-edit").click()
        row.get_by_test_id("editable-table-edited-input").fill("approved")
        row.get_by_test_id("editable-table-button-save").click()

        expect(row).to_contain_text("approved", timeout=LOADING)
        assert reviewed.eventually(lambda: launches.started)
    assert launches.started == [(number, "review approved in MLflow")]
