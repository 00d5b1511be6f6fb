"""KServe backends whose process dies: after each write, at several distances from it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import kserve_cluster
import pytest
from kserve_cluster import MODES, ONE, TWO, digest, uri
from kubernetes_api import KubernetesApi

from pipeline.rollout import State
from pipeline.rollout.kserve import KServe

DISTANCES = (0, 1, 3)
"""Looks at the service between the last write and the end: KServe is so far behind it."""


class Killed(BaseException):
    """The process ends here."""


def dying(mode: str, writes: int, looks: int) -> KServe:
    """A backend that ends once it wrote so often and then looked so often."""
    backend = kserve_cluster.backend(mode)
    cluster = backend._service.cluster
    find, patch = cluster.find, cluster.patch
    left = [writes, looks]

    def mortal_find() -> object:
        if left[0] <= 0:
            left[1] -= 1
            if left[1] < 0:
                raise Killed
        return find()

    def mortal_patch(body: dict[str, object]) -> None:
        patch(body)
        left[0] -= 1

    cluster.find, cluster.patch = mortal_find, mortal_patch  # type: ignore[method-assign,assignment]
    return backend


def forward(backend: KServe) -> None:
    """A whole rollout."""
    backend.start(TWO, ONE)
    backend.step(50)
    backend.step(100)
    backend.promote(TWO)


def back(backend: KServe) -> None:
    """The way back."""
    backend.roll_back(TWO, ONE)


def dies(act: Callable[[KServe], None], backend: KServe) -> bool:
    """Whether it ended before it was through."""
    try:
        act(backend)
    except Killed:
        return True
    return False


@pytest.mark.parametrize("mode", MODES)
def test_a_rollout_can_be_undone_wherever_it_ended(api: KubernetesApi, mode: str) -> None:
    """Whatever the dead process wrote last, and however far KServe is behind it."""
    kserve_cluster.first(kserve_cluster.backend(mode))
    died = 0
    for writes, looks in product((1, 2, 3, 4), DISTANCES):
        died += dies(forward, dying(mode, writes, looks))
        before = len(api.controller.history)

        back(kserve_cluster.backend(mode))

        api.settle()
        assert kserve_cluster.backend(mode).state() == State(stable=digest(1)), (writes, looks)
        assert api.controller.history[-1] == {uri(1): 100}
        assert not any("" in one for one in api.controller.history[before:]), (writes, looks)
    assert died >= 9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [50, 100])
def test_a_way_back_can_be_gone_again_wherever_it_ended(
    api: KubernetesApi, mode: str, share: int
) -> None:
    """A roll back that died is completed by the next one, and gives the candidate nothing."""
    kserve_cluster.first(kserve_cluster.backend(mode))
    died = 0
    for writes, looks in product((1, 2, 3), DISTANCES):
        backend = kserve_cluster.backend(mode)
        backend.start(TWO, ONE)
        backend.step(share)
        before = len(api.controller.history)
        died += dies(back, dying(mode, writes, looks))

        back(kserve_cluster.backend(mode))

        api.settle()
        assert kserve_cluster.backend(mode).state() == State(stable=digest(1)), (writes, looks)
        shares = [one.get(uri(2), 0) for one in api.controller.history[before:]]
        assert set(shares) <= {0}, (writes, looks, shares)
        assert not any("" in one for one in api.controller.history[before:])
    assert died >= 3


@pytest.mark.parametrize("mode", MODES)
def test_a_promotion_can_be_finished_wherever_it_ended(api: KubernetesApi, mode: str) -> None:
    """The candidate keeps all traffic while the next process makes it the stable version."""
    kserve_cluster.first(kserve_cluster.backend(mode))
    assert dies(forward, dying(mode, 4, 0))
    before = len(api.controller.history)

    kserve_cluster.backend(mode).promote(TWO)

    api.settle()
    assert kserve_cluster.backend(mode).state() == State(stable=digest(2))
    assert all(one == {uri(2): 100} for one in api.controller.history[before:])
    assert api.controller.history[-1] == {uri(2): 100}
