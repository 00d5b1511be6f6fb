"""The clouds: pods have an identity, nobody has keys, nothing leads to our own MinIO."""

from __future__ import annotations

import os
import re
from pathlib import Path

import kustomized
import pytest
import yaml
from kustomized import CLOUDS, ROOT, Object, of
from manifest_references import selects

COMPONENTS = ROOT / "manifests" / "components"
BUILDS = [(cloud, one) for cloud in CLOUDS for one in kustomized.names() if one.endswith(cloud)]
IDENTITIES = {
    "aws": ("eks.amazonaws.com/role-arn", r"arn:aws:iam::\d{12}:role/gliner(-pipeline)?"),
    "gcp": (
        "iam.gke.io/gcp-service-account",
        r"gliner(-pipeline)?@[\w-]+\.iam\.gserviceaccount\.com",
    ),
    "azure": ("azure.workload.identity/client-id", r"[0-9a-f-]{36}"),
}


def account(objects: list[Object], name: str = "gliner") -> Object:
    [found] = [one for one in of(objects, "ServiceAccount") if one["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize(("cloud", "name"), BUILDS)
def test_the_predictor_has_an_identity_and_no_keys(cloud: str, name: str) -> None:
    """The service account names it, and no Secret that a pod would wait for."""
    objects = kustomized.build(name)
    annotation, form = IDENTITIES[cloud]

    assert re.fullmatch(form, account(objects)["metadata"]["annotations"][annotation])
    assert "secrets" not in account(objects)
    for one in of(objects, "InferenceService"):
        marked = one["spec"]["predictor"].get("labels", {}).get("azure.workload.identity/use")
        assert marked == ("true" if cloud == "azure" else None)


@pytest.mark.parametrize(("cloud", "name"), BUILDS)
def test_nothing_leads_to_minio(cloud: str, name: str) -> None:
    """Neither the network nor the pipeline's settings."""
    objects = kustomized.build(name)
    for one in of(objects, "ConfigMap", "NetworkPolicy"):
        assert "minio" not in str(one)
    for one in of(objects, "ConfigMap"):
        assert ("AWS_DEFAULT_REGION" in one["data"]) == (cloud == "aws")


@pytest.mark.parametrize(("cloud", "name"), BUILDS)
def test_a_nodes_metadata_is_open_where_identities_come_from_it(cloud: str, name: str) -> None:
    """On GKE alone; the others' come by HTTPS."""
    labels = {"serving.kserve.io/inferenceservice": "gliner"}
    opened = {
        way["ipBlock"]["cidr"]
        for one in of(kustomized.build(name), "NetworkPolicy")
        if selects(one["spec"]["podSelector"], labels)
        for rule in one["spec"].get("egress", ())
        for way in rule.get("to", ())
        if "ipBlock" in way and way["ipBlock"]["cidr"].startswith("169.254.169.")
    }

    assert bool(opened) == (cloud == "gcp")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_environment_takes_its_clouds_registry(cloud: str, tmp_path: Path) -> None:
    """As the component's header says it: another registry, and the same digest."""
    header = (COMPONENTS / cloud / "kustomization.yaml").read_text()
    [registry] = re.findall(r"newName: (\S+)/predictor", header)
    above = tmp_path.resolve()
    overlay = {
        "resources": [os.path.relpath(ROOT / "manifests" / "environments" / "production", above)],
        "components": [os.path.relpath(COMPONENTS / cloud, above)],
        "images": [
            {"name": "ghcr.io/gliner-kserve/predictor", "newName": f"{registry}/predictor".lower()}
        ],
    }
    (above / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = list(yaml.safe_load_all(kustomized.kustomize(above)))

    [(_, container)] = kustomized.containers(objects)
    assert re.fullmatch(
        rf"{re.escape(registry.lower())}/predictor@sha256:[0-9a-f]{{64}}", container["image"]
    )
    assert account(objects)["metadata"]["namespace"] == "gliner"


LOAD_BALANCERS = {
    "aws": r"service\.beta\.kubernetes\.io/aws-load-balancer-(type|nlb-target-type|scheme)",
    "gcp": r"cloud\.google\.com/l4-rbs",
    "azure": r"service\.beta\.kubernetes\.io/azure-load-balancer-health-probe-request-path",
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_gateway_has_the_clouds_load_balancer(cloud: str) -> None:
    """Values of Istio's chart `gateway`: a Service with annotations that this cloud reads."""
    values = yaml.safe_load((COMPONENTS / cloud / "gateway-values.yaml").read_text("utf-8"))

    assert values.keys() == {"service"}
    assert values["service"].keys() == {"type", "annotations"}
    assert values["service"]["type"] == "LoadBalancer"
    for name, value in values["service"]["annotations"].items():
        assert re.fullmatch(LOAD_BALANCERS[cloud], name)
        assert isinstance(value, str)  # as a number or a bool it would be no annotation
