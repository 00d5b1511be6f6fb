"""The Prometheus dashboards name metrics and labels that a running predictor exports."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import grafana_boards as boards
import pytest
import servers
import yaml
from prometheus_client.parser import text_string_to_metric_families

QUERIES = boards.queries("gliner-prometheus")
VARIABLES = {"instance": "predictor:8080"}
# What Prometheus itself puts on every series.
TARGET = {"instance", "job"}
NAME = re.compile(r"\b(?:gliner|process|python|request|kserve)_\w+")


@pytest.fixture(scope="module")
def exported(server: servers.RunningServer) -> dict[str, set[str]]:
    """Labels by the name of the series, after a prediction and a refusal."""
    server.predict("Ada Lovelace was born in London.", labels=["person"])
    server.http.post("/v1/models/gliner:predict", content="{")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(server.http.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.server
@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_metrics_and_labels_are_exported(
    exported: dict[str, set[str]], query: boards.Query
) -> None:
    """Each series exists, and each label that is asked for is one of it."""
    names = set(NAME.findall(query.text))
    assert names
    assert names <= set(exported)
    known = TARGET | {label for name in names for label in exported[name]}
    asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query.text))
    asked |= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query.text))))
    if not query.where.rpartition("/")[2].startswith("$"):
        assert asked <= known


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    """Prometheus's own parser takes each expression."""
    rules = []
    for at, query in enumerate(QUERIES):
        if query.text.startswith("label_values("):
            continue
        text = query.text.replace("$__rate_interval", "1m")
        rules.append({"record": f"panel:{at}", "expr": boards.filled(text, VARIABLES)})
    assert len(rules) >= 30
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")

    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
