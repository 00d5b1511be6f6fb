"""The Prometheus Operator's objects: our rules as they are, for our pods."""

from __future__ import annotations

import re
import subprocess

import kustomized
import manifest_references as references
import yaml
from kustomized import ROOT, Object

RULES = ROOT / "prometheus" / "rules.yaml"
WRITTEN = ROOT / "manifests" / "components" / "monitoring" / "rules.yaml"
BUILT = "+monitoring"


def _one(kind: str) -> Object:
    [found] = kustomized.of(kustomized.build(BUILT), kind)
    return found


def test_rules_are_written_anew() -> None:
    """What is committed is what scripts/prometheus-rule.sh writes: run it after a change."""
    done = subprocess.run(
        ["bash", str(ROOT / "scripts" / "prometheus-rule.sh"), "--stdout"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == WRITTEN.read_text("utf-8")


def test_rules_are_the_same() -> None:
    """Each group, rule and word reaches the cluster as it stands in prometheus/rules.yaml."""
    assert _one("PrometheusRule")["spec"] == yaml.safe_load(RULES.read_text("utf-8"))


def test_pods_are_found() -> None:
    """The monitor finds the predictor's pods, at a port that they have and Prometheus may reach."""
    built = kustomized.build(BUILT)
    spec = _one("PodMonitor")["spec"]
    [endpoint] = spec["podMetricsEndpoints"]
    [[_, container]] = kustomized.containers(built)
    service = kustomized.of(built, "InferenceService")[0]["metadata"]["name"]
    opened = {
        port["port"]
        for policy in kustomized.of(built, "NetworkPolicy")
        for rule in policy["spec"].get("ingress", ())
        if "monitoring" in str(rule)
        for port in rule["ports"]
    }

    labels = {"serving.kserve.io/inferenceservice": service}
    assert references.selects(spec["selector"], labels)
    assert not references.selects(spec["selector"], {"app": "mlflow"})
    assert endpoint["portNumber"] in opened
    assert endpoint["portNumber"] in {port["containerPort"] for port in container["ports"]}


def test_alerts_know_the_job() -> None:
    """The monitor gives its targets the one job that the rules ask for."""
    [endpoint] = _one("PodMonitor")["spec"]["podMetricsEndpoints"]
    [job] = [one for one in endpoint["relabelings"] if one["targetLabel"] == "job"]

    assert set(re.findall(r'job="(\w+)"', RULES.read_text("utf-8"))) == {job["replacement"]}
