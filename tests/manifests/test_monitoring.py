"""The Prometheus Operator's objects: our rules as they are, for our pods."""

from __future__ import annotations

import re
import subprocess

import kustomized
import manifest_references as references
import pytest
import yaml
from kustomized import ROOT, Object

RULES = ROOT / "prometheus" / "rules.yaml"
WRITTEN = ROOT / "manifests" / "components" / "monitoring" / "rules.yaml"
BUILT = "+monitoring"
WATCHED = [one for one in kustomized.names() if re.search(r"\+(monitoring|kube-prometheus)\b", one)]


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


def _watched(name: str) -> list[Object]:
    return kustomized.of(kustomized.build(name), "PodMonitor")


def _asked(endpoint: Object, container: Object) -> list[str]:
    """Where Prometheus asks a pod at 10.0.0.1: each of its ports is a target, the operator keeps
    the one that the monitor names, and relabels it."""
    found = []
    for port in container["ports"]:
        if port["containerPort"] != endpoint["portNumber"]:
            continue
        labels = {"__address__": f"10.0.0.1:{port['containerPort']}"}
        for one in endpoint["relabelings"]:
            source = ";".join(labels[label] for label in one.get("sourceLabels", ()))
            if match := re.fullmatch(one.get("regex", "(.*)"), source):
                value = re.sub(r"\$(\d)", r"\\\1", one["replacement"])
                labels[one["targetLabel"]] = match.expand(value)
        found.append(labels["__address__"])
    return found


@pytest.mark.parametrize("name", kustomized.names())
def test_rollouts_ask_prometheus_where_it_watches(name: str) -> None:
    """And only there: one that does not know the pods says of every version that it had no request,
    and one that is not there stops each rollout before it begins."""
    assert bool(_watched(name)) == (name in WATCHED)
    for config in kustomized.of(kustomized.build(name), "ConfigMap"):
        assert ("PIPELINE_PROMETHEUS_URL" in config["data"]) == (name in WATCHED)


@pytest.mark.parametrize("name", WATCHED)
def test_pods_are_found(name: str) -> None:
    """The monitor finds the predictor's pods, and Prometheus may ask at the port of metrics."""
    built = kustomized.build(name)
    [monitor] = _watched(name)
    spec = monitor["spec"]
    [endpoint] = spec["podMetricsEndpoints"]
    [[_, container]] = kustomized.predictors(built)
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
    assert _asked(endpoint, container) == ["10.0.0.1:8080"]
    assert "--http_port=8080" in container["args"]
    assert 8080 in opened


def test_prometheus_may_be_asked() -> None:
    """kube-prometheus shuts its Prometheus: who asks it by our manifests is let in, and where."""
    built = kustomized.build("+istio-standard+pipeline+standard+keda+kube-prometheus")
    [config] = kustomized.of(built, "ConfigMap")
    [policy] = [
        one
        for one in kustomized.of(built, "NetworkPolicy")
        if one["metadata"].get("namespace") == "monitoring"
    ]
    [rule] = policy["spec"]["ingress"]
    [by_rollouts] = re.findall(
        r"http://prometheus-operated\.monitoring\..*:(\d+)",
        config["data"]["PIPELINE_PROMETHEUS_URL"],
    )
    [service] = kustomized.of(built, "InferenceService")
    [metric] = service["spec"]["predictor"]["autoScaling"]["metrics"]
    runs, keda = rule["from"]

    assert references.selects(runs["podSelector"], {"pipeline/runid": "1"})
    assert runs["namespaceSelector"] == {}
    assert keda == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}
    assert references.selects(
        policy["spec"]["podSelector"], {"app.kubernetes.io/name": "prometheus"}
    )
    assert [{"protocol": "TCP", "port": int(by_rollouts)}] == rule["ports"]
    assert (
        metric["external"]["metric"]["serverAddress"] == config["data"]["PIPELINE_PROMETHEUS_URL"]
    )


def test_prometheus_may_find_the_pods() -> None:
    """Where kube-prometheus gives it no rights: to see pods, and nothing more."""
    built = kustomized.build("+istio+pipeline+kubeflow-alone+reviews+kube-prometheus")
    [role, binding] = [
        one
        for one in kustomized.of(built, "Role", "RoleBinding")
        if one["metadata"]["name"] == "gliner-prometheus"
    ]

    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "prometheus-k8s", "namespace": "monitoring"}
    ]


def test_alerts_know_the_job() -> None:
    """The monitor gives its targets the one job that the rules ask for."""
    [endpoint] = _one("PodMonitor")["spec"]["podMetricsEndpoints"]
    [job] = [one for one in endpoint["relabelings"] if one["targetLabel"] == "job"]

    assert set(re.findall(r'job="(\w+)"', RULES.read_text("utf-8"))) == {job["replacement"]}
