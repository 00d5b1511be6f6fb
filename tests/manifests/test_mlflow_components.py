"""MLflow on what a cloud runs: our own MySQL and MinIO are gone, and nothing leads there."""

from __future__ import annotations

import json
from collections.abc import Iterator

import kustomized
import manifest_policies as policies
import manifest_schemas
import mlflow_builds
import pytest
from kustomized import Object, of, title
from manifest_policies import Rule
from manifest_references import selects

RULES = (policies.unprivileged, policies.bounded, policies.no_secret_values, policies.labelled)
OUTSIDE = [
    one
    for one in mlflow_builds.COMBINATIONS
    if one not in ("", "backup-outside", "external-secrets")
]
IDENTITIES = {
    "aws": "eks.amazonaws.com/role-arn",
    "gcp": "iam.gke.io/gcp-service-account",
    "azure": "azure.workload.identity/client-id",
}


def sources(objects: list[Object]) -> Iterator[tuple[str, str, str, str]]:
    """Where variables come from: the container, the kind, the name and the key."""
    kinds = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
    for where, one in kustomized.containers(objects):
        for variable in one.get("env", ()):
            for kind, source in variable.get("valueFrom", {}).items():
                yield where, kinds[kind], source["name"], source["key"]


@pytest.mark.parametrize("name", mlflow_builds.COMBINATIONS)
def test_schemas(name: str) -> None:
    """Each object is what Kubernetes takes, and none is there twice."""
    objects = mlflow_builds.build(name)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]

    assert [manifest_schemas.problems(one) for one in objects] == [()] * len(objects)
    assert len(set(names)) == len(names)
    for one in objects:
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "mlflow", title(one)


@pytest.mark.parametrize("name", mlflow_builds.COMBINATIONS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules(rule: Rule, name: str) -> None:
    """What holds for the base holds with components."""
    assert list(rule(mlflow_builds.build(name))) == []


@pytest.mark.parametrize("name", mlflow_builds.COMBINATIONS)
def test_all_that_pods_name_is_there(name: str) -> None:
    """Accounts, volumes, claims and config maps with their keys; no variable is there twice."""
    objects = mlflow_builds.build(name)
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    keys = {
        ("ConfigMap", one["metadata"]["name"], key)
        for one in of(objects, "ConfigMap")
        for key in one["data"]
    }
    for where, spec in kustomized.pods(objects):
        volumes = {one["name"] for one in spec["volumes"]}
        volumes |= {
            each["metadata"]["name"]
            for one in objects
            if title(one) == where
            for each in one["spec"].get("volumeClaimTemplates", ())
        }
        mounts = {
            mount["name"]
            for one in [*spec.get("initContainers", ()), *spec["containers"]]
            for mount in one.get("volumeMounts", ())
        }
        assert volumes == mounts, where
        assert ("ServiceAccount", spec["serviceAccountName"]) in there
        for one in spec["volumes"]:
            if "configMap" in one:
                assert ("ConfigMap", one["configMap"]["name"]) in there
            if "persistentVolumeClaim" in one:
                claim = one["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in there
    for where, kind, source, key in sources(objects):
        assert kind == "Secret" or (kind, source, key) in keys, where
    for where, one in kustomized.containers(objects):
        variables = [each["name"] for each in one.get("env", ())]
        assert len(set(variables)) == len(variables), where


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_of_our_own_is_left(name: str) -> None:
    """No object, no address, no secret and no way in the network of MySQL and MinIO."""
    objects = mlflow_builds.build(name)
    text = json.dumps([one for one in objects if one["kind"] != "ConfigMap"])

    assert not of(objects, "StatefulSet", "Job")
    assert {title(one) for one in of(objects, "Service")} == {"Service mlflow"}
    for word in ("http://minio", '"mysql"', '"minio"', "mysql-root", "minio-root"):
        assert word not in text, word
    assert {source for _, kind, source, _ in sources(objects) if kind == "Secret"} <= {
        *("mlflow-database", "mlflow-webhooks", "s3-read", "s3-write", "backup-s3")
    }


def test_secrets_keep_their_names() -> None:
    """What `make secrets` draws, with values of one's own, is what the managed parts take."""
    managed = {one[1:] for one in sources(mlflow_builds.build("managed")) if one[1] == "Secret"}
    own = {one[1:] for one in sources(mlflow_builds.build("")) if one[1] == "Secret"}

    assert managed < own
    assert ("Secret", "s3-write", "AWS_ACCESS_KEY_ID") in managed


@pytest.mark.parametrize("name", OUTSIDE)
def test_network_leads_outside(name: str) -> None:
    """The server and the jobs may reach a database and HTTPS outside, and no node's metadata."""
    objects = mlflow_builds.build(name)
    labels = [
        of(objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"],
        *(
            one["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
            for one in of(objects, "CronJob")
        ),
    ]
    assert len(labels) == 3
    for each in labels:
        rules = [
            rule
            for one in of(objects, "NetworkPolicy")
            if selects(one["spec"]["podSelector"], each)
            for rule in one["spec"].get("egress", ())
        ]
        for port in (3306, 443):
            [ways, *_] = [
                rule["to"]
                for rule in rules
                if {"protocol": "TCP", "port": port} in rule.get("ports", ())
            ]
            assert ways[0]["ipBlock"]["cidr"] == "0.0.0.0/0"
            assert "169.254.0.0/16" in ways[0]["ipBlock"]["except"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_the_overlay_says_where_they_are(name: str) -> None:
    """Each setting that a component asks for reaches the server or the jobs, and is asked for."""
    objects = mlflow_builds.build(name)
    [found] = [one for one in of(objects, "ConfigMap") if "database-host" in one["data"]]
    used = {key for _, kind, _, key in sources(objects) if kind == "ConfigMap"}
    [server] = of(objects, "Deployment")
    [container] = server["spec"]["template"]["spec"]["containers"]

    assert used == set(found["data"])
    assert [one for one in container["args"] if "artifact-root" in one] == [
        "--default-artifact-root=$(ARTIFACTS)"
    ]
    assert "ARTIFACTS" in {one["name"] for one in container["env"]}


@pytest.mark.parametrize("cloud", kustomized.CLOUDS)
def test_clouds_need_no_keys(cloud: str) -> None:
    """Accounts have an identity, no container has a key, and rclone asks its environment."""
    objects = mlflow_builds.build(cloud)
    accounts = {one["metadata"]["name"]: one for one in of(objects, "ServiceAccount")}
    for name in ("mlflow", "mlflow-backup"):
        assert accounts[name]["metadata"]["annotations"][IDENTITIES[cloud]]
    assert {name for _, kind, name, _ in sources(objects) if kind == "Secret"} == {
        *("mlflow-database", "mlflow-webhooks")
    }
    for where, one in kustomized.containers(objects):
        if "rclone" in one["image"]:
            env = {each["name"]: each.get("value") for each in one["env"]}
            assert env["RCLONE_CONFIG_STORE_ENV_AUTH"] == "true", where
            kind = {"aws": "s3", "gcp": "google cloud storage", "azure": "azureblob"}[cloud]
            assert env["RCLONE_CONFIG_STORE_TYPE"] == kind
            assert ("RCLONE_CONFIG_STORE_ENDPOINT" in env) == (cloud == "aws")
    for _, one in (
        (title(each), each["spec"]["jobTemplate"]["spec"]["template"])
        for each in of(objects, "CronJob")
    ):
        marked = one["metadata"]["labels"].get("azure.workload.identity/use")
        assert marked == ("true" if cloud == "azure" else None)
    [claim] = of(objects, "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"]


def test_each_component_is_built_and_explained() -> None:
    """One that nobody builds would rot, one that nobody explains is not found."""
    readme = (kustomized.ROOT / "mlflow" / "README.md").read_text()
    folders = {one.name for one in (kustomized.ROOT / "mlflow" / "components").iterdir()}

    assert folders == {*"+".join(mlflow_builds.COMBINATIONS).split("+")} - {""}
    for one in folders:
        assert f"| `{one}` |" in readme
