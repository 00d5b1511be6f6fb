"""Real sentences through the served model, and how a terminal shows what it finds."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import Unavailable

PREDICT = "/v1/models/gliner:predict"
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")


@dataclass(frozen=True)
class Sentence:
    """A text to show and the labels to look for in it."""

    text: str
    labels: tuple[str, ...]

    @property
    def payload(self) -> dict[str, Any]:
        """The request's body, in the V1 protocol."""
        return {"instances": [{"text": self.text, "labels": list(self.labels), "threshold": 0.5}]}


SENTENCES = (
    Sentence(
        "Marie Curie moved from Warsaw to Paris in 1891 and shared a Nobel Prize with her husband.",
        ("person", "location", "date", "award"),
    ),
    Sentence(
        "Write to Ana Souza at ana.souza@example.com or call +49 30 5550 1234 before 3 May 2027.",
        ("person", "email", "phone number", "date"),
    ),
    Sentence(
        "🎉 Zoë Müller and 山田太郎 met in São Paulo, where Nestlé sponsored a race for children.",
        ("person", "organization", "location"),
    ),
)


def ask(client: httpx.Client, sentence: Sentence) -> tuple[list[dict[str, Any]], float]:
    """The entities of a sentence and the milliseconds from request to answer."""
    started = time.perf_counter()
    answer = client.post(PREDICT, json=sentence.payload)
    took = (time.perf_counter() - started) * 1000
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(f"the predictor answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()["predictions"][0]["entities"], took


def highlighted(sentence: Sentence, entities: Sequence[dict[str, Any]], coloured: bool) -> Text:
    """The text with its entities in the colour of their label, or in brackets without colour."""
    colour = dict(zip(sentence.labels, COLOURS * len(sentence.labels), strict=False))
    if coloured:
        text = Text(sentence.text)
        for one in entities:
            text.stylize(f"bold {colour.get(one['label'], 'white')}", one["start"], one["end"])
        return text
    # From the end, so that a bracket does not move the offsets still to come.
    marks = [(one["start"], 1, "[") for one in entities] + [
        (one["end"], 0, "]") for one in entities
    ]
    plain = sentence.text
    for at, _, mark in sorted(marks, reverse=True):
        plain = plain[:at] + mark + plain[at:]
    return Text(plain)


def show(
    console: Console, sentence: Sentence, entities: Sequence[dict[str, Any]], ms: float
) -> None:
    """Print a sentence and the table of what was found in it."""
    console.print(highlighted(sentence, entities, console.is_terminal), soft_wrap=True)
    table = Table(box=SIMPLE, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("entity", min_width=24)
    table.add_column("label", min_width=14)
    table.add_column("score", justify="right")
    for one in entities:
        table.add_row(Text(one["text"]), Text(one["label"]), f"{one['score']:.2f}")
    console.print(table if entities else Text("nothing above 0.5", "dim"))
    asked = ", ".join(sentence.labels)
    console.print(Text(f"asked for {asked}; answered in {ms:.0f} ms\n", "dim"), soft_wrap=True)


def curl(base: str) -> str:
    """A command that asks the same as the first sentence."""
    body = json.dumps(SENTENCES[0].payload, ensure_ascii=False)
    return f"curl {base}{PREDICT} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
