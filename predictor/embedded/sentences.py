"""Our own labelled sentences, made from templates and word lists, for what corpora lack."""

import random
import re

from pipeline.dataset import WORD, Row, Span
from predictor.embedded.labels import OWN
from predictor.embedded.slots import KINDS, LEXICON, Slots

SLOT = re.compile(r"\{(\w+)\}")
SLOT_KINDS = {
    **KINDS,
    "phone": "phone number",
    "ip": "ip address",
    "card": "credit card number",
    "title": "job title",
    "code": "programming language",
}
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
LOREM = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut "
    "labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris"
).split()


class TemplateError(ValueError):
    """A template's slot is unknown, or does not end where a word ends."""


class Writer:
    """Writes labelled rows; the same seed writes the same rows."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.slots = Slots(rng)
        lines = (LEXICON / "templates.txt").read_text(encoding="utf-8").splitlines()
        self.templates = [line for line in lines if line and not line.startswith("#")]

    def sentence(self, template: str) -> Row:
        """The template with its slots filled and labelled."""
        text, marks = "", []
        for place, part in enumerate(SLOT.split(template)):
            if place % 2:
                try:
                    fill = self.slots.fill(part)
                except KeyError:
                    raise TemplateError(
                        f"no list or maker for slot {part!r} in {template!r}"
                    ) from None
                marks.append((len(text), len(text) + len(fill), SLOT_KINDS.get(part, part)))
                text += fill
            else:
                text += part
        return labelled(text, marks)

    def write(self, count: int) -> list[Row]:
        """About nine in ten from templates, the rest gibberish, each ending in no entity."""
        rows = []
        for _ in range(count):
            if self.rng.random() < 0.08:
                rows.append(labelled(self.gibberish(), []))
            else:
                rows.append(self.sentence(self.rng.choice(self.templates)))
        return rows

    def gibberish(self) -> str:
        """Keyboard runs, lorem ipsum, punctuation, digits, or random letters."""
        rng, count = self.rng, self.rng.randint(1, 9)
        roll = rng.random()
        if roll < 0.25:
            starts = [(rng.choice(KEYS), rng.randint(0, 4)) for _ in range(count)]
            words = [keys[at : at + rng.randint(2, 5)] for keys, at in starts]
        elif roll < 0.45:
            at = rng.randint(0, len(LOREM) - 1)
            words = LOREM[at : at + count] or LOREM[:3]
        elif roll < 0.65:
            words = [rng.choice("!#?.*-+=%&~/") * rng.randint(1, 4) for _ in range(count)]
        elif roll < 0.8:
            words = [str(rng.randint(0, 10 ** rng.randint(1, 9))) for _ in range(rng.randint(1, 4))]
        else:
            letters = "abcdefghijklmnopqrstuvwxyz"
            words = ["".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(count)]
        text = " ".join(words)
        case = rng.random()
        return text.capitalize() if case < 0.2 else text.upper() if case < 0.35 else text


def labelled(text: str, marks: list[tuple[int, int, str]]) -> Row:
    """The text as a row of our own; TemplateError where a mark does not begin and end a word."""
    words = list(WORD.finditer(text))
    starts = {word.start(): index for index, word in enumerate(words)}
    ends = {word.end(): index for index, word in enumerate(words)}
    spans = []
    for start, end, kind in marks:
        if start not in starts or end not in ends:
            raise TemplateError(f"{text[start:end]!r} is not whole words in {text!r}")
        spans.append(Span(starts[start], ends[end], kind))
    return Row(tuple(word.group() for word in words), tuple(spans), OWN)
