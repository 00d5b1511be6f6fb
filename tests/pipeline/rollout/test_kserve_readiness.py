"""How long a rollout on KServe waits, and what it says when it no longer does."""

from __future__ import annotations

import kserve_cluster
import pytest
from kserve_cluster import MODES, ONE, TWO, digest, first, uri
from kserve_parts import Failure
from kubernetes_api import KubernetesApi

from pipeline.errors import RolloutFailed
from pipeline.rollout import State
from pipeline.rollout.kserve import Pace


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Failure("ModelLoadFailed", "bundle.json is missing"), "bundle.json is missing"),
        (Failure("ImagePullBackOff", "Back-off pulling image x"), "Back-off pulling image x"),
    ],
    ids=["load", "image"],
)
def test_a_candidate_that_cannot_come_up_fails_with_its_reason(
    api: KubernetesApi, mode: str, failure: Failure, reason: str
) -> None:
    """A failure that lasts ends the wait early; it names the cause and costs callers nothing."""
    backend = kserve_cluster.backend(mode, Pace(ready=60, failed=0.1, poll=0.005))
    first(backend)
    api.controller.failures[uri(2)] = failure

    with pytest.raises(RolloutFailed, match=reason) as caught:
        backend.start(TWO, ONE)
    seen = backend.state()
    backend.roll_back(TWO, ONE)

    assert "\n" not in str(caught.value)
    assert (seen.ready, seen.canary, bool(seen.reason)) == (False, digest(2), True)
    assert backend.state() == State(stable=digest(1))
    assert api.controller.history == [{uri(1): 100}]


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_that_passes_is_waited_out(api: KubernetesApi, mode: str) -> None:
    """Kubernetes tries again by itself, so a store that was away for a moment fails no rollout."""
    backend = kserve_cluster.backend(mode, Pace(ready=60, failed=20, poll=0.005))
    first(backend)
    api.controller.failures[uri(2)] = Failure("ModelLoadFailed", "connection refused", ticks=30)

    backend.start(TWO, ONE)

    assert backend.state() == State(stable=digest(1), canary=digest(2))


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_candidate_is_waited_for_but_not_for_ever(api: KubernetesApi, mode: str) -> None:
    """Readiness has a limit, and the text says what was still missing."""
    first(kserve_cluster.backend(mode))
    api.controller.ready_after = 100_000

    with pytest.raises(RolloutFailed, match=r"is not done after 0.3 s: .*2.* is not ready"):
        kserve_cluster.backend(mode, Pace(ready=0.3, failed=5, poll=0.005)).start(TWO, ONE)
    api.controller.ready_after = 40
    kserve_cluster.backend(mode).start(TWO, ONE)

    assert kserve_cluster.backend(mode).state() == State(stable=digest(1), canary=digest(2))


@pytest.mark.parametrize("mode", MODES)
def test_a_controller_that_never_acts_is_named(api: KubernetesApi, mode: str) -> None:
    """A status that does not move is told apart from a model that is slow."""
    quick = Pace(ready=0.2, failed=5, poll=0.005)
    api.controller.stuck = True
    with pytest.raises(RolloutFailed, match="is its controller running"):
        kserve_cluster.backend(mode, quick).start(ONE, None)
    api.controller.stuck = False
    first(kserve_cluster.backend(mode))
    api.controller.stuck = True

    with pytest.raises(RolloutFailed, match=r"KServe has (made no|not taken)"):
        kserve_cluster.backend(mode, quick).start(TWO, ONE)
