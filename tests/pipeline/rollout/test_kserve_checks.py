"""What `doctor` says of a cluster."""

from __future__ import annotations

import kserve_cluster
import pytest
from kubernetes_answers import Fault
from kubernetes_api import KubernetesApi

from pipeline.rollout.kserve import check
from pipeline.settings import Settings


def settings(**changed: object) -> Settings:
    """Settings that lead to the API of the test."""
    return Settings.model_validate(
        {"rollout": "kserve", "http_retries": 0, "http_timeout_seconds": 5, **changed}
    )


def wrong(**changed: object) -> dict[str, str]:
    """What is not well, and what to do."""
    return {name: text for name, well, text in check(settings(**changed)) if not well}


@pytest.mark.parametrize("mode", ["Knative", "Standard"])
def test_a_good_cluster_is_well(api: KubernetesApi, mode: str) -> None:
    """Every line is ok before and after the first rollout, and nothing was changed."""
    before = wrong(deployment_mode=mode)
    kserve_cluster.first(kserve_cluster.backend(mode))
    kept = api.isvc()["metadata"]["resourceVersion"]
    lines = check(settings(deployment_mode=mode))

    assert before == {}
    assert [name for name, well, _ in lines if well] == [name for name, *_ in lines]
    assert lines[-1] == ("InferenceService gliner", True, f"{mode} mode")
    assert api.isvc()["metadata"]["resourceVersion"] == kept


def test_a_server_that_is_away_is_one_line(api: KubernetesApi) -> None:
    """Without the API nothing else can be said."""
    api.faults.append(Fault(cut="before", times=10))

    [(name, well, text)] = check(settings())

    assert (name, well) == ("Kubernetes", False)
    assert "does not answer" in text


def test_a_missing_namespace_is_found(api: KubernetesApi) -> None:
    """The remedy is a command."""
    assert wrong(namespace="elsewhere")["namespace"].endswith("kubectl create ns elsewhere")


def test_a_namespace_that_may_not_be_read_is_no_fault(api: KubernetesApi) -> None:
    """A role for one namespace cannot read the namespace itself, and need not."""
    api.denied.add(("get", "namespaces"))

    assert wrong() == {}


def test_missing_rights_are_named(api: KubernetesApi) -> None:
    """Each right that is not there, by verb and resource, as Kubernetes itself says."""
    api.denied |= {("patch", "inferenceservices"), ("update", "leases"), ("list", "pods")}

    found = wrong()

    assert found["right to inferenceservices"].startswith("may not patch inferenceservices")
    assert found["right to leases"].startswith("may not update leases")
    assert set(found) == {"right to inferenceservices", "right to leases"}


def test_an_old_kserve_is_found_in_standard_mode_alone(api: KubernetesApi) -> None:
    """Only Standard mode needs `spec.canary`."""
    api.canary_known = False

    assert "spec.canary" in wrong(deployment_mode="Standard")["InferenceService"]
    assert wrong(deployment_mode="Knative") == {}


def test_a_service_in_the_other_mode_is_found(api: KubernetesApi) -> None:
    """The setting is what can be changed, so it is what the line names."""
    kserve_cluster.first(kserve_cluster.backend("Knative"))

    found = wrong(deployment_mode="Standard")

    assert "set it to Knative" in found["InferenceService gliner"]


def test_one_check_that_is_refused_hides_no_other(api: KubernetesApi) -> None:
    """What one part may not read is its own line."""
    api.denied.add(("get", "inferenceservices"))

    found = wrong()

    assert "is forbidden" in found["service"]
    assert "right to inferenceservices" in found
