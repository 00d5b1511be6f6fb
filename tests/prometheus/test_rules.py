"""Prometheus' rules, run by promtool: each alert fires with its words, and stays quiet."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import alert_cases
import alert_cases_of_others
import programs
import pytest
import yaml
from alert_cases import Case
from prometheus_client.parser import text_string_to_metric_families
from servers import ROOT, RunningServer

RULES = ROOT / "prometheus" / "rules.yaml"
RUNBOOKS = ROOT / "docs" / "alerts.md"
GROUPS = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
FIRES = [*alert_cases.FIRES, *alert_cases_of_others.FIRES]
QUIET = [*alert_cases.QUIET, *alert_cases_of_others.QUIET]
WORDS = {"and", "or", "unless", "offset"}
"""Operators of PromQL that are written as words."""


def metrics(expression: str) -> set[str]:
    """The metrics that an expression reads, those that rules record left out."""
    bare = re.sub(r"{[^}]*}|\[[^\]]*\]", "", expression)
    bare = re.sub(r"\b(by|on|ignoring|group_left|group_right|without) *\([^)]*\)", "", bare)
    names = re.findall(r"(?<![\w:.])([a-zA-Z_][\w:]*)(?! *\(|[\w:])", bare)
    return {name for name in names if ":" not in name} - WORDS


def expected(case: Case) -> list[dict[str, Any]]:
    """The alert as promtool should see it, or none."""
    if case.labels is None:
        return []
    rule, labels = ALERTS[case.alert], case.labels

    def said(text: str) -> str:
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        return re.sub(r"{{ \$value[^}]*}}", case.value, text)

    words = {key: said(text) for key, text in rule["annotations"].items()}
    return [{"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": words}]


@pytest.mark.skipif(not programs.PROMTOOL, reason=programs.NO_PROMTOOL)
@pytest.mark.parametrize("case", [*FIRES, *QUIET], ids=lambda case: f"{case.alert}-{case.at}")
def test_alert(case: Case, tmp_path: Path) -> None:
    """It fires with its words and labels, or stays quiet."""
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    asked = {"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected(case)}
    file = tmp_path / "test.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": [asked]}],
            }
        ),
        encoding="utf-8",
    )

    done = subprocess.run(
        [str(programs.PROMTOOL), "test", "rules", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tried_both_ways() -> None:
    """None is without a test that it fires, and one that it does not."""
    assert {case.alert for case in FIRES} == {case.alert for case in QUIET} == set(ALERTS)


def test_each_alert_says_what_to_do() -> None:
    """Severity, words, a dashboard, and a section of the runbooks under its name."""
    sections = re.findall(r"^## (\w+)\n\n`(\w+)`$", RUNBOOKS.read_text("utf-8"), re.MULTILINE)

    for name, rule in ALERTS.items():
        assert (name, rule["labels"]["severity"]) in sections
        assert rule["annotations"]["runbook_url"].endswith(f"/alerts.md#{name.lower()}")
        assert {"summary", "description", "dashboard_url"} <= set(rule["annotations"])


@pytest.mark.server
def test_metrics_are_exported(server: RunningServer) -> None:
    """Every metric that a rule reads is one that a predictor has, or listed with its exporter."""
    server.predict("Ada Lovelace was born in London.", labels=["person"])
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    exported = {sample.name for family in families for sample in family.samples}

    rules = [rule for group in GROUPS for rule in group["rules"]]
    read = set().union(*(metrics(rule["expr"]) for rule in rules))
    others = set(alert_cases_of_others.EXPORTERS)

    assert len(read - others) >= 10
    assert read - others <= exported
    assert others <= read
    assert not others & exported


def test_kube_state_metrics_is_told() -> None:
    """Its file makes the metrics of recurring runs that the rules read, of the labels they use."""
    told = yaml.safe_load((ROOT / "prometheus" / "kube-state-metrics.yaml").read_text("utf-8"))
    [resource] = told["spec"]["resources"]
    prefix = resource["metricNamePrefix"]

    made = {f"{prefix}_{one['name']}" for one in resource["metrics"]}
    assert made == {name for name in alert_cases_of_others.EXPORTERS if name.startswith(prefix)}
    assert set(resource["labelsFromPath"]) == set(alert_cases_of_others.SCHEDULE)


def test_metrics_are_found_in_expressions() -> None:
    """Names in labels, functions and what rules record are no metrics."""
    expression = (
        'sum by (le, pod) (rate(one_total{status=~"5..|two"}[5m])) / on() group_left() '
        "min(a:b) > 0.5 and 3 * three unless on (pod) time() - four > 1e3"
    )

    assert metrics(expression) == {"one_total", "three", "four"}
