"""`grafana/provision.sh`: what is not configured is left out, and Grafana still starts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from grafana_rules import ROOT

VARIABLES = {
    "slack": "GLINER_SLACK_WEBHOOK_URL",
    "email": "GLINER_ALERT_EMAIL",
    "pagerduty": "GLINER_PAGERDUTY_KEY",
    "lead": "GLINER_LEAD_EMAIL",
}


def provision(folder: Path, **variables: str) -> str:
    """Lay the files out below a folder."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GLINER_")}
    done = subprocess.run(
        [ROOT / "provision.sh", folder / "provisioning", folder / "dashboards"],
        env={**plain, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def optional(folder: Path) -> set[str]:
    """The contact points that were added."""
    names = (folder / "provisioning/alerting").glob("contact-points-*.yaml")
    return {file.stem.removeprefix("contact-points-") for file in names}


def test_nothing_configured(tmp_path: Path) -> None:
    """Without a variable no optional contact point is there; all else is."""
    said = provision(tmp_path)

    assert set() == optional(tmp_path)
    assert "contact point slack: off, GLINER_SLACK_WEBHOOK_URL is not set" in said
    assert {file.name for file in (ROOT / "dashboards").iterdir()} == {
        file.name for file in (tmp_path / "dashboards").iterdir()
    }
    assert (tmp_path / "provisioning/alerting/rules-quality.yaml").is_file()


@pytest.mark.parametrize(("name", "variable"), VARIABLES.items())
def test_one_configured(tmp_path: Path, name: str, variable: str) -> None:
    """Its own variable adds a contact point and no other; the value stays out of the file."""
    provision(tmp_path, **{variable: "https://secret.test"})

    assert {name} == optional(tmp_path)
    text = (tmp_path / f"provisioning/alerting/contact-points-{name}.yaml").read_text("utf-8")
    assert f"${variable}" in text
    assert "secret.test" not in text


def test_empty_counts_as_unset(tmp_path: Path) -> None:
    """An empty address, which would stop Grafana, leaves its contact point out."""
    provision(tmp_path, GLINER_SLACK_WEBHOOK_URL="")

    assert set() == optional(tmp_path)


def test_taken_back(tmp_path: Path) -> None:
    """What an earlier start added goes with its variable."""
    provision(tmp_path, GLINER_ALERT_EMAIL="ops@example.com")
    provision(tmp_path)

    assert set() == optional(tmp_path)


@pytest.mark.parametrize("name", VARIABLES)
def test_file_names_what_it_needs(name: str) -> None:
    """The one variable that decides is the only one in the file."""
    text = (ROOT / f"contact-points/{name}.yaml").read_text("utf-8")

    assert text.startswith(f"# needs: {VARIABLES[name]}\n")
    assert {VARIABLES[name]} == set(re.findall(r"GLINER_\w+", text))


def test_links_to_runbooks(tmp_path: Path) -> None:
    """Runbook links lead to where the documents are read; dashboards to where they lie."""
    provision(tmp_path, GLINER_DOCS_URL="https://docs.test/main/")

    for file in (tmp_path / "provisioning/alerting").glob("rules-*.yaml"):
        text = file.read_text("utf-8")
        assert "https://docs.test/main/alerts.md#gliner" in text
        assert "gliner-kserve.example" not in text
    [provider] = yaml.safe_load((tmp_path / "provisioning/dashboards/gliner.yaml").read_text())[
        "providers"
    ]
    assert str(tmp_path / "dashboards") == provider["options"]["path"]


@pytest.mark.parametrize("url", ["", "https://jaeger.test/trace"])
def test_links_to_traces(tmp_path: Path, url: str) -> None:
    """A log line links to its trace where traces can be seen, and else to nothing."""
    provision(tmp_path, GLINER_TRACES_URL=url)

    text = (tmp_path / "provisioning/datasources/gliner.yaml").read_text("utf-8")
    [loki] = [one for one in yaml.safe_load(text)["datasources"] if one["type"] == "loki"]
    fields = loki["jsonData"].get("derivedFields", [])
    assert len(yaml.safe_load(text)["datasources"]) == 3
    assert [one["matcherRegex"] for one in fields] == (["trace_id"] if url else [])
    assert "jaeger" not in text
