"""OpenVINO, whose converter would report to its makers if it found the package that does so."""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino as ov  # noqa: E402

__all__ = ["ov"]
