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
RECORDED = re.compile(r"\bgliner:[\w:]+")
RULES = [
    rule
    for group in yaml.safe_load((servers.ROOT / "prometheus" / "rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]


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
    """Each series exists, and each label that is asked for is one of it; or a rule records it."""
    recorded = set(RECORDED.findall(query.text))
    names = set(NAME.findall(query.text))
    assert names or recorded
    assert recorded <= {rule.get("record") for rule in RULES}
    assert names <= set(exported)
    known = TARGET | {label for name in names for label in exported[name]}
    asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query.text))
    asked |= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", query.text))))
    if not query.where.rpartition("/")[2].startswith("$"):
        assert asked <= known


def test_what_is_recorded_is_read() -> None:
    """Each series that a rule records is read by a panel or by an alert."""
    texts = [*(query.text for query in QUERIES), *(rule["expr"] for rule in RULES)]
    read = set(RECORDED.findall(" ".join(texts)))

    assert {rule["record"] for rule in RULES if "record" in rule} == read


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
