"""The rollout's Lease: one holder at a time, whatever clocks say and whoever dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import kserve_cluster
import pytest
from kserve_cluster import ONE, TWO
from kubernetes_answers import Fault
from kubernetes_api import KubernetesApi

from pipeline.errors import RolloutBusy
from pipeline.rollout.cluster import Cluster
from pipeline.rollout.kserve import KServe, Pace
from pipeline.rollout.lease import Lease
from pipeline.settings import Settings

NAME = "gliner-rollout"
LONG_AGO, FAR_AHEAD = "2001-01-01T00:00:00.000000Z", "2101-01-01T00:00:00.000000Z"


def backend() -> KServe:
    """A backend whose lease is over after a second."""
    return kserve_cluster.backend(pace=Pace(ready=2, failed=0.2, poll=0.005, lease=1))


def held(holder: str, renewed: str = LONG_AGO) -> dict[str, object]:
    """A Lease as a holder left it."""
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 1,
        "acquireTime": renewed,
        "renewTime": renewed,
        "leaseTransitions": 3,
    }
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": "gliner"},
        "spec": spec,
    }


@pytest.fixture
def cluster(api: KubernetesApi) -> Cluster:
    """Somebody else's way to the same API."""
    return Cluster(Settings(rollout="kserve"))


@pytest.fixture
def holder(api: KubernetesApi) -> Iterator[None]:
    """A run that holds the lease and renews it."""
    with backend().lock("run-1"):
        yield


def test_a_second_rollout_is_told_who_is_at_it(holder: None) -> None:
    """A holder that renews is seen to live well before its lease would be over."""
    began = time.monotonic()

    with pytest.raises(RolloutBusy, match="run-1 rolls out just now"), backend().lock("run-2"):
        pass

    assert time.monotonic() - began < 1


def test_a_lease_that_was_given_back_is_free_at_once(api: KubernetesApi) -> None:
    """The end of a rollout does not make the next one wait."""
    with backend().lock("run-1"):
        taken = api.lease()["spec"]
    free = api.lease()["spec"]

    began = time.monotonic()
    with backend().lock("run-2"):
        waited = time.monotonic() - began

    assert taken["holderIdentity"].startswith("run-1_")
    assert (free["holderIdentity"], free["leaseTransitions"]) == ("", 1)
    assert waited < 0.5


@pytest.mark.parametrize("renewed", [LONG_AGO, FAR_AHEAD], ids=["behind", "ahead"])
def test_a_dead_holder_is_waited_out_by_our_own_clock(
    api: KubernetesApi, cluster: Cluster, renewed: str
) -> None:
    """What the holder's clock said is not believed: neither a time long past nor one to come."""
    cluster.create_lease(held("run-1_dead", renewed))
    began = time.monotonic()

    with backend().lock("run-2"):
        waited = time.monotonic() - began
        spec = api.lease()["spec"]

    assert 1 <= waited < 2.5
    assert spec["holderIdentity"].startswith("run-2_")
    assert spec["leaseTransitions"] == 4


def test_the_same_run_tried_again_waits_as_well(cluster: Cluster) -> None:
    """The pod of the first try may still be alive: its name alone is no right."""
    cluster.create_lease(held("run-1_dead"))
    began = time.monotonic()

    with backend().lock("run-1"):
        waited = time.monotonic() - began

    assert waited >= 1


def test_one_of_many_wins(api: KubernetesApi) -> None:
    """Of several that start together one gets the lease; the others learn its name."""
    together = threading.Barrier(3)
    done = threading.Event()
    won: list[str] = []
    lost: list[str] = []

    def run(name: str) -> None:
        together.wait()
        try:
            with backend().lock(name):
                won.append(name)
                done.wait(5)
        except RolloutBusy as busy:
            lost.append(str(busy))
            if len(lost) == 2:
                done.set()

    threads = [threading.Thread(target=run, args=(f"run-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert all(text.startswith(f"{won[0]} rolls out") for text in lost)
    assert len(lost) == 2


def test_a_lease_outlives_its_duration_while_it_is_renewed(api: KubernetesApi) -> None:
    """A rollout takes longer than a lease."""
    rollout = backend()
    with rollout.lock("run-1"):
        time.sleep(1.5)
        rollout.state()

        assert api.lease()["spec"]["leaseTransitions"] == 0


def test_a_lost_lease_ends_the_rollout(api: KubernetesApi, cluster: Cluster) -> None:
    """Where somebody took the lease, the next call says so and moves nothing."""
    rollout = backend()
    kserve_cluster.first(rollout)
    with rollout.lock("run-1"):
        rollout.start(TWO, ONE)
        taken = held("run-2_alive")
        metadata = cluster.lease(NAME).metadata  # type: ignore[union-attr]
        taken["metadata"] = {"name": NAME, "resourceVersion": metadata.resource_version}
        cluster.replace_lease(NAME, taken)
        time.sleep(0.6)

        with pytest.raises(RolloutBusy, match=r"lost its lease .* run-2 holds it now"):
            rollout.step(50)

    assert api.isvc()["spec"]["predictor"]["canaryTrafficPercent"] == 0
    assert api.lease()["spec"]["holderIdentity"] == "run-2_alive"


def test_a_lease_that_cannot_be_renewed_is_lost(api: KubernetesApi) -> None:
    """A holder that cannot reach the API stops by itself before another one may start."""
    rollout = backend()
    with rollout.lock("run-1"):
        api.faults.append(Fault(path="/leases/", cut="before", times=1000))
        time.sleep(1.2)

        with pytest.raises(RolloutBusy, match="could not be renewed in time"):
            rollout.state()


def test_a_hiccup_loses_no_lease(api: KubernetesApi) -> None:
    """Renewals that fail once or meet another writer are tried again in time."""
    rollout = backend()
    with rollout.lock("run-1"):
        api.faults.append(Fault(path="/leases/", cut="before", times=2))
        api.faults.append(Fault(path="/leases/", method="PUT", status=409, times=1))
        time.sleep(1.5)

        rollout.state()

        assert [fault.times for fault in api.faults] == [0, 0]


def test_a_lost_answer_loses_no_lease(api: KubernetesApi) -> None:
    """A Lease that was made although nobody said so is recognised as one's own."""
    api.faults.append(Fault(path="/leases", method="POST", cut="after"))
    began = time.monotonic()

    with backend().lock("run-1"):
        waited = time.monotonic() - began
        holder = api.lease()["spec"]["holderIdentity"]

    assert holder.startswith("run-1_")
    assert waited < 1


def test_labels_of_a_lease_survive(api: KubernetesApi, cluster: Cluster) -> None:
    """Whoever labelled the Lease finds the labels again."""
    labelled = held("")
    labelled["metadata"] = {"name": NAME, "namespace": "gliner", "labels": {"team": "search"}}
    cluster.create_lease(labelled)

    with Lease(Settings(rollout="kserve"), "run-1", seconds=1):
        pass

    assert api.lease()["metadata"]["labels"] == {"team": "search"}
