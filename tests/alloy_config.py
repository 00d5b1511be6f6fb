"""Alloy's configuration language, as much of it as our file uses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*) | (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<number>\d+)
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*) | (?P<sign>[{}\[\]()=,+])""",
    re.VERBOSE,
)


class Unreadable(Exception):
    """Alloy would not start with this."""


@dataclass(frozen=True)
class Name:
    """What is worked out when Alloy runs: another block's output, an environment variable."""

    text: str


@dataclass(frozen=True)
class Block:
    """A block with what stands in it.

    Attributes:
        kind: such as `loki.process`.
        label: what tells it from others of its kind, or empty.
        settings: its attributes by name.
        blocks: those within it, in order.
    """

    kind: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def all(self, kind: str) -> list[Block]:
        """The blocks of a kind within this one."""
        return [one for one in self.blocks if one.kind == kind]


def read(file: Path) -> Block:
    """A whole file, as a block without a name.

    Raises:
        Unreadable: it is not written in the language.
    """
    tokens = _Tokens(file.read_text("utf-8"))
    whole = Block("", "")
    _fill(whole, tokens, "")
    return whole


class _Tokens:
    def __init__(self, text: str) -> None:
        self._left = list(_split(text))

    def peek(self) -> str:
        return self._left[0] if self._left else ""

    def take(self, wanted: str = "") -> str:
        if not self._left or (wanted and self._left[0] != wanted):
            raise Unreadable(f"expected {wanted or 'more'} before {' '.join(self._left[:3])}")
        return self._left.pop(0)


def _split(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise Unreadable(f"cannot read {text[at : at + 20]!r}")
        if found.lastgroup != "space":
            yield found[0]
        at = found.end()


def _fill(block: Block, tokens: _Tokens, end: str) -> None:
    while tokens.peek() != end:
        name = tokens.take()
        if tokens.peek() == "=":
            tokens.take()
            if name in block.settings:
                raise Unreadable(f"{name} is set twice in {block.kind}")
            block.settings[name] = _value(tokens)
            continue
        label = json.loads(tokens.take()) if tokens.peek().startswith('"') else ""
        within = Block(name, label)
        tokens.take("{")
        _fill(within, tokens, "}")
        tokens.take("}")
        block.blocks.append(within)


def _value(tokens: _Tokens) -> Any:
    value = _term(tokens)
    while tokens.peek() == "+":
        tokens.take()
        value = Name(f"{value} + {_term(tokens)}")
    return value


def _term(tokens: _Tokens) -> Any:
    token = tokens.take()
    if token == "[":
        return _listed(tokens, "]")
    if token == "{":
        return _pairs(tokens)
    if token[0] == '"' or token.isdecimal() or token in ("true", "false"):
        return json.loads(token)
    if tokens.peek() == "(":
        tokens.take()
        return Name(f"{token}({_listed(tokens, ')')})")
    return Name(token)


def _listed(tokens: _Tokens, end: str) -> list[Any]:
    found = []
    while tokens.peek() != end:
        found.append(_value(tokens))
        if tokens.peek() != end:
            tokens.take(",")
    tokens.take(end)
    return found


def _pairs(tokens: _Tokens) -> dict[str, Any]:
    found = {}
    while tokens.peek() != "}":
        key = tokens.take()
        tokens.take("=")
        found[key] = _value(tokens)
        if tokens.peek() != "}":
            tokens.take(",")
    tokens.take("}")
    return found
