"""What the machine offers the model: device, precision and threads."""

from __future__ import annotations

import os
from pathlib import Path

from predictor.errors import StartupError

CPU_ONLY = ("openvino", "onnx")
"""Engines that give way to torch on any other device."""

_CGROUP = Path("/sys/fs/cgroup")


def choose_device(asked: str, engine: str = "torch") -> str:
    """A torch device.

    Args:
        asked: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        engine: one that was chosen for a CPU, such as `openvino`, has that for `auto`.

    Raises:
        StartupError: it is not there.
    """
    if asked == "cpu" or (asked == "auto" and engine in CPU_ONLY):
        return "cpu"
    import torch  # takes seconds, which a start without it is spared

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    there = {
        "cuda": torch.cuda.is_available()
        and int(asked.partition(":")[2] or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[asked.partition(":")[0]]:
        raise StartupError(f"GLINER_DEVICE={asked}: no such device here; use auto or cpu")
    return asked


def choose_precision(asked: str, device: str, manifest: str) -> str:
    """A precision for a device.

    Args:
        asked: `auto`, `fp32`, `bf16` or `fp16`.
        device: a torch device.
        manifest: what the bundle says was measured to be best, or `auto`.

    Raises:
        StartupError: the device cannot compute in it.
    """
    if asked == "auto":
        # A model in int8 is made for the CPU; elsewhere its own weights are.
        asked = "auto" if manifest == "int8" and device != "cpu" else manifest
    if not device.startswith("cuda"):
        if asked == "fp16" and device == "cpu":
            raise StartupError("GLINER_PRECISION=fp16 needs a GPU; on a CPU use fp32 or bf16")
        return "fp32" if asked == "auto" else asked
    import torch

    if asked == "auto":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if asked == "bf16" and not torch.cuda.is_bf16_supported():
        raise StartupError("GLINER_PRECISION=bf16: this GPU has none; use fp16 or fp32")
    return asked


def choose_threads(asked: int) -> int:
    """CPU threads: what was asked, else what this container may use.

    A pod with a limit of two on a node of 64 would start 64 threads and be throttled.
    """
    if asked:
        return asked
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, int(min(allowed or 1, _cpu_limit())))


def _cpu_limit() -> float:
    """Cores that a container's cgroup gives it: of version 2, or of version 1."""
    newer, older = _CGROUP / "cpu.max", _CGROUP / "cpu"
    if newer.is_file():
        quota, _, period = newer.read_text().partition(" ")
    elif (older / "cpu.cfs_quota_us").is_file():
        quota, period = ((older / f"cpu.cfs_{one}_us").read_text() for one in ("quota", "period"))
    else:
        return float("inf")
    return float("inf") if quota.strip() in ("max", "-1") else int(quota) / int(period)
