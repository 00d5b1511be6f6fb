"""When alerts on metrics of others fire and stay quiet, and who exports what they read."""

from __future__ import annotations

from alert_cases import Case, Series

EXPORTERS = {
    "up": "Prometheus",
    "container_memory_working_set_bytes": "cAdvisor",
    "container_cpu_cfs_periods_total": "cAdvisor",
    "container_cpu_cfs_throttled_periods_total": "cAdvisor",
    "kube_pod_container_resource_limits": "kube-state-metrics",
    "kube_pod_container_status_last_terminated_reason": "kube-state-metrics",
    "kube_pod_container_status_restarts_total": "kube-state-metrics",
    "kube_pod_container_status_waiting_reason": "kube-state-metrics",
    "certmanager_certificate_expiration_timestamp_seconds": "cert-manager",
    "istio_requests_total": "Istio",
    "kubeflow_recurring_run_enabled": "kube-state-metrics",
    "kubeflow_recurring_run_next_timestamp_seconds": "kube-state-metrics",
}
"""Metrics that no predictor has, as their exporters document them."""

WHERE = {"namespace": "gliner", "pod": "gliner-predictor-00002-deployment-5c8-x2"}
OTHER = {**WHERE, "pod": "mlflow-7f-abc"}
FIRST, SECOND = ({"destination_service_name": f"gliner-predictor-0000{n}"} for n in (1, 2))
# In the way of both where Knative keeps it there.
ACTIVATOR = {"destination_workload": "activator"}
SCHEDULE = {"namespace": "gliner", "name": "gliner-refreshx7k2p"}
CERTIFICATE = {"namespace": "istio-system", "name": "gliner-tls"}


def series(metric: str, values: str, /, **labels: str) -> Series:
    """A series by its labels."""
    written = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {f"{metric}{{{written}}}": values}


def container(metric: str, values: str, **labels: str) -> Series:
    """A series about the predictor's container in a pod, ours unless the labels say otherwise."""
    return series(metric, values, **{"container": "kserve-container", **WHERE, **labels})


def memory(used: str, **labels: str) -> Series:
    """What a container uses of a limit of 100."""
    return container("container_memory_working_set_bytes", used, **labels) | container(
        "kube_pod_container_resource_limits", "100x60", resource="memory", **labels
    )


def ended(restarts: str, reason: str = "OOMKilled") -> Series:
    """Why a container ended last, and how often it was started anew."""
    return container(
        "kube_pod_container_status_last_terminated_reason", "1x60", reason=reason
    ) | container("kube_pod_container_status_restarts_total", restarts)


def throttled(cut_short: str) -> Series:
    """Periods that were cut short, of a hundred a minute."""
    return container("container_cpu_cfs_throttled_periods_total", cut_short) | container(
        "container_cpu_cfs_periods_total", "0+100x60"
    )


def waiting(values: str, reason: str = "CrashLoopBackOff") -> Series:
    """A container that is not started."""
    return container("kube_pod_container_status_waiting_reason", values, reason=reason)


def certificate(expires: int, **labels: str) -> Series:
    """A certificate's end, in seconds after promtool's beginning of time."""
    return series(
        "certmanager_certificate_expiration_timestamp_seconds",
        f"{expires}x200",
        issuer_name="letsencrypt",
        **{**CERTIFICATE, **labels},
    )


def met(service: dict[str, str], **by_code: str) -> Series:
    """What a gateway met at a Service, by code."""
    own = {"destination_workload": f"{service['destination_service_name']}-deployment"}
    found: Series = {}
    for code, values in by_code.items():
        labels = {"reporter": "source", "response_code": code.lstrip("c"), **own, **service}
        found |= series("istio_requests_total", values, **labels)
    return found


def scheduled(enabled: str, due: str, **labels: str) -> Series:
    """A recurring run of Kubeflow's, and when its next run is due."""
    where = {**SCHEDULE, **labels}
    found = series("kubeflow_recurring_run_enabled", enabled, **where)
    return found | series("kubeflow_recurring_run_next_timestamp_seconds", due, **where)


DAY = 86_400
FIRES = [
    # Due after ten minutes, and not started for an hour.
    Case("GlinerRecurringRunMissing", scheduled("1x120", "600x120"), "90m", "", SCHEDULE),
    Case("GlinerRecurringRunMissing", scheduled("1x9 0x60", "86400x69"), "40m", "", {}),
    Case("GlinerRecurringRunMissing", scheduled("1x9", "86400x9"), "60m", "", {}),
    Case("GlinerMemoryHigh", memory("95x30"), "16m", "95%", WHERE),
    Case("GlinerOutOfMemory", ended("0x5 1x9"), "9m", "", WHERE),
    Case("GlinerThrottled", throttled("0+60x40"), "20m", "60%", WHERE),
    Case("GlinerCrashLoop", waiting("1x20"), "6m", "", WHERE),
    # Between two tries it is not said to wait.
    Case("GlinerCrashLoop", waiting("1 0 1 1 0 0 1 0 1 0 0"), "10m", "", WHERE),
    Case("GlinerCertificateOld", certificate(10 * DAY), "80m", "9d 22h 40m 0s", CERTIFICATE),
    Case("GlinerCertificateEnds", certificate(2 * DAY), "20m", "1d 23h 40m 0s", CERTIFICATE),
    Case(
        "GlinerCanaryWorse",
        met(FIRST, c200="0+60x40") | met(SECOND, c200="0+8x40", c503="0+2x40"),
        "20m",
        "20%",
        SECOND,
    ),
    # By the activator.
    Case(
        "GlinerCanaryWorse",
        met(FIRST | ACTIVATOR, c200="0+60x40")
        | met(SECOND | ACTIVATOR, c200="0+8x40", c503="0+2x40"),
        "20m",
        "20%",
        SECOND,
    ),
    # One had it between for a while.
    Case(
        "GlinerCanaryWorse",
        met(FIRST | ACTIVATOR, c200="0+60x12 720x30")
        | met(FIRST, c200="0x12 60+60x30")
        | met(SECOND | ACTIVATOR, c200="0+8x40", c503="0+2x40"),
        "20m",
        "20%",
        SECOND,
    ),
]
QUIET = [
    # Each run was started, and the next is due.
    Case("GlinerRecurringRunMissing", scheduled("1x120", "600x10 90000x110"), "90m"),
    Case("GlinerRecurringRunMissing", scheduled("1x120", "600x120", name="churn-x"), "90m"),
    # An old one that is disabled, beside one that is not.
    Case(
        "GlinerRecurringRunMissing",
        scheduled("0x120", "600x120", name="gliner-old") | scheduled("1x120", "90000x120"),
        "90m",
    ),
    # Where nothing exports them.
    Case("GlinerRecurringRunMissing", {}, "90m"),
    Case("GlinerMemoryHigh", memory("85x30"), "16m"),
    Case("GlinerMemoryHigh", memory("95x30", **OTHER), "16m"),
    # It ended for want of memory long ago.
    Case("GlinerOutOfMemory", ended("1x40"), "30m"),
    Case("GlinerOutOfMemory", ended("0x5 1x9", reason="Error"), "9m"),
    Case("GlinerThrottled", throttled("0+40x40"), "20m"),
    Case("GlinerCrashLoop", waiting("1x20", reason="ContainerCreating"), "6m"),
    Case("GlinerCrashLoop", waiting("1 0x20"), "10m"),
    Case("GlinerCertificateOld", certificate(20 * DAY), "80m"),
    # One that was never issued has no end.
    Case("GlinerCertificateOld", certificate(0), "80m"),
    Case("GlinerCertificateEnds", certificate(10 * DAY), "20m"),
    Case("GlinerCertificateEnds", certificate(2 * DAY, name="shop-tls"), "20m"),
    # Both fail alike: that is not the canary's doing.
    Case(
        "GlinerCanaryWorse",
        met(FIRST, c200="0+48x40", c503="0+12x40") | met(SECOND, c200="0+8x40", c503="0+2x40"),
        "20m",
    ),
    Case("GlinerCanaryWorse", met(SECOND, c200="0+8x40", c503="0+2x40"), "20m"),
    # A name that is a caller's, as Istio writes it where no Service was found.
    Case(
        "GlinerCanaryWorse",
        met(FIRST, c200="0+60x40")
        | met(
            {"destination_service_name": "gliner-predictor.gliner.svc.cluster.local"},
            c503="0+10x40",
        ),
        "20m",
    ),
    # Ten requests say little.
    Case(
        "GlinerCanaryWorse",
        met(FIRST, c200="0+60x40") | met(SECOND, c200="0+0.8x40", c503="0+0.2x40"),
        "20m",
    ),
]
