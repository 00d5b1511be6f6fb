"""Keyboard, phone, dark mode and screen readers."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from page.steps import MARKS, PREDICT, TEXT, answer_with, ask, entities_in, entity, fill
from playwright.sync_api import Page, expect

SCHEMES = ("light", "dark")

pytestmark = MARKS


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the focus is there, and check that it can be seen."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        if focused.count() and focused.evaluate("(node, css) => node.matches(css)", selector):
            outline = "node => getComputedStyle(node.closest('.chips') ?? node).outlineStyle"
            assert focused.evaluate(outline) != "none", f"no visible focus on {selector}"
            return
    pytest.fail(f"{selector} cannot be reached with the Tab key")


def test_everything_works_from_the_keyboard(page: Page) -> None:
    """From the skip link to the JSON of the answer without a pointer, the focus always visible."""
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the results")).to_be_in_viewport()
    tab_to(page, "#text")
    page.keyboard.insert_text(TEXT)
    tab_to(page, ".chip button")
    page.keyboard.press("Enter")
    tab_to(page, "#label-input")
    page.keyboard.type("city")
    page.keyboard.press("Enter")
    tab_to(page, "#run")
    tab_to(page, "#threshold")
    page.keyboard.press("Home")
    tab_to(page, "#nested")
    page.keyboard.press("Space")
    with page.expect_response(PREDICT) as answer:
        page.keyboard.press("Control+Enter")
    assert entities_in(page, answer.value)

    tab_to(page, "#marked")
    tab_to(page, "#tab-table")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Response")).to_be_focused()
    expect(page.locator("#code")).to_contain_text('"predictions"')
    tab_to(page, "#copy")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_focused()


@pytest.mark.parametrize(
    "screen", [{"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}]
)
def test_a_phone_never_scrolls_sideways(page: Page) -> None:
    """At 360 px, whatever is shown, and with words that cannot be broken."""

    def width() -> int:
        pixels: int = page.evaluate("document.documentElement.scrollWidth")
        return pixels

    assert width() == 360
    long = "Llanfair" * 20
    answer_with(page, [entity(f"In {long}.", long, long)])
    fill(page, f"In {long}.", (long, "person"))
    page.get_by_text("Describe labels").click()
    ask(page)
    expect(page.locator("#marked")).to_be_in_viewport()
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert width() == 360
    page.unroute(PREDICT)
    page.route(PREDICT, lambda route: route.fulfill(status=400, json={"error": long}))
    page.get_by_role("button", name="Find entities").click()
    expect(page.locator("#failure-message")).to_have_text(long)
    assert width() == 360


def test_the_page_follows_the_dark_mode(page: Page) -> None:
    """Light on dark where the system asks for it, dark on light otherwise."""

    def brightness() -> float:
        value: float = page.evaluate(
            "Number(getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0])"
        )
        return value

    page.emulate_media(color_scheme="light")
    assert brightness() > 220
    page.emulate_media(color_scheme="dark")
    assert brightness() < 40


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_label_colour_has_enough_contrast(page: Page, scheme: Any) -> None:
    """WCAG AA, 4.5 to 1, for the names and the text on all twelve grounds, as painted."""
    page.emulate_media(color_scheme=scheme)
    ratios: list[float] = page.evaluate(
        """() => {
            const canvas = document.createElement("canvas");
            const pen = canvas.getContext("2d", { willReadFrequently: true });
            const luminance = (colour) => {
                pen.fillStyle = colour;
                pen.fillRect(0, 0, 1, 1);
                const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map(value =>
                    value / 255 <= 0.04045 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4
                );
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ratio = (one, other) => {
                const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
                return (high + 0.05) / (low + 0.05);
            };
            return Array.from({ length: 12 }, (_, slot) => {
                const mark = document.createElement("mark");
                const tag = document.createElement("span");
                mark.className = `c${slot}`;
                tag.className = `tag c${slot}`;
                mark.append(tag);
                document.getElementById("marked").append(mark);
                const ground = getComputedStyle(mark).backgroundColor;
                return [getComputedStyle(tag).color, getComputedStyle(mark).color]
                    .map(colour => ratio(colour, ground));
            }).flat();
        }"""
    )

    assert len(ratios) == 24
    assert min(ratios) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_passes_the_accessibility_rules(page: Page, scheme: Any) -> None:
    """No violation of WCAG 2.2 A and AA that axe can find: empty, mistake, answer, failure."""
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    check_rules(page)
    page.get_by_role("button", name="Find entities").click()
    check_rules(page)
    text = "The University of California, Berkeley and Ada Lovelace."
    parts = [("University of California, Berkeley", "organization"), ("California", "location")]
    answer_with(page, [entity(text, *part) for part in parts])
    fill(page, text)
    page.get_by_text("Describe labels").click()
    ask(page)
    check_rules(page)
    page.get_by_role("tab", name="curl").click()
    check_rules(page)
    page.locator("#text").press_sequentially("!")
    check_rules(page)
    page.unroute(PREDICT)
    page.route(
        PREDICT, lambda route: route.fulfill(status=429, json={"error": "the queue is full"})
    )
    page.get_by_role("button", name="Find entities").click()
    expect(page.locator("#failure")).to_be_visible()
    check_rules(page)


def check_rules(page: Page) -> None:
    """Fail with axe's report when there is a violation."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(200)  # colours of buttons change over 120 ms
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": rules}})
    assert found.violations_count == 0, found.generate_report()
