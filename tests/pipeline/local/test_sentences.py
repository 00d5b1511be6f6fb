"""Sentences through the served model: what a terminal shows of them."""

from __future__ import annotations

import io
import json
import re
import shlex
from typing import Any

import httpx
import pytest
from rich.console import Console

from pipeline.errors import Unavailable
from pipeline.local import sentences

ADA = {"text": "Ada", "label": "person", "start": 2, "end": 5, "score": 0.914}
LONDON = {"text": "London", "label": "location", "start": 9, "end": 15, "score": 0.5}
SENTENCE = sentences.Sentence("🙂 Ada in London.", ("person", "location"))


def shown(entities: list[dict[str, Any]], **settings: Any) -> str:
    """What `show` prints."""
    out = io.StringIO()
    sentences.show(Console(file=out, width=80, **settings), SENTENCE, entities, 12.3)
    return out.getvalue()


def test_table_lists_entities() -> None:
    """Each entity has a row with its label and its score."""
    output = shown([ADA, LONDON])

    assert re.search(r"^Ada +person +0\.91 *$", output, re.MULTILINE)
    assert re.search(r"^London +location +0\.50 *$", output, re.MULTILINE)
    assert "12 ms" in output


def test_text_without_colour_has_brackets() -> None:
    """Without a terminal, brackets mark the entities at their character offsets."""
    output = shown([ADA, LONDON])

    assert output.splitlines()[0] == "🙂 [Ada] in [London]."
    assert "\x1b[" not in output


def test_nested_entities_have_nested_brackets() -> None:
    """An entity inside another one is marked inside it."""
    outer = ADA | {"start": 2, "end": 15, "text": "Ada in London"}

    text = sentences.highlighted(SENTENCE, [outer, LONDON], coloured=False)

    assert text.plain == "🙂 [Ada in [London]]."


def test_text_on_a_terminal_is_coloured() -> None:
    """On a terminal each label has its own colour and the text is as it was sent."""
    text = sentences.highlighted(SENTENCE, [ADA, LONDON], coloured=True)

    assert text.plain == SENTENCE.text
    assert [(span.start, span.end) for span in text.spans] == [(2, 5), (9, 15)]
    assert len({str(span.style) for span in text.spans}) == 2


def test_text_is_never_read_as_markup() -> None:
    """Square brackets in a text or an entity are shown, not obeyed."""
    entity = ADA | {"text": "[red]Ada[/red]"}

    assert "[red]Ada[/red]" in shown([entity], force_terminal=True)


def test_nothing_found_is_said() -> None:
    """A sentence without entities has no empty table."""
    assert "nothing above 0.5" in shown([])


def test_curl_command_is_what_a_shell_sends() -> None:
    """The command can be copied as it is: one line, the text whole behind quotes."""
    command = sentences.curl("http://localhost:8080")

    words = shlex.split(command)

    assert "\n" not in command
    assert words[1] == "http://localhost:8080/v1/models/gliner:predict"
    assert json.loads(words[-1]) == sentences.SENTENCES[0].payload


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(503, "draining", "answered 503: draining"), (404, "", "answered 404")],
)
def test_refusal_is_quoted(status: int, body: str, message: str) -> None:
    """An answer that is not 200 ends the demo with what the predictor said."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))

    with (
        httpx.Client(transport=transport, base_url="http://test") as client,
        pytest.raises(Unavailable, match=message),
    ):
        sentences.ask(client, SENTENCE)
