"""What a cluster's exporters say of pods, certificates, recurring runs and a gateway's requests.

cAdvisor, kube-state-metrics, cert-manager and Istio need a cluster. Here one page has the metrics
that our rules read of them, with the names, types and labels of each exporter's documentation, and
values that are measured whenever it is asked for:

- https://github.com/google/cadvisor/blob/master/docs/storage/prometheus.md
- https://github.com/kubernetes/kube-state-metrics/tree/main/docs
- https://cert-manager.io/docs/devops-tips/prometheus-metrics/
- https://istio.io/latest/docs/reference/config/metrics/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import scheduled_workflows
from certificates import Certificate
from gateway import ACTIVATOR, Gateway
from pods import CONTAINER, NAMESPACE, Pod
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from scheduled_workflows import Controller

Family = CounterMetricFamily | GaugeMetricFamily
Labels = Mapping[str, str]


@dataclass(eq=False)
class Cluster(Collector):
    """What there is; a test may change it.

    Attributes:
        pods: those that were not deleted.
    """

    gateway: Gateway
    controller: Controller
    pods: list[Pod] = field(default_factory=list)
    certificates: Sequence[Certificate] = ()

    def collect(self) -> Iterator[Metric]:
        """Measure all of it now."""
        pods = list(self.pods)
        yield from _cadvisor(pods)
        yield from _kube_state_metrics(pods)
        yield from scheduled_workflows.metrics(self.controller.objects())
        yield _cert_manager(self.certificates)
        yield _istio(self.gateway)


def _cadvisor(pods: list[Pod]) -> Iterator[Metric]:
    memory: list[tuple[Labels, float]] = []
    periods: list[tuple[Labels, float]] = []
    throttled: list[tuple[Labels, float]] = []
    for pod in pods:
        labels = {**_container(pod), "id": "/kubepods", "image": "gliner", "name": pod.name}
        cut = pod.limits.periods()
        memory.append((labels, pod.limits.working_set()))
        periods.append((labels, cut[0]))
        throttled.append((labels, cut[1]))
    yield _family(GaugeMetricFamily, "container_memory_working_set_bytes", memory)
    yield _family(CounterMetricFamily, "container_cpu_cfs_periods", periods)
    yield _family(CounterMetricFamily, "container_cpu_cfs_throttled_periods", throttled)


def _kube_state_metrics(pods: list[Pod]) -> Iterator[Metric]:
    labels = {pod.name: {**_container(pod), "uid": pod.name} for pod in pods}
    memory = {"resource": "memory", "unit": "byte", "node": "one"}
    yield _family(
        GaugeMetricFamily,
        "kube_pod_container_resource_limits",
        [({**labels[pod.name], **memory}, pod.limits.memory) for pod in pods if pod.limits.memory],
    )
    yield _family(
        CounterMetricFamily,
        "kube_pod_container_status_restarts",
        [(labels[pod.name], pod.restarts) for pod in pods],
    )
    # Each of these two is there while its reason holds.
    for name, reasons in (
        ("last_terminated_reason", {pod.name: pod.ended for pod in pods}),
        ("waiting_reason", {pod.name: pod.waiting for pod in pods}),
    ):
        yield _family(
            GaugeMetricFamily,
            f"kube_pod_container_status_{name}",
            [({**labels[pod], "reason": reason}, 1) for pod, reason in reasons.items() if reason],
        )


def _cert_manager(certificates: Sequence[Certificate]) -> Metric:
    issuer = {"issuer_group": "cert-manager.io", "issuer_kind": "Issuer", "issuer_name": "own"}
    return _family(
        GaugeMetricFamily,
        "certmanager_certificate_expiration_timestamp_seconds",
        [
            ({"namespace": one.namespace, "name": one.name, **issuer}, one.ends)
            for one in certificates
        ],
    )


def _istio(gateway: Gateway) -> Metric:
    common = {
        "reporter": "source",
        "source_workload": "istio-ingressgateway",
        "source_workload_namespace": "istio-system",
        "source_canonical_service": "istio-ingressgateway",
        "source_canonical_revision": "latest",
        "request_protocol": "http",
        "grpc_response_status": "",
        "connection_security_policy": "unknown",
    }
    found = gateway.counted().items()
    return _family(
        CounterMetricFamily,
        "istio_requests",
        [
            (
                {
                    **common,
                    **_destination(service, workload),
                    "response_code": str(status),
                    "response_flags": flags,
                },
                count,
            )
            for (service, workload, status, flags), count in found
        ],
    )


def _destination(service: str, workload: str) -> Labels:
    """The Service is that of the route; all else, its namespace too, is of the pod behind it
    (source/extensions/filters/http/istio_stats of istio/proxy)."""
    home = "knative-serving" if workload == ACTIVATOR else NAMESPACE
    return {
        "destination_service": f"{service}.{NAMESPACE}.svc.cluster.local",
        "destination_service_name": service,
        "destination_service_namespace": home,
        "destination_workload": workload,
        "destination_workload_namespace": home,
        "destination_canonical_service": ACTIVATOR if workload == ACTIVATOR else service,
        "destination_canonical_revision": "latest",
    }


def _container(pod: Pod) -> dict[str, str]:
    return {"namespace": NAMESPACE, "pod": pod.name, "container": CONTAINER}


def _family(kind: type[Family], name: str, samples: Sequence[tuple[Labels, float]]) -> Metric:
    keys = list(samples[0][0]) if samples else []
    family = kind(name, name, labels=keys)
    for labels, value in samples:
        family.add_metric([labels[key] for key in keys], value)
    return family


@contextmanager
def serving(cluster: Cluster) -> Iterator[str]:
    """Serve its metrics as an exporter does.

    Yields:
        `host:port`.
    """
    registry = CollectorRegistry()
    registry.register(cluster)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
