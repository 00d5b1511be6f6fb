"""Charts as the real Helm renders them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml


class Refused(Exception):
    """Helm did not render the chart; the text is Helm's."""


def template(
    chart: Path, values: Mapping[str, Any] | None = None, namespace: str = "gliner"
) -> str:
    """What `helm template` makes of a chart with somebody's values.

    Raises:
        Refused: it makes nothing of it.
    """
    if not programs.HELM:
        pytest.skip(programs.NO_HELM)
    with tempfile.TemporaryDirectory() as folder:
        mine = Path(folder) / "values.yaml"
        mine.write_text(yaml.safe_dump(dict(values or {})))
        done = subprocess.run(
            [
                *(programs.HELM, "template", "gliner", str(chart)),
                *("--values", str(mine), "--namespace", namespace),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def text(template_text: str, values: Mapping[str, Any]) -> str:
    """One Go template with Sprig's functions, rendered by the engine in Helm."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder)
        (chart / "templates").mkdir()
        (chart / "Chart.yaml").write_text("apiVersion: v2\nname: one\nversion: 0.0.1\n")
        (chart / "templates" / "one.yaml").write_text(
            f"{{{{- with .Values }}}}{template_text}{{{{- end }}}}"
        )
        return template(chart, values)
