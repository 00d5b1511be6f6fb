"""Messages as Alertmanager's own template engine, which Grafana uses as well, makes them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from grafana_rules import ALERTING

pytestmark = pytest.mark.skipif(not programs.AMTOOL, reason=programs.NO_ALERTMANAGER)
[TEMPLATE] = yaml.safe_load((ALERTING / "templates.yaml").read_text("utf-8"))["templates"]
# What Grafana adds to an alert, by its documents, and Alertmanager does not know.
GRAFANAS = {"DashboardURL", "PanelURL", "SilenceURL"}
RUNBOOK = "https://docs.example/alerts.md#glinernonewversion"


def alert(model: str, status: str = "firing") -> dict[str, Any]:
    """An alert as both know it."""
    return {
        "status": status,
        "labels": {"alertname": "GlinerNoNewVersion", "severity": "warning", "model": model},
        "annotations": {
            "summary": f"No new version of {model} for 36 hours",
            "description": "The limit was passed 4.0 hours ago.",
            "runbook_url": RUNBOOK,
        },
        "startsAt": "2026-11-25T12:00:00Z",
        "endsAt": "2026-11-26T09:30:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
    }


def rendered(folder: Path, name: str, *alerts: dict[str, Any]) -> str:
    """What a template says of some alerts."""
    # Each of Grafana's own is asked for by `with`, which is nothing where there is none.
    text = re.sub(r"{{ with \.(\w+) }}.*?{{ end }}", _without, TEMPLATE["template"], flags=re.S)
    (folder / "gliner.tmpl").write_text(text, encoding="utf-8")
    models = {one["labels"]["model"] for one in alerts}
    common = {"alertname": "GlinerNoNewVersion"}
    if len(models) == 1:
        common["model"] = models.pop()
    data = {
        "status": "firing" if any(one["status"] == "firing" for one in alerts) else "resolved",
        "alerts": list(alerts),
        "commonLabels": common,
    }
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")
    assert programs.AMTOOL
    done = subprocess.run(
        [
            *(programs.AMTOOL, "template", "render", f"--template.glob={folder}/*.tmpl"),
            f'--template.text={{{{ template "{name}" . }}}}',
            f"--template.data={folder / 'data.json'}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _without(found: re.Match[str]) -> str:
    assert found[1] in GRAFANAS or found[1] == "CommonLabels", found[0]
    return "" if found[1] in GRAFANAS else found[0]


def test_title(tmp_path: Path) -> None:
    """How many, which alert, which model; and when it is over."""
    one, two = alert("gliner-ner"), alert("gliner-de")

    assert rendered(tmp_path, "gliner.title", one) == "1 firing: GlinerNoNewVersion (gliner-ner)"
    assert rendered(tmp_path, "gliner.title", one, two) == "2 firing: GlinerNoNewVersion"
    over = alert("gliner-ner", "resolved")
    assert rendered(tmp_path, "gliner.title", over) == "Over: GlinerNoNewVersion (gliner-ner)"


def test_text(tmp_path: Path) -> None:
    """Severity, what, since when and what to do; one line for what is over."""
    text = rendered(tmp_path, "gliner.text", alert("gliner-ner"), alert("gliner-de", "resolved"))

    assert [line for line in text.splitlines() if line.strip()] == [
        "[warning] No new version of gliner-ner for 36 hours",
        "The limit was passed 4.0 hours ago.",
        "Since 2026-11-25 12:00 UTC.",
        f"What to do: {RUNBOOK}",
        "Over since 2026-11-26 09:30 UTC: No new version of gliner-de for 36 hours",
    ]
