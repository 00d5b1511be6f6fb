"""What a run ran on."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from predictor import hardware
from predictor.engines import openvino

_LIBRARIES = ("torch", "openvino", "gliner", "onnxruntime", "ray")
_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def forms(wanted: Sequence[str]) -> tuple[str, ...]:
    """What ours takes its turn as here.

    Where the processor has no bf16, OpenVINO would compute in fp32, and this would be measured
    twice: ONNX Runtime's int8 has that turn, the fastest there.
    """
    if "BF16" in openvino.capabilities():
        return tuple(wanted)
    return tuple(dict.fromkeys("onnx-int8" if one == "bf16" else one for one in wanted))


def describe() -> dict[str, Any]:
    """The processor, what of it this process may use, and the libraries."""
    flags, name = set[str](), platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "flags":
                flags = set(value.split())
            elif key.strip() == "model name" and value.strip() not in ("", "unknown"):
                name = value.strip()
    fast = [one for one in _FLAGS if one in flags]
    cores = hardware.choose_threads(0)
    return {
        "what": f"{cores} cores ({name}{'; ' if fast else ''}{', '.join(fast)})",
        "when": time.strftime("%Y-%m-%d"),
        "cores": cores,
        "python": platform.python_version(),
        "libraries": {one: version(one) for one in _LIBRARIES},
    }
