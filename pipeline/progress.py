"""What a step tells the person who watches it."""

from __future__ import annotations

import os
import sys

MARK = "PIPELINE_PROGRESS_MARK"
"""The environment variable with what each line begins with: a local run finds them by it."""


def say(text: str) -> None:
    """Print a text at once: Kubeflow and kfp's local runner show a step's output as it comes."""
    mark = os.environ.get(MARK, "")
    for line in text.splitlines() or [""]:
        sys.stdout.write(f"{mark}{line}\n")
    sys.stdout.flush()
