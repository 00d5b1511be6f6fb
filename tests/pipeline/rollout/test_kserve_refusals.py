"""What a rollout on KServe does not do, and says so."""

from __future__ import annotations

from pathlib import Path

import kserve_cluster
import pytest
from kserve_cluster import ONE, PACE, TWO, first
from kubernetes_api import KubernetesApi

from pipeline.errors import PipelineError
from pipeline.rollout.kserve import KServe
from pipeline.settings import Settings


def test_a_kserve_without_canaries_is_an_error(api: KubernetesApi) -> None:
    """An older KServe would drop `spec.canary` in silence: strict decoding makes it say so."""
    backend = kserve_cluster.backend("Standard")
    first(backend)
    api.canary_known = False

    with pytest.raises(PipelineError, match=r'unknown field "spec\.canary"'):
        backend.start(TWO, ONE)


def test_another_mode_is_refused(api: KubernetesApi) -> None:
    """A service never changes its mode, so settings that differ are an error that says what to."""
    first(kserve_cluster.backend("Knative"))

    with pytest.raises(PipelineError, match="PIPELINE_DEPLOYMENT_MODE=Knative"):
        kserve_cluster.backend("Standard").start(TWO, ONE)


def test_a_canary_of_somebody_else_is_left_alone(api: KubernetesApi) -> None:
    """Two canaries at once would share what the plan gives to one."""
    backend = kserve_cluster.backend("Standard")
    first(backend)
    theirs = {
        "trafficPercent": 5,
        "predictor": {
            "name": "theirs",
            "model": {"modelFormat": {"name": "gliner"}, "storageUri": "s3://x/"},
        },
    }
    api.edit(lambda isvc: isvc["spec"].update(canary=[theirs]))

    with pytest.raises(PipelineError, match=r"a canary that no rollout made \(theirs\)"):
        backend.start(TWO, ONE)
    assert api.isvc()["spec"]["canary"] == [theirs]


def test_a_canary_needs_a_replica(api: KubernetesApi) -> None:
    """With `minReplicas: 0` KServe allows the canary none, which is said before anything moves."""
    backend = kserve_cluster.backend("Standard")
    first(backend)
    api.edit(lambda isvc: isvc["spec"]["predictor"].update(minReplicas=0))

    with pytest.raises(PipelineError, match="minReplicas is 0"):
        backend.start(TWO, ONE)


def test_a_canary_takes_replicas_with_its_share(api: KubernetesApi) -> None:
    """At 100 % the candidate has as many replicas as the service is asked to have."""
    backend = kserve_cluster.backend("Standard")
    first(backend)
    api.edit(lambda isvc: isvc["spec"]["predictor"].update(minReplicas=4))
    seen = []
    backend.start(TWO, ONE)
    for percent in (10, 50, 100):
        backend.step(percent)
        seen.append(api.isvc()["spec"]["canary"][0]["predictor"]["minReplicas"])

    assert seen == [1, 2, 4]


def test_an_address_that_kserve_cannot_read_is_refused(api: KubernetesApi) -> None:
    """Artifacts behind MLflow's own server are no use to KServe; the remedy is named."""
    settings = Settings(rollout="kserve")
    backend = KServe(settings, uri=lambda one: "mlflow-artifacts:/1/bundle/", pace=PACE)

    with pytest.raises(PipelineError, match="--no-serve-artifacts"):
        backend.start(ONE, None)


def test_a_promotion_of_something_else_is_refused(api: KubernetesApi) -> None:
    """Where somebody set another model meanwhile, that one is not promoted by accident."""
    backend = kserve_cluster.backend()
    first(backend)
    backend.start(TWO, ONE)
    api.edit(lambda isvc: isvc["spec"]["predictor"]["model"].update(storageUri="s3://else/"))

    with pytest.raises(PipelineError, match="is not what InferenceService gliner has on trial"):
        backend.promote(TWO)


def test_no_way_to_the_cluster_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a kubeconfig and outside a pod the remedy is named."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))

    with pytest.raises(PipelineError, match="set KUBECONFIG, or run in a pod"):
        KServe(Settings(rollout="kserve"))
