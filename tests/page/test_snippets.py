"""The code to take away does what the page did."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from page.steps import MARKS, TEXT, found
from playwright.sync_api import Page, expect

AWKWARD = "It's 5 o'clock — \"Ada\" $HOME `id` \\n !! %s\n\tMarie Curie moved to Paris 🎉\u2028'"

pytestmark = MARKS


def copied_code(page: Page, tab: str) -> str:
    """What the Copy button of a tab puts into the clipboard."""
    page.get_by_role("tab", name=tab).click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    code: str = page.evaluate("navigator.clipboard.readText()")
    return code


@pytest.mark.parametrize("padding", [0, 70_000], ids=["argument", "here-document"])
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_command_works(page: Page, padding: int) -> None:
    """Pasted into a shell it gets the very entities that the page shows, however long the text."""
    entities = found(page, AWKWARD + "\n" * padding)
    command = copied_code(page, "curl")
    output = subprocess.run(
        ["sh"], input=command, capture_output=True, text=True, check=True, timeout=120
    ).stdout

    assert json.loads(output)["predictions"][0]["entities"] == entities


def test_the_python_program_works(page: Page) -> None:
    """Run as it is, it prints the entities that the page shows."""
    entities = found(page, AWKWARD.replace("Ada", "true null"))
    program = copied_code(page, "Python")
    output = subprocess.run(
        [sys.executable, "-"],
        input=program,
        env={"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    lines = ["\t".join(str(each[key]) for key in ("start", "end", "label")) for each in entities]
    assert [line.rsplit("\t", 1)[0] for line in output.splitlines()] == lines


def test_request_and_response_are_shown_as_sent(page: Page) -> None:
    """Both are the JSON that went over the wire."""
    entities = found(page, TEXT)
    request = json.loads(copied_code(page, "Request"))
    response = json.loads(copied_code(page, "Response"))

    assert request["instances"][0]["text"] == TEXT
    assert response["predictions"][0]["entities"] == entities


def test_copying_works_without_a_clipboard(page: Page) -> None:
    """Over plain HTTP a browser offers none; the page copies in the old way."""
    text = "Not what an earlier test has copied."
    found(page, text)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")

    assert json.loads(copied_code(page, "Request"))["instances"][0]["text"] == text
