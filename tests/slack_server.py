"""A local Slack: takes incoming webhooks and holds them to Slack's documented limits.

The limits are written down from https://docs.slack.dev/reference/block-kit and know nothing of
slack_sdk, which has its own.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import http_server

SECRET = "T0SECRET0/B0SECRET0/hushhushhush"
PATH = f"/services/{SECRET}"
_BARE_AMPERSAND = re.compile(r"&(?!amp;|lt;|gt;)")
_LINK = re.compile(r"<https?://[^|<>\s]+\|[^|<>]+>")
_ATTACHMENT = {"fallback", "color", "pretext", "title", "title_link", "text", "footer", "mrkdwn_in"}
_COLORS = re.compile(r"good|warning|danger|#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Trouble:
    """How one request fails instead of being taken: a status, `hang` or `close`."""

    how: int | str
    headers: tuple[tuple[str, str], ...] = ()
    body: str = "rate_limited"


@dataclass
class Slack:
    """What arrived, and what is to go wrong next.

    Attributes:
        taken: payloads of messages that were posted.
        asked_at: monotonic time of every request.
        troubles: one is used up by each request.
        wrong: what Slack would have refused, in words.
    """

    url: str = ""
    taken: list[dict[str, Any]] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def titles(self) -> list[str]:
        """The header of each message that was posted."""
        return [
            str(
                one["blocks"][0]["text"]["text"]
                if "blocks" in one
                else one["attachments"][0]["title"]
            )
            for one in self.taken
        ]

    def shown(self, which: int = -1) -> str:
        """All that a message shows, as one text."""
        blocks = self.taken[which].get("blocks", [])
        texts = [block["text"]["text"] for block in blocks if "text" in block]
        texts += [one["text"] for block in blocks for one in block.get("fields", [])]
        for one in self.taken[which].get("attachments", []):
            texts += [one[key] for key in ("pretext", "title", "text") if one.get(key)]
        return "\n".join(texts)


@contextmanager
def running() -> Iterator[Slack]:
    """Run it. At the end, nothing that arrived was against a limit."""
    slack = Slack()

    class Handler(http_server.Handler):
        def serve(self) -> None:
            slack.asked_at.append(time.monotonic())
            body = self.body()
            trouble = slack.troubles.pop(0) if slack.troubles else None
            if trouble is None:
                self._take(body)
            elif trouble.how == "hang":
                slack.stopping.wait(30)
            elif isinstance(trouble.how, int):
                self.send(trouble.how, trouble.body, dict(trouble.headers))
            self.close_connection = True

        def _take(self, body: bytes) -> None:
            if (self.command, self.path) != ("POST", PATH):
                self.send(404, "no_team")
                return
            payload = json.loads(body)
            if wrong := problems(payload):
                slack.wrong += wrong
                self.send(400, "invalid_blocks")
                return
            slack.taken.append(payload)
            self.send(200, "ok")

    with http_server.serving(Handler) as base:
        slack.url = f"{base}{PATH}"
        try:
            yield slack
        finally:
            slack.stopping.set()
    assert slack.wrong == []


def problems(payload: Any) -> list[str]:
    """What Slack would not take, or show otherwise than meant."""
    if "attachments" in payload:
        return _attachments(payload)
    found = [f"unknown key {key}" for key in payload.keys() - {"text", "blocks"}]
    if not 0 < len(payload.get("text", "")) <= 4_000:
        found.append("text: 1 to 4000 characters")
    found += _marks("text", payload.get("text", ""))
    blocks = payload.get("blocks", [])
    if not 0 < len(blocks) <= 50:
        found.append("blocks: 1 to 50")
    for block in blocks:
        found += _block(block)
    return found


def _attachments(payload: dict[str, Any]) -> list[str]:
    """The older form, which Alertmanager writes: what is merely empty is no mistake."""
    found = [f"unknown key {key}" for key in payload.keys() - {"attachments"}]
    if not 0 < len(payload["attachments"]) <= 100:
        found.append("attachments: 1 to 100")
    for one in payload["attachments"]:
        found += [f"attachment: key {key}" for key in one.keys() - _ATTACHMENT if one[key]]
        if not (one.get("text") and one.get("fallback") and one.get("title")):
            found.append("attachment: fallback, title and text")
        if not _COLORS.fullmatch(one.get("color", "good")):
            found.append(f"attachment: color {one['color']}")
        found += _marks("pretext", one.get("pretext", "").removeprefix("<!here>"))
        for key in ("title", "text", "fallback"):
            found += _marks(key, one.get(key, ""))
    return found


def _block(block: dict[str, Any]) -> list[str]:
    kind = block.get("type")
    if kind == "header":
        if block["text"]["type"] != "plain_text":
            return ["header: plain_text"]
        return _text("header", block["text"], 150)
    if kind != "section":
        return [f"block of type {kind}"]
    fields = block.get("fields", [])
    found = [] if len(fields) <= 10 else ["fields: at most 10"]
    for one in fields:
        found += _text("field", one, 2_000)
    if "text" in block:
        found += _text("section", block["text"], 3_000)
    elif not fields:
        found.append("section: text or fields")
    return found


def _text(where: str, text: dict[str, Any], most: int) -> list[str]:
    units = len(text["text"].encode("utf-16-le")) // 2
    found = [] if 0 < units <= most else [f"{where}: 1 to {most} characters, has {units}"]
    if text["type"] not in ("plain_text", "mrkdwn"):
        found.append(f"{where}: type {text['type']}")
    return found + _marks(where, text["text"])


def _marks(where: str, text: str) -> list[str]:
    """Characters that had to be escaped: only links may be in angle brackets."""
    rest = _LINK.sub("", text)
    if "<" in rest or ">" in rest or _BARE_AMPERSAND.search(text):
        return [f"{where}: & < > must be escaped"]
    return []
