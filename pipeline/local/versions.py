"""All versions and what became of them, as a table."""

from __future__ import annotations

import re
from textwrap import shorten
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pipeline.registry import Registry, Version

LONGEST_REASON = 150
SHOWN = ("version", "status", "F1", "gate", "why")


def versions_table(registry: Registry) -> Table:
    """All versions with what became of them and why."""
    table = Table(box=SIMPLE, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in SHOWN[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(SHOWN[-1], overflow="fold")
    for one in registry.versions():
        aliases = "".join(f" @{alias}" for alias in one.aliases)
        table.add_row(
            f"{one.number}{aliases}",
            one.tags.get("status", ""),
            "" if one.f1 is None else f"{one.f1:.3f}",
            one.tags.get("gate", ""),
            Text(shorten(_why(one), LONGEST_REASON, placeholder=" …")),
        )
    return table


def _why(version: Version) -> str:
    why = version.tags.get("rollout_reason") or version.tags.get("gate_reason", "")
    # Of a file its name: a path would leave no room for what is wrong with it.
    return re.sub(r"(?<!\S)/\S*/", "", why)
