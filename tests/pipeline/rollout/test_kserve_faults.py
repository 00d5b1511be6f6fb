"""A Kubernetes API that fails for a moment, and one that stays away."""

from __future__ import annotations

from time import monotonic

import kserve_cluster
import pytest
from kserve_cluster import MODES, ONE, TWO, digest, first, uri
from kubernetes_answers import Fault
from kubernetes_api import KubernetesApi

from pipeline.errors import PipelineError, Unavailable
from pipeline.rollout.kserve import Pace


def serving(api: KubernetesApi) -> dict[str, float]:
    """Shares of the traffic by storage address, once KServe is through."""
    api.settle()
    return api.controller.history[-1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=409, method="PATCH", times=3, reason="Conflict"),
        Fault(status=429, times=2, headers={"Retry-After": "0"}),
        Fault(status=500, times=2),
        Fault(status=503, method="PATCH", times=2),
        Fault(cut="before", times=2),
        Fault(cut="after", method="PATCH"),
        Fault(cut="after", method="POST"),
    ],
    ids=["conflict", "throttled", "error", "unavailable", "reset", "lost answer", "lost create"],
)
def test_faults_that_pass_change_nothing(api: KubernetesApi, mode: str, fault: Fault) -> None:
    """Conflicts, throttling, errors and lost connections are tried again, and nothing is twice."""
    copied = Fault(**vars(fault))
    backend = kserve_cluster.backend(mode)
    if fault.method == "POST":
        api.faults.append(copied)
    first(backend)
    api.faults.append(copied)

    backend.start(TWO, ONE)
    backend.step(50)
    backend.promote(TWO)

    assert copied.times == 0
    assert serving(api) == {uri(2): 100}
    assert [one.get(uri(2), 0) for one in api.controller.history] == [0, 50, 100]


def test_the_server_says_how_long_to_wait(api: KubernetesApi) -> None:
    """`Retry-After` is waited for, where growing pauses would have asked again at once."""
    backend = kserve_cluster.backend()
    first(backend)
    api.faults.append(Fault(status=429, headers={"Retry-After": "1"}))

    began = monotonic()
    backend.state()

    assert 1 <= monotonic() - began < 3


def test_writers_in_between_are_seen(api: KubernetesApi) -> None:
    """A change decided on an old state is decided again: a person's edit is not written over."""
    backend = kserve_cluster.backend()
    first(backend)
    edits = iter(range(2))

    def intrude() -> None:
        if (number := next(edits, None)) is not None:
            api.edit(lambda isvc: isvc["metadata"]["annotations"].update(note=str(number)))

    api.before_write = intrude
    backend.start(TWO, ONE)

    assert api.isvc()["metadata"]["annotations"]["note"] == "1"
    assert backend.state().canary == digest(2)


def test_a_fight_over_the_service_ends(api: KubernetesApi) -> None:
    """When somebody else always writes first, that is said instead of tried for ever."""
    backend = kserve_cluster.backend(pace=Pace(ready=2, failed=1, poll=0.001))
    first(backend)
    api.faults.append(Fault(status=409, method="PATCH", times=100, reason="Conflict"))

    with pytest.raises(Unavailable, match="changed by somebody else 12 times"):
        backend.start(TWO, ONE)


def test_a_server_that_is_away_is_unavailable(api: KubernetesApi) -> None:
    """After the retries one line says which server does not answer."""
    backend = kserve_cluster.backend(http_retries=1)
    api.faults.append(Fault(cut="before", times=10))

    with pytest.raises(Unavailable, match=r"Kubernetes at http://127.0.0.1:\d+ does not answer"):
        backend.state()
    assert api.faults[0].times == 8


def test_a_slow_server_is_not_waited_for_for_ever(api: KubernetesApi) -> None:
    """Every request has a timeout."""
    backend = kserve_cluster.backend(http_retries=0, http_timeout_seconds=0.1)
    api.faults.append(Fault(seconds=0.5))

    with pytest.raises(Unavailable, match="ReadTimeoutError"):
        backend.state()


def test_a_refusal_is_not_tried_again(api: KubernetesApi) -> None:
    """A missing right is told with the API's words and where to look, after one request."""
    backend = kserve_cluster.backend()
    api.denied.add(("get", "inferenceservices"))

    with pytest.raises(PipelineError, match=r"is forbidden.*pipeline doctor"):
        backend.state()
    assert len(api.requests) == 1
