"""What `doctor` finds: one line for each part, with what to do where it is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "wrong", "unset"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line.

    Attributes:
        area: the part that it is about.
        state: `unset` is what nobody configured or what could not be looked at; no fault.
        text: what was seen, with no secret in it.
        remedy: what to do; empty where nothing is wrong.
    """

    area: str
    state: State
    text: str
    remedy: str = ""


def ok(area: str, text: str) -> Finding:
    """All is well."""
    return Finding(area, "ok", text)


def wrong(area: str, text: str, remedy: str) -> Finding:
    """Something has to be done."""
    return Finding(area, "wrong", text, remedy)


def unset(area: str, text: str) -> Finding:
    """Not configured, or not to be seen from here."""
    return Finding(area, "unset", text)
