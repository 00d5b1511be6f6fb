"""A run that is killed with kfp and all, and run again: the same result, nothing twice.

`test_disturbed_runs` kills at each step, amid its writes into MLflow and without kfp.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.registry import CHALLENGER, Registry
from pipeline.runs import local as localrun
from pipeline.runs.log import SAID
from pipeline.settings import Settings

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(1_200)]

ROWS = [
    {"tokenized_text": ["Ada", "met", "Bob", "in", str(number)], "ner": [[0, 0, "person"]]}
    for number in range(6)
]


@pytest.fixture
def arguments(tiny_bert: Path, tmp_path: Path) -> dict[str, Any]:
    """A run that ends where a reviewer is asked."""
    data = tmp_path / "eval"
    data.mkdir()
    text = "".join(json.dumps(row) + "\n" for row in ROWS)
    (data / "rows.jsonl").write_text(text, encoding="utf-8")
    return {
        "eval_data": str(data),
        "model": str(tiny_bert),
        "min_examples": 1,
        "force": True,
        "review": "required",
    }


def test_killed_and_run_again(settings: Settings, arguments: dict[str, Any]) -> None:
    """One version, one challenger and one question, as if nothing had happened."""
    _killed_at("review", arguments, settings)
    result = localrun.run("refresh", arguments, settings)

    registry = Registry(settings)
    [version] = registry.versions()
    challenger = registry.challenger()
    assert (result.outcome, result.version, result.exit_code) == ("awaiting_review", 1, 0)
    assert challenger is not None
    assert version.number == challenger.number
    assert sum(text.startswith(f"{CHALLENGER}:") for _, text in version.events) == 1


def _killed_at(step: str, arguments: dict[str, Any], settings: Settings) -> None:
    """Start a run, and kill it in the midst of a step."""
    job = f"killed-at-{step}"
    program = (
        "import json, sys; from pipeline import settings; "
        "from pipeline.runs import local as localrun; "
        "localrun.run('refresh', json.loads(sys.argv[1]), settings.load(), job=sys.argv[2])"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(arguments), job],
        env={**os.environ, **localrun.environment(settings)},
    )
    log = settings.home.resolve() / "runs" / job / "run.log"
    text = ""
    # Its first word shows that the step is at its own work and not at its imports.
    while SAID not in text.partition(f"Executing task \x1b[96m'{step}'")[2]:
        assert starter.poll() is None, text[-2_000:]
        time.sleep(0.05)
        text = log.read_text("utf-8", "replace") if log.exists() else ""
    starter.kill()
    starter.wait()
