"""The table of versions at the end of the demo."""

from __future__ import annotations

from datetime import datetime, timezone
from io import StringIO
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from pipeline.local.versions import versions_table
from pipeline.registry import Version

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def shown(*versions: Version) -> str:
    registry: Any = SimpleNamespace(versions=lambda: versions)
    console = Console(file=StringIO(), width=200)
    console.print(versions_table(registry))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_version_with_its_alias_and_its_score() -> None:
    """One row each, with what the gate said."""
    tags = {"status": "champion", "gate": "passed", "f1": "0.8061"}

    text = shown(Version(7, "", "", NOW, "", tags, ("champion",)))

    assert text.splitlines()[2].split() == ["7", "@champion", "champion", "0.806", "passed"]


def test_the_reason_is_not_crowded_out_by_a_path() -> None:
    """Of a file its name is shown; addresses stay whole."""
    reason = f"{'/a-long-folder' * 20}/golden.json: request 0 differs from s3://bucket/a and 3/4"

    text = shown(Version(3, "", "", NOW, "", {"rollout_reason": reason}, ()))

    assert text.splitlines()[2].split(maxsplit=1) == [
        "3",
        "golden.json: request 0 differs from s3://bucket/a and 3/4  ",
    ]
