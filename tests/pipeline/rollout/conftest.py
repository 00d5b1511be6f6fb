"""A Kubernetes cluster with KServe, for rollouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kserve_ingress import Ingress
    from kubernetes_api import KubernetesApi


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesApi]:
    """A Kubernetes API that this process's kubeconfig leads to."""
    import kserve_cluster  # the clients take a second that other tests have no use for

    with kserve_cluster.reached(tmp_path, monkeypatch) as started:
        yield started


@pytest.fixture
def ingress(api: KubernetesApi) -> Iterator[Ingress]:
    """The way into its cluster."""
    import kserve_cluster
    import kserve_ingress
    import rollouts

    with kserve_ingress.running(api.controller) as started:
        for number in (1, 2, 3):
            served = (kserve_cluster.digest(number), rollouts.Manner())
            started.manners[kserve_cluster.uri(number)] = served
        yield started
