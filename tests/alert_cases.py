"""When each alert of `prometheus/rules.yaml` fires and when it stays quiet, on our own metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

POD = {"instance": "pod:8080", "job": "gliner"}

Series = dict[str, str]
"""What a series is, by its name and labels: values a minute apart, in promtool's words."""


@dataclass(frozen=True)
class Case:
    """An alert at a moment.

    Attributes:
        series: what Prometheus has seen.
        at: the moment.
        value: what `$value` reads as in the alert's words.
        labels: those of the alert beside its own; None where it should be quiet.
    """

    alert: str
    series: Series
    at: str
    value: str = ""
    labels: dict[str, str] | None = field(default=None)


def pod(name: str, values: str, **labels: str) -> Series:
    """A series of one pod."""
    written = ",".join(f'{key}="{value}"' for key, value in {**POD, **labels}.items())
    return {f"{name}{{{written}}}": values}


def answers(**by_status: str) -> Series:
    """Requests by their status: `s200="0+9x60"`."""
    found: Series = {}
    for status, values in by_status.items():
        found |= pod("gliner_requests_total", values, protocol="v1", status=status.lstrip("s"))
    return found


def seconds(within: str, count: str) -> Series:
    """Requests within half a second, and all."""
    return pod("gliner_request_seconds_bucket", within, protocol="grpc", le="0.5") | pod(
        "gliner_request_seconds_count", count, protocol="grpc"
    )


def waits(short: str, count: str) -> Series:
    """Waits of half a second at most, and all, of which none is over one."""
    found: Series = {}
    for bound, values in {"0.5": short, "1.0": count, "+Inf": count}.items():
        found |= pod("gliner_queue_seconds_bucket", values, le=bound)
    return found


def heard_from(values: str, every: float) -> Series:
    """When a pod last heard from the registry, and how often it asks, in seconds."""
    return pod("gliner_follow_checked_timestamp_seconds", values) | pod(
        "gliner_follow_period_seconds", f"{every}x200"
    )


def versions(*names: str) -> Series:
    """Pods and what each serves."""
    found: Series = {}
    for number, name in enumerate(names):
        found |= pod("gliner_model_info", "1x200", instance=f"pod{number}:8080", version=name)
    return found


INSTANCE = {"instance": POD["instance"]}
FAILED = {**POD, "result": "failed"}
FIRES = [
    Case("GlinerErrorsFast", answers(s200="0+90x60", s500="0+10x60"), "20m", "10%", {}),
    Case("GlinerErrorsFast", answers(s200="0+90x60", s429="0+10x60"), "20m", "10%", {}),
    Case("GlinerErrorsFast", answers(OK="0+90x60", INTERNAL="0+10x60"), "20m", "10%", {}),
    Case("GlinerErrorsFast", answers(s200="0+96x600", s503="0+4x600"), "7h", "4%", {}),
    Case("GlinerErrorsSlow", answers(s200="0+98x600", s504="0+2x600"), "7h", "2%", {}),
    Case("GlinerErrorsSlow", answers(s200="0+99x999", s504="0+1x999"), "16h", "1%", {}),
    Case("GlinerLatencyFast", seconds("0+80x60", "0+100x60"), "20m", "20%", {}),
    Case("GlinerLatencySlow", seconds("0+96x600", "0+100x600"), "7h", "4%", {}),
    Case("GlinerDown", pod("up", "1 0x10"), "4m", "", POD),
    # It hangs, and after an hour still does.
    Case("GlinerDown", pod("up", "1x30 0x90"), "33m", "", POD),
    Case("GlinerDown", pod("up", "1x30 0x90"), "46m", "", POD),
    Case("GlinerDown", pod("up", "1x30 0x90"), "100m", "", POD),
    # It never began to answer.
    Case("GlinerDown", pod("up", "0x30"), "18m", "", POD),
    Case("GlinerGone", {}, "6m", "", {}),
    Case("GlinerGone", pod("up", "0x10"), "6m", "", {}),
    Case("GlinerNotReady", pod("gliner_ready", "0x10"), "6m", "", POD),
    Case("GlinerRestarts", pod("process_start_time_seconds", "1 2 3 4x10"), "9m", "3", POD),
    Case("GlinerQueueLong", waits("0+10x30", "0+100x30"), "16m", "972.2ms", INSTANCE),
    Case(
        "GlinerSwapFailed", pod("gliner_swaps_total", "0x5 1x9", result="failed"), "9m", "", FAILED
    ),
    Case("GlinerNotSwapped", pod("gliner_follow_failed", "1x20"), "16m", "", POD),
    Case("GlinerRegistrySilent", heard_from("60x60", every=15), "40m", "39m 0s", POD),
    # It should have asked again after an hour.
    Case("GlinerRegistrySilent", heard_from("60x120", every=3600), "100m", "1h 39m 0s", POD),
    Case("GlinerVersionsDiffer", versions("3", "4"), "121m", "2", {}),
]
QUIET = [
    # What a caller got wrong is an answer.
    Case("GlinerErrorsFast", answers(s200="0+5x60", s400="0+5x60", s500="0+0x60"), "20m"),
    # Ten minutes of failures that are over, after hours without one.
    Case("GlinerErrorsFast", answers(s200="0+90x420", s500="0x380 10+10x9 100x30"), "400m"),
    Case("GlinerErrorsFast", answers(s200="0+98x600", s503="0+2x600"), "7h"),
    Case("GlinerErrorsSlow", answers(s200="0+996x999", s504="0+4x999"), "16h"),
    Case("GlinerLatencyFast", seconds("0+95x600", "0+100x600"), "7h"),
    Case("GlinerLatencySlow", seconds("0+991x999", "0+1000x999"), "16h"),
    Case("GlinerDown", pod("up", "1 0 1x10"), "4m"),
    # A slow start: the model is fetched and loaded.
    Case("GlinerDown", pod("up", "0x12 1x20"), "12m"),
    Case("GlinerDown", pod("up", "0x12 1x20"), "30m"),
    # One that was deleted while it did not answer.
    Case("GlinerDown", pod("up", "1x5 0 stale"), "20m"),
    Case("GlinerGone", pod("up", "0x10") | pod("up", "1x10", instance="other:8080"), "6m"),
    Case("GlinerNotReady", pod("gliner_ready", "0x3 1x10"), "6m"),
    Case("GlinerRestarts", pod("process_start_time_seconds", "1 2 3x10"), "9m"),
    Case("GlinerQueueLong", waits("0+99x30", "0+100x30"), "16m"),
    Case("GlinerSwapFailed", pod("gliner_swaps_total", "0x5 1x9", result="ok"), "9m"),
    Case("GlinerNotSwapped", pod("gliner_follow_failed", "1x10 0x10"), "16m"),
    # A predictor that follows nothing has never heard from a registry.
    Case("GlinerRegistrySilent", heard_from("0x60", every=0), "50m"),
    # One that asks every hour has nothing to hear between.
    Case("GlinerRegistrySilent", heard_from("60x59 3660x60", every=3600), "59m"),
    Case("GlinerRegistrySilent", heard_from("60x59 3660x60", every=3600), "110m"),
    Case("GlinerVersionsDiffer", versions("4", "4"), "121m"),
]
