"""What Slack is told: one function for each occasion, each a message in Block Kit.

Nothing here reaches a server. Slack's limits hold whatever comes in: long text is cut with an
ellipsis, and ``&``, ``<`` and ``>`` are escaped, so that no reason can mention a channel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slack_sdk.models.blocks import Block

SCORES = ("f1", "precision", "recall")
"""The tags of a version that messages show."""
TITLE_LIMIT = 150
TEXT_LIMIT = 3_000
FIELD_LIMIT = 2_000
_ELLIPSIS = "…"
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_REASON_LIMIT = 2_000
_MOST_CHECKS = 15


@dataclass(frozen=True, slots=True)
class Facts:
    """What every message says about a version.

    Attributes:
        model: the registered model.
        number: the version; None where the run came to none.
        scores: its F1, precision and recall, as far as they were measured.
        against: the version that it is compared with.
        against_scores: that one's scores.
        links: label and address, in order.
    """

    model: str
    number: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    against: int | None = None
    against_scores: Mapping[str, float] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Such as `gliner-ner version 3`."""
        return self.model if self.number is None else f"{self.model} version {self.number}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        kind: its occasion, by which a message that was sent is known.
        text: what notifications and screen readers give.
        blocks: what Slack shows.
    """

    kind: str
    text: str
    blocks: tuple[Block, ...]

    def payload(self) -> dict[str, Any]:
        """The body for Slack's webhook, checked by Slack's own types."""
        return {"text": self.text, "blocks": [block.to_dict() for block in self.blocks]}


def promoted(facts: Facts) -> Message:
    """The version serves."""
    return _message("promoted", ":white_check_mark:", f"{facts.name} serves", facts)


def evaluated(facts: Facts) -> Message:
    """The run ended well and nothing had to move."""
    title = f"{facts.name}: run finished, nothing to roll out"
    return _message("evaluated", ":white_check_mark:", title, facts)


def unseen(facts: Facts) -> Message:
    """The run ended well, and MLflow could not be asked what it came to."""
    title = f"{facts.name}: run finished; MLflow did not answer, so see there"
    return _message("unseen", ":white_check_mark:", title, facts)


def refused(facts: Facts, checks: Iterable[str]) -> Message:
    """The gate, or a reviewer before, said no; each failed check is a line."""
    lines = [line for line in map(_line, checks) if line]
    shown = [f"• {line}" for line in lines[:_MOST_CHECKS]]
    if len(lines) > _MOST_CHECKS:
        shown.append(f"• and {len(lines) - _MOST_CHECKS} more")
    return _message(
        "refused", ":no_entry:", f"{facts.name} was refused", facts, *shown, brief=lines[:1]
    )


def failed(facts: Facts, step: str, reason: str) -> Message:
    """The run ended before it came to a result."""
    where = f" at step {step}" if step else ""
    return _message("failed", ":x:", f"{facts.name}: run failed{where}", facts, reason)


def cancelled(facts: Facts) -> Message:
    """Somebody, or the deadline, stopped the run."""
    return _message("cancelled", ":x:", f"{facts.name}: run was stopped", facts)


def rolled_back(facts: Facts, reason: str, by: str = "") -> Message:
    """The version misbehaved and was taken back, or a person did so."""
    return _message(
        "rolled_back",
        ":rewind:",
        f"{facts.name} was rolled back{f' by {by}' if by else ''}",
        facts,
        f"Reason: {reason or 'none was recorded'}",
    )


def review_asked(facts: Facts, hours: float) -> Message:
    """A person has to decide."""
    return _message(
        "review_asked",
        ":eyes:",
        f"{facts.name} waits for your review",
        facts,
        "Open the version in MLflow. Under *Tags*, below the description, set `review` to "
        "`approved` or `rejected`; for a rejection, say why in `review_reason` first.",
        f"On the command line: `python -m pipeline approve {facts.number}`.",
        f"Nothing moves before a decision; after {_hours(hours)} the review expires.",
        brief=("approve or reject it in MLflow",),
    )


def review_rejected(facts: Facts, reason: str) -> Message:
    """A reviewer said no."""
    return _message(
        "review_rejected",
        ":no_entry:",
        f"{facts.name} was rejected in review",
        facts,
        f"Reason: {reason or 'none was given'}",
    )


def review_expired(facts: Facts, reason: str) -> Message:
    """Nobody decided in time, or a newer version took its place."""
    return _message(
        "review_expired",
        ":hourglass:",
        f"The review of {facts.name} is over without a decision",
        facts,
        reason,
    )


def review_ignored(facts: Facts, reason: str) -> Message:
    """A reviewer's tag has no effect."""
    return _message(
        "review_ignored",
        ":warning:",
        f"The review tag of {facts.name} has no effect",
        facts,
        reason,
    )


def threshold_crossed(facts: Facts, *, limit: float, above: bool, serving: bool) -> Message:
    """F1 fell below its floor or rose above its ceiling."""
    side, kind = ("above", "threshold_above") if above else ("below", "threshold_below")
    who = f"{facts.name}, which serves" if serving else facts.name
    score = facts.scores.get("f1")
    value = "" if score is None else f" ({score:.3f})"
    return _message(
        kind,
        ":chart_with_upwards_trend:" if above else ":chart_with_downwards_trend:",
        f"F1{value} is {side} {limit:g}: {who}",
        facts,
    )


def hello(facts: Facts) -> Message:
    """A person tries whether messages arrive."""
    return _message("hello", ":wave:", f"{facts.name}: messages arrive here", facts)


def scores_of(tags: Mapping[str, str]) -> dict[str, float]:
    """The scores among a version's tags; what is not a number is left out."""
    found = {}
    for name in SCORES:
        try:
            value = float(tags.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(value):
            found[name] = value
    return found


def _message(
    kind: str, emoji: str, title: str, facts: Facts, *lines: str, brief: Iterable[str] | None = None
) -> Message:
    from slack_sdk.models.blocks import HeaderBlock, PlainTextObject, SectionBlock

    header = PlainTextObject(text=_cut(f"{emoji} {_line(title)}", TITLE_LIMIT), emoji=True)
    blocks: list[Block] = [HeaderBlock(text=header)]
    said = [cut for line in lines if (cut := _cut(_line(line), _REASON_LIMIT))]
    if said:
        blocks.append(SectionBlock(text=_markdown(_fit("\n".join(said), TEXT_LIMIT))))
    if fields := _fields(facts):
        blocks.append(SectionBlock(fields=[_markdown(one) for one in fields]))
    if links := _links(facts.links):
        blocks.append(SectionBlock(text=_markdown(links)))
    short = " ".join(_line(line) for line in (lines if brief is None else brief))
    return Message(kind, _cut(f"{_line(title)}{f': {short}' if short else ''}", 300), tuple(blocks))


def _markdown(text: str) -> Any:
    from slack_sdk.models.blocks import MarkdownTextObject

    # Verbatim: Slack turns neither names nor addresses inside a reason into links.
    return MarkdownTextObject(text=text, verbatim=True)


def _fields(facts: Facts) -> list[str]:
    labels = {"f1": "F1", "precision": "Precision", "recall": "Recall"}
    shown = []
    for name, label in labels.items():
        if name not in facts.scores:
            continue
        value = facts.scores[name]
        before = facts.against_scores.get(name)
        change = "" if before is None else f" ({value - before:+.3f})"
        shown.append(f"*{label}*\n{value:.3f}{change}")
    if shown and facts.against is not None and facts.against_scores:
        shown.append(f"*Compared with*\nversion {facts.against}")
    return [_fit(one, FIELD_LIMIT) for one in shown]


def _links(links: Iterable[tuple[str, str]]) -> str:
    shown = ""
    for label, address in links:
        if not address:
            continue
        safe = address
        for mark, code in (("|", "%7C"), ("<", "%3C"), (">", "%3E"), (" ", "%20")):
            safe = safe.replace(mark, code)
        one = f"{' · ' if shown else ''}<{safe.replace('&', '&amp;')}|{label}>"
        # Half a link would be none.
        if _units(shown + one) <= TEXT_LIMIT:
            shown += one
    return shown


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, most: int) -> str:
    """Text escaped for Slack, at most `most` long; an entity is never cut through."""
    pieces = [_ENTITIES.get(character, character) for character in text]
    if _units("".join(pieces)) <= most:
        return "".join(pieces)
    kept, room = [], most - 1
    for piece in pieces:
        room -= _units(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept).rstrip() + _ELLIPSIS


def _fit(text: str, most: int) -> str:
    """Escaped lines without those that do not fit any more."""
    kept: list[str] = []
    for line in text.split("\n"):
        if _units("\n".join([*kept, line])) > most - 2:
            return "\n".join([*kept, _ELLIPSIS])
        kept.append(line)
    return text


def _units(text: str) -> int:
    """Length as a browser counts it, which is never less than any other way to count."""
    return len(text.encode("utf-16-le")) // 2


def _hours(hours: float) -> str:
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"
