"""The tests' Kubernetes API is as strict as the real one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes_answers import Fault
from kubernetes_api import TOKEN, KubernetesApi

ISVCS = "/apis/serving.kserve.io/v1beta1/namespaces/gliner/inferenceservices"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/gliner/leases"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def http(api: KubernetesApi) -> Iterator[httpx.Client]:
    """A client without any cleverness."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=api.url, headers=headers, trust_env=False) as client:
        yield client


def isvc(mode: str = "Knative", **predictor: Any) -> dict[str, Any]:
    """An InferenceService."""
    model = {"modelFormat": {"name": "gliner"}, "storageUri": "s3://a/"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "gliner",
            "annotations": {"serving.kserve.io/deploymentMode": mode},
        },
        "spec": {"predictor": {"model": model, **predictor}},
    }


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Code and message of a Status."""
    body = answer.json()
    assert (body["kind"], body["code"]) == ("Status", answer.status_code)
    return answer.status_code, body["message"]


@pytest.mark.parametrize(
    ("predictor", "message"),
    [
        ({"canaryTraficPercent": 1}, 'unknown field "spec.predictor.canaryTraficPercent"'),
        ({"minReplicas": "2"}, "spec.predictor.minReplicas: Invalid value: '2'"),
        ({"minReplicas": True}, "spec.predictor.minReplicas: Invalid value: True"),
        ({"model": {"storageUri": "s3://a/", "env": {}}}, "env: Invalid value: must be an array"),
        ({"labels": {"a": 1}}, "spec.predictor.labels.a: Invalid value: 1"),
        ({"model": {"storageUri": "s3://a/"}}, "predictor.model: Invalid value for `model_format`"),
    ],
)
def test_objects_are_held_against_the_typed_models(
    http: httpx.Client, predictor: dict[str, Any], message: str
) -> None:
    """Unknown fields, wrong types and missing values are each refused with their path."""
    code, said = refused(http.post(ISVCS, json=isvc(**predictor)))

    assert code == 422
    assert message in said


def test_strict_decoding_is_the_servers_own(http: httpx.Client) -> None:
    """With field validation, an unknown field is a 400 in the words of the real server."""
    answer = http.post(f"{ISVCS}?fieldValidation=Strict", json=isvc(nonsense=1))

    assert refused(answer) == (
        400,
        'strict decoding error: unknown field "spec.predictor.nonsense"',
    )


def test_versions_guard_against_lost_updates(http: httpx.Client) -> None:
    """A version moves with each real change; a write with an old one is a conflict."""
    made = http.post(ISVCS, json=isvc()).json()
    old = made["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": old}, "spec": {"predictor": {"minReplicas": 2}}}
    changed = http.patch(f"{ISVCS}/gliner", json=patch, headers=MERGE).json()
    same = http.patch(
        f"{ISVCS}/gliner", json={"spec": {"predictor": {"minReplicas": 2}}}, headers=MERGE
    ).json()

    conflict = http.patch(f"{ISVCS}/gliner", json=patch, headers=MERGE)

    assert refused(conflict)[0] == 409
    assert changed["metadata"]["generation"] == 2
    assert same["metadata"] == changed["metadata"]


def test_status_belongs_to_the_controller(api: KubernetesApi, http: httpx.Client) -> None:
    """What clients send as status is ignored, and annotations are no new generation."""
    http.post(ISVCS, json={**isvc(), "status": {"url": "http://mine"}})
    patch = {"status": {"url": "http://mine"}, "metadata": {"annotations": {"a": "b"}}}

    changed = http.patch(f"{ISVCS}/gliner", json=patch, headers=MERGE).json()

    assert "url" not in (changed.get("status") or {})
    assert changed["metadata"]["generation"] == 1


def test_patches_come_in_two_forms(http: httpx.Client) -> None:
    """JSON patches test and replace; the strategic merge is unknown to custom resources."""
    http.post(ISVCS, json=isvc(minReplicas=1))
    path = "/spec/predictor/minReplicas"
    operations = [
        {"op": "test", "path": path, "value": 1},
        {"op": "replace", "path": path, "value": 3},
    ]
    as_json = {"Content-Type": "application/json-patch+json"}
    strategic = {"Content-Type": "application/strategic-merge-patch+json"}
    changed = http.request("PATCH", f"{ISVCS}/gliner", json=operations, headers=as_json)
    again = http.request("PATCH", f"{ISVCS}/gliner", json=operations, headers=as_json)
    other = http.patch(f"{ISVCS}/gliner", json={"spec": {}}, headers=strategic)

    assert changed.json()["spec"]["predictor"]["minReplicas"] == 3
    assert refused(again)[0] == 422
    assert refused(other)[0] == 415


def test_what_is_not_there_is_a_status(http: httpx.Client) -> None:
    """Missing objects, unknown resources and strangers are told apart."""
    found = [
        refused(http.get(f"{ISVCS}/gliner"))[0],
        refused(http.get("/apis/apps/v1/namespaces/gliner/deployments/x"))[0],
        refused(http.get(f"{ISVCS}/gliner", headers={"Authorization": "Bearer x"}))[0],
    ]

    assert found == [404, 404, 401]


def test_leases_want_times_with_microseconds(http: httpx.Client) -> None:
    """The real server cannot read what Python writes for a whole second."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "a"},
        "spec": {"renewTime": "2026-01-01T00:00:00+00:00"},
    }

    assert refused(http.post(LEASES, json=lease))[0] == 422


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trafficPercent": 101}, "must be between 0 and 100"),
        ({"predictor": {"name": ""}}, "predictor.name is required"),
        ({"predictor": {"name": "v2", "maxReplicas": 3}}, "must not set maxReplicas"),
        ({"predictor": {"name": "v2", "minReplicas": 2}}, "must not exceed stable"),
    ],
)
def test_the_webhook_refuses_canaries_as_kserve_does(
    http: httpx.Client, change: dict[str, Any], message: str
) -> None:
    """What the validating webhook of KServe says no to is a 403 with its words."""
    model = isvc()["spec"]["predictor"]["model"]
    body = isvc("Standard")
    predictor = {"name": "v2", "model": model, **change.get("predictor", {})}
    body["spec"]["canary"] = [{"trafficPercent": 10, **change, "predictor": predictor}]

    code, said = refused(http.post(ISVCS, json=body))

    assert code == 403
    assert "admission webhook" in said
    assert message in said


def test_a_mode_never_changes(api: KubernetesApi, http: httpx.Client) -> None:
    """Once KServe has written the mode into the status, the annotation is fixed."""
    api.apply(isvc("Knative"))
    patch = {"metadata": {"annotations": {"serving.kserve.io/deploymentMode": "Standard"}}}

    code, said = refused(http.patch(f"{ISVCS}/gliner", json=patch, headers=MERGE))

    assert code == 403
    assert "deploymentMode cannot be changed from 'Knative' to 'Standard'" in said


def test_standard_mode_takes_no_notice_of_a_knative_share(api: KubernetesApi) -> None:
    """The real one ignores `canaryTrafficPercent` there in silence."""
    api.apply(isvc("Standard"))
    api.edit(lambda one: one["spec"]["predictor"].update(canaryTrafficPercent=10))
    api.edit(lambda one: one["spec"]["predictor"]["model"].update(storageUri="s3://b/"))
    api.settle()

    assert api.controller.history[-1] == {"s3://b/": 100}


def test_a_fault_strikes_as_often_as_told(api: KubernetesApi, http: httpx.Client) -> None:
    """The second and third look are cut off; the others go well."""
    api.faults.append(Fault(cut="before", skip=1, times=2))
    cut = []
    for _ in range(4):
        try:
            http.get("/version")
            cut.append(False)
        except httpx.TransportError:
            cut.append(True)

    assert cut == [False, True, True, False]


def test_the_kubeconfig_leads_here(api: KubernetesApi, tmp_path: Path) -> None:
    """Clients find server and token in it."""
    text = api.kubeconfig(tmp_path / "other").read_text(encoding="utf-8")

    assert api.url in text
    assert TOKEN in text
