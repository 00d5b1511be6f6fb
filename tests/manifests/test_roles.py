"""The pipeline's role is as wide as the calls that its code makes, the predictor has none."""

from __future__ import annotations

import ast
from collections import defaultdict

import kfp
import kustomized
import pytest
from kustomized import ROOT

_ROLLOUT = ROOT / "pipeline" / "rollout"
_CLIENTS = {
    "_objects": ("serving.kserve.io", "inferenceservices"),
    "_leases": ("coordination.k8s.io", "leases"),
    "_core": ("", None),
}
"""Attributes of `Cluster` that call the API: the group, and the resource where it is one."""
OURS, HELPERS, REVIEWS = "gliner-pipeline", "gliner-pipeline-runs", "gliner-reviews"
WATCHER = "gliner-prometheus"
"""The role for what our code calls, the one for what Kubeflow's does in the same pods, the one of
the service that starts rollouts on Kubeflow, and the one of kube-prometheus' Prometheus."""
_OF_KUBEFLOW = {
    "get_pipeline_id": {("pipelines", "list")},
    "pipeline_service_create_pipeline": {("pipelines", "create")},
    "upload_pipeline_version": {("pipelines/versions", "create")},
    "list_pipeline_versions": {("pipelines/versions", "list")},
    # It looks for one of the name first.
    "create_experiment": {
        ("experiments", "list"),
        ("experiments", "get"),
        ("experiments", "create"),
    },
    "list_runs": {("runs", "list")},
    "run_pipeline": {("runs", "create")},
}
"""What Kubeflow's API asks Kubernetes about the caller, for each method of kfp's client."""
_VERBS = {"read": "get", "get": "get", "replace": "update"}
_RESOURCES = {"pod": "pods", "service": "services", "lease": "leases"}
_STANDARD_ONLY = {("", "services")}
"""What only rollouts in Standard mode ask for."""


def called() -> dict[tuple[str, str], set[str]]:
    """Verbs by API group and resource, read from the code."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    tree = ast.parse((_ROLLOUT / "cluster.py").read_text())
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value
        if not (isinstance(owner, ast.Attribute) and owner.attr in _CLIENTS):
            continue
        group, resource = _CLIENTS[owner.attr]
        verb, _, rest = node.func.attr.partition("_namespaced_")
        what = resource or _RESOURCES[rest]
        found[group, what].add(_VERBS.get(verb, verb))
    return dict(found)


def allowed(name: str, *titles: str) -> dict[tuple[str, str], set[str]]:
    """The same, from the roles of a build that have these names."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for role in kustomized.of(kustomized.build(name), "Role", "ClusterRole"):
        for rule in role["rules"] if role["metadata"]["name"] in titles else ():
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    found[group, resource] |= set(rule["verbs"])
    return dict(found)


def test_the_code_is_read() -> None:
    """The reader of the code finds what a rollout cannot do without."""
    found = called()

    assert found["serving.kserve.io", "inferenceservices"] >= {"get", "create", "patch"}
    assert found["coordination.k8s.io", "leases"] >= {"get", "update"}
    assert len(found) == 4


def test_the_role_is_the_calls_in_standard_mode() -> None:
    """No right too many, none too few."""
    assert allowed("+standard", OURS) == called()


@pytest.mark.parametrize("name", [*kustomized.ENVIRONMENTS, "+"])
def test_the_role_is_the_calls_in_knative_mode(name: str) -> None:
    """The same without what only Standard mode asks for."""
    wanted = {what: verbs for what, verbs in called().items() if what not in _STANDARD_ONLY}

    assert allowed(name, OURS) == wanted


@pytest.mark.parametrize("name", ["dev", "staging", "production", "+istio+pipeline+spread+kpa+aws"])
def test_kubeflows_helpers_have_what_they_call(name: str) -> None:
    """Each right names the one object it is for, where the API lets it."""
    assert allowed(name, HELPERS) == {
        ("", "configmaps"): {"get"},
        ("", "secrets"): {"get"},
        ("", "pods"): {"get"},
        ("argoproj.io", "workflowtaskresults"): {"create", "patch"},
    }
    [role] = [
        one
        for one in kustomized.of(kustomized.build(name), "Role")
        if one["metadata"]["name"] == HELPERS
    ]
    named = {one["resources"][0]: one.get("resourceNames") for one in role["rules"]}
    assert named["secrets"] == ["mlpipeline-minio-artifact"]
    assert named["configmaps"] == ["kfp-launcher"]


@pytest.mark.parametrize("name", kustomized.names())
def test_there_is_no_other_role(name: str) -> None:
    """Each of them is compared above; helpers' rights come with runs, and only where they are."""
    roles = {one["metadata"]["name"] for one in kustomized.of(kustomized.build(name), "Role")}
    runs_here = "pipeline" in name.split("+") or name in ("dev", "staging", "production")

    wanted = {OURS, *([HELPERS] if runs_here and "kubeflow-alone" not in name else [])}
    wanted |= {WATCHER} if "kube-prometheus" in name else set()
    assert roles == wanted | ({REVIEWS} if "reviews-profiles" in name else set())


def test_the_review_service_may_start_a_rollout_and_no_more() -> None:
    """Its role is what starting a run calls of kfp's client, read from the code."""
    tree = ast.parse((ROOT / "pipeline" / "runs" / "kubeflow.py").read_text())
    starting = {"put", "find_version", "start", "experiment_id"}
    called = {
        node.attr
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and function.name in starting
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in dir(kfp.Client) + list(_OF_KUBEFLOW)
    } - {"pipelines"}
    wanted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for method in called:
        for resource, verb in _OF_KUBEFLOW[method]:
            wanted["pipelines.kubeflow.org", resource].add(verb)

    assert called == set(_OF_KUBEFLOW)
    assert allowed("+istio+pipeline+kpa+reviews-profiles", REVIEWS) == dict(wanted)


def test_nothing_else_calls_kubernetes() -> None:
    """Other modules would have to be read as well. Asking for one's own rights needs none."""
    apis: defaultdict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.endswith("Api"):
                apis[path.relative_to(ROOT).as_posix()].add(node.attr)

    assert dict(apis) == {
        "pipeline/rollout/cluster.py": {"CustomObjectsApi", "CoordinationV1Api", "CoreV1Api"},
        "pipeline/rollout/checks.py": {"AuthorizationV1Api"},
    }


@pytest.mark.parametrize("name", kustomized.names())
def test_rights_end_at_the_namespace(name: str) -> None:
    """No role of the cluster, no wildcard, and the predictor's account has no token."""
    objects = kustomized.build(name)
    [account] = [
        one
        for one in kustomized.of(objects, "ServiceAccount")
        if one["metadata"]["name"] == "gliner"
    ]
    alone = name == "local" or "kubeflow-alone" in name
    bound = {
        subject["name"]
        for one in kustomized.of(objects, "RoleBinding")
        for subject in one["subjects"]
    }

    assert not kustomized.of(objects, "ClusterRole", "ClusterRoleBinding")
    assert "*" not in str(allowed(name, OURS, HELPERS, REVIEWS, WATCHER))
    ours = {"pipeline-runner" if alone else "gliner-pipeline"}
    ours |= {"prometheus-k8s"} if "kube-prometheus" in name else set()
    assert bound == ours | ({REVIEWS} if "reviews-profiles" in name else set())
    assert account["automountServiceAccountToken"] is False
