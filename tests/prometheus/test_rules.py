"""Prometheus' rules, run by promtool: each alert fires with its words, and stays quiet."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from servers import ROOT, RunningServer

RULES = ROOT / "prometheus" / "rules.yaml"
RUNBOOKS = ROOT / "docs" / "alerts.md"
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
POD = {"instance": "pod:8080", "job": "gliner"}
FROM_PROMETHEUS = {"up"}

Series = dict[str, str]
"""What a series is, by its name and labels: values a minute apart, in promtool's words."""


@dataclass(frozen=True)
class Case:
    """An alert at a moment.

    Attributes:
        series: what Prometheus has seen.
        at: the moment.
        value: what `$value` reads as in the alert's words.
        labels: those of the alert beside its own; None where it should be quiet.
    """

    alert: str
    series: Series
    at: str
    value: str = ""
    labels: dict[str, str] | None = field(default=None)


def pod(name: str, values: str, **labels: str) -> Series:
    """A series of one pod."""
    written = ",".join(f'{key}="{value}"' for key, value in {**POD, **labels}.items())
    return {f"{name}{{{written}}}": values}


def answers(**by_status: str) -> Series:
    """Requests by their status: `s200="0+9x60"`."""
    found: Series = {}
    for status, values in by_status.items():
        found |= pod("gliner_requests_total", values, protocol="v1", status=status.lstrip("s"))
    return found


def seconds(within: str, count: str) -> Series:
    """Requests within half a second, and all."""
    return pod("gliner_request_seconds_bucket", within, protocol="grpc", le="0.5") | pod(
        "gliner_request_seconds_count", count, protocol="grpc"
    )


def waits(short: str, count: str) -> Series:
    """Waits of half a second at most, and all, of which none is over one."""
    found: Series = {}
    for bound, values in {"0.5": short, "1.0": count, "+Inf": count}.items():
        found |= pod("gliner_queue_seconds_bucket", values, le=bound)
    return found


def versions(*names: str) -> Series:
    """Pods and what each serves."""
    found: Series = {}
    for number, name in enumerate(names):
        found |= pod("gliner_model_info", "1x200", instance=f"pod{number}:8080", version=name)
    return found


INSTANCE = {"instance": POD["instance"]}
FAILED = {**POD, "result": "failed"}
FIRES = [
    Case("GlinerErrorsFast", answers(s200="0+90x60", s500="0+10x60"), "20m", "10%", {}),
    Case("GlinerErrorsFast", answers(s200="0+90x60", s429="0+10x60"), "20m", "10%", {}),
    Case("GlinerErrorsFast", answers(OK="0+90x60", INTERNAL="0+10x60"), "20m", "10%", {}),
    Case("GlinerErrorsFast", answers(s200="0+96x600", s503="0+4x600"), "7h", "4%", {}),
    Case("GlinerErrorsSlow", answers(s200="0+98x600", s504="0+2x600"), "7h", "2%", {}),
    Case("GlinerErrorsSlow", answers(s200="0+99x999", s504="0+1x999"), "16h", "1%", {}),
    Case("GlinerLatencyFast", seconds("0+80x60", "0+100x60"), "20m", "20%", {}),
    Case("GlinerLatencySlow", seconds("0+96x600", "0+100x600"), "7h", "4%", {}),
    Case("GlinerDown", pod("up", "1 0x10"), "4m", "", POD),
    Case("GlinerGone", {}, "6m", "", {"job": "gliner"}),
    Case("GlinerNotReady", pod("gliner_ready", "0x10"), "6m", "", POD),
    Case("GlinerRestarts", pod("process_start_time_seconds", "1 2 3 4x10"), "9m", "3", POD),
    Case("GlinerQueueLong", waits("0+10x30", "0+100x30"), "16m", "972.2ms", INSTANCE),
    Case(
        "GlinerSwapFailed", pod("gliner_swaps_total", "0x5 1x9", result="failed"), "9m", "", FAILED
    ),
    Case("GlinerNotSwapped", pod("gliner_follow_failed", "1x20"), "16m", "", POD),
    Case(
        "GlinerRegistrySilent",
        pod("gliner_follow_checked_timestamp_seconds", "60x60"),
        "40m",
        "39m 0s",
        POD,
    ),
    Case("GlinerVersionsDiffer", versions("3", "4"), "121m", "2", {}),
]
QUIET = [
    # What a caller got wrong is an answer.
    Case("GlinerErrorsFast", answers(s200="0+5x60", s400="0+5x60", s500="0+0x60"), "20m"),
    # Ten minutes of failures that are over, after hours without one.
    Case("GlinerErrorsFast", answers(s200="0+90x420", s500="0x380 10+10x9 100x30"), "400m"),
    Case("GlinerErrorsFast", answers(s200="0+98x600", s503="0+2x600"), "7h"),
    Case("GlinerErrorsSlow", answers(s200="0+996x999", s504="0+4x999"), "16h"),
    Case("GlinerLatencyFast", seconds("0+95x600", "0+100x600"), "7h"),
    Case("GlinerLatencySlow", seconds("0+991x999", "0+1000x999"), "16h"),
    Case("GlinerDown", pod("up", "1 0 1x10"), "4m"),
    Case("GlinerGone", pod("up", "0x10"), "6m"),
    Case("GlinerNotReady", pod("gliner_ready", "0x3 1x10"), "6m"),
    Case("GlinerRestarts", pod("process_start_time_seconds", "1 2 3x10"), "9m"),
    Case("GlinerQueueLong", waits("0+99x30", "0+100x30"), "16m"),
    Case("GlinerSwapFailed", pod("gliner_swaps_total", "0x5 1x9", result="ok"), "9m"),
    Case("GlinerNotSwapped", pod("gliner_follow_failed", "1x10 0x10"), "16m"),
    # A predictor that follows nothing has never heard from a registry.
    Case("GlinerRegistrySilent", pod("gliner_follow_checked_timestamp_seconds", "0x60"), "50m"),
    Case("GlinerVersionsDiffer", versions("4", "4"), "121m"),
]


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
    """Every metric that a rule reads is one that a predictor has, or Prometheus itself."""
    server.predict("Ada Lovelace was born in London.", labels=["person"])
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    exported = {sample.name for family in families for sample in family.samples}

    text = "\n".join(re.findall(r"expr: \|\n((?: {10}.*\n)+)", RULES.read_text("utf-8")))
    read = set(re.findall(r"(?<![\w:\"])((?:gliner_|process_|up\b)\w*)", text))

    assert len(read) > 10
    assert read <= exported | FROM_PROMETHEUS
