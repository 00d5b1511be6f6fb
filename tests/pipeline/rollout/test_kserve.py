"""The KServe backend against a Kubernetes API that keeps state and plays KServe's controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kserve_cluster
import pytest
from kserve_cluster import MODES, ONE, THREE, TWO, digest, first, uri
from kserve_parts import Failure
from kubernetes_api import KubernetesApi

from pipeline.errors import RolloutFailed
from pipeline.rollout import State, objects


def serving(api: KubernetesApi) -> dict[str, float]:
    """Shares of the traffic by storage address, once KServe is through."""
    api.settle()
    return api.controller.history[-1]


@pytest.mark.parametrize("mode", MODES)
def test_the_first_version_makes_the_service(api: KubernetesApi, mode: str) -> None:
    """Without an InferenceService there is nothing to share with: one is made, and it serves."""
    backend = kserve_cluster.backend(mode)

    assert not backend.state().ready
    first(backend)

    made = api.isvc()
    assert made["metadata"]["annotations"][objects.MODE] == mode
    assert made["spec"]["predictor"]["model"] == {
        "modelFormat": {"name": "gliner"},
        "storageUri": uri(1),
    }
    assert made["spec"]["predictor"]["serviceAccountName"] == "gliner"
    assert kserve_cluster.backend(mode).state() == State(stable=digest(1))
    assert serving(api) == {uri(1): 100}


@pytest.mark.parametrize("mode", MODES)
def test_shares_move_step_by_step(api: KubernetesApi, mode: str) -> None:
    """A candidate starts with nothing, gets exactly the shares asked for, then all for good."""
    backend = kserve_cluster.backend(mode)
    first(backend)

    backend.start(TWO, ONE)
    started = backend.state()
    for percent in (10, 50, 100):
        backend.step(percent)
    stepped = backend.state()
    backend.promote(TWO)

    assert started == State(stable=digest(1), canary=digest(2), percent=0)
    assert stepped == State(stable=digest(1), canary=digest(2), percent=100)
    assert kserve_cluster.backend(mode).state() == State(stable=digest(2))
    assert [one.get(uri(2), 0) for one in api.controller.history] == [0, 10, 50, 100]
    assert serving(api) == {uri(2): 100}


def test_knative_promotes_by_removing_the_share(api: KubernetesApi) -> None:
    """A share that stays would hold back whatever the next edit of the service brings."""
    backend = kserve_cluster.backend()
    first(backend)

    backend.start(TWO, ONE)
    assert api.isvc()["spec"]["predictor"]["canaryTrafficPercent"] == 0
    backend.step(50)
    backend.promote(TWO)

    assert "canaryTrafficPercent" not in api.isvc()["spec"]["predictor"]


def test_standard_promotes_without_a_restart(api: KubernetesApi) -> None:
    """The candidate's pods, warm and proven, are the ones that serve after the promotion."""
    backend = kserve_cluster.backend("Standard")
    first(backend)
    backend.start(TWO, ONE)
    backend.step(100)

    backend.promote(TWO)

    api.settle()
    deployments = api.controller._made["gliner"].all  # type: ignore[attr-defined]
    assert list(deployments) == ["gliner-v2-predictor"]
    assert deployments["gliner-v2-predictor"].rollouts == 0
    assert "canary" not in api.isvc()["spec"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("percent", [0, 50, 100])
def test_a_roll_back_takes_the_candidate_away_for_good(
    api: KubernetesApi, mode: str, percent: int
) -> None:
    """From any share traffic goes back without a gap, and later edits do not revive the version."""
    backend = kserve_cluster.backend(mode)
    first(backend)
    backend.start(TWO, ONE)
    if percent:
        backend.step(percent)
    before = len(api.controller.history)

    backend.roll_back(TWO, ONE)

    assert kserve_cluster.backend(mode).state() == State(stable=digest(1))
    assert "canaryTrafficPercent" not in api.isvc()["spec"]["predictor"]
    api.edit(lambda isvc: isvc["spec"]["predictor"].update(maxReplicas=5))
    assert serving(api) == {uri(1): 100}
    assert all(one.get(uri(2), 0) == 0 for one in api.controller.history[before:])
    assert not any("" in one for one in api.controller.history)


@pytest.mark.parametrize("mode", MODES)
def test_a_promoted_version_can_be_left_again(api: KubernetesApi, mode: str) -> None:
    """A roll back after the promotion, to the version before or further back, leaves no gap."""
    backend = kserve_cluster.backend(mode)
    first(backend)
    for new, old in ((TWO, ONE), (THREE, TWO)):
        backend.start(new, old)
        backend.step(100)
        backend.promote(new)

    backend.roll_back(THREE, ONE)

    assert kserve_cluster.backend(mode).state() == State(stable=digest(1))
    assert serving(api) == {uri(1): 100}
    assert not any("" in one for one in api.controller.history)


@pytest.mark.parametrize("mode", MODES)
def test_each_call_may_be_repeated(api: KubernetesApi, mode: str) -> None:
    """Calls say what should be: the second time they write nothing."""
    backend = kserve_cluster.backend(mode)
    first(backend)
    calls: list[Callable[[], None]] = [
        lambda: backend.start(TWO, ONE),
        lambda: backend.step(10),
        lambda: backend.promote(TWO),
        lambda: backend.roll_back(TWO, ONE),
    ]
    for call in calls:
        call()
        spec = api.isvc()["spec"]
        call()

        assert api.isvc()["spec"] == spec


@pytest.mark.parametrize("mode", MODES)
def test_another_process_goes_on_where_one_died(api: KubernetesApi, mode: str) -> None:
    """A fresh backend sees the trial in the cluster alone, and can finish or undo it."""
    first(kserve_cluster.backend(mode))
    kserve_cluster.backend(mode).start(TWO, ONE)
    kserve_cluster.backend(mode).step(50)

    seen = kserve_cluster.backend(mode).state()
    kserve_cluster.backend(mode).step(100)
    kserve_cluster.backend(mode).promote(TWO)

    assert (seen.stable, seen.canary, seen.percent) == (digest(1), digest(2), 50)
    assert serving(api) == {uri(2): 100}


@pytest.mark.parametrize("mode", MODES)
def test_edits_of_others_survive(api: KubernetesApi, mode: str) -> None:
    """Resources, replicas, variables and annotations that people set stay through a rollout."""
    backend = kserve_cluster.backend(mode)
    first(backend)

    def tune(isvc: dict[str, Any]) -> None:
        isvc["metadata"]["annotations"]["team"] = "search"
        isvc["spec"]["predictor"]["minReplicas"] = 2
        isvc["spec"]["predictor"]["annotations"]["sidecar"] = "no"
        isvc["spec"]["predictor"]["model"]["env"] = [{"name": "GLINER_THRESHOLD", "value": "0.4"}]
        isvc["spec"]["predictor"]["model"]["resources"] = {"limits": {"cpu": "4"}}

    api.edit(tune)
    api.settle()
    tuned = api.isvc()
    backend.start(TWO, ONE)
    api.edit(lambda isvc: isvc["spec"]["predictor"].update(timeout=30))
    backend.step(50)
    backend.promote(TWO)
    backend.roll_back(TWO, ONE)

    left = api.isvc()
    assert left["metadata"]["annotations"] == tuned["metadata"]["annotations"]
    for key in ("minReplicas", "model", "serviceAccountName"):
        assert left["spec"]["predictor"][key] == tuned["spec"]["predictor"][key]
    assert left["spec"]["predictor"]["annotations"]["sidecar"] == "no"
    assert left["spec"]["predictor"]["timeout"] == 30


@pytest.mark.parametrize("mode", MODES)
def test_a_service_made_by_people_is_taken_over(api: KubernetesApi, mode: str) -> None:
    """What served before is not known by digest; it keeps the traffic until the promotion."""
    predictor = {"model": {"modelFormat": {"name": "gliner"}, "storageUri": "s3://hand/made/"}}
    metadata = {"name": "gliner", "annotations": {objects.MODE: mode}}
    api.apply(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": metadata,
            "spec": {"predictor": predictor},
        }
    )
    backend = kserve_cluster.backend(mode)

    backend.start(ONE, None)
    started = serving(api)
    backend.roll_back(ONE, None)
    left = serving(api)
    backend.start(ONE, None)
    backend.promote(ONE)

    assert started == left == {"s3://hand/made/": 100}
    assert serving(api) == {uri(1): 100}
    assert kserve_cluster.backend(mode).state() == State(stable=digest(1))


@pytest.mark.parametrize("mode", MODES)
def test_a_first_version_that_fails_is_taken_away(api: KubernetesApi, mode: str) -> None:
    """A service that a rollout made for a version that never came up is deleted."""
    api.controller.failures[uri(1)] = Failure("ModelLoadFailed", "no gliner_config.json")
    backend = kserve_cluster.backend(mode)

    with pytest.raises(RolloutFailed):
        backend.start(ONE, None)
    backend.roll_back(ONE, None)

    assert not backend.state().ready
    with pytest.raises(KeyError):
        api.isvc()
