"""The last line of a test run, and what REQUIRE_ALL=1 makes of a skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import skips

TESTS = """
import pytest

def test_runs() -> None:
    pass

@pytest.mark.skip(reason="Chromium is not installed")
def test_skipped() -> None:
    pass
"""


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_two.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "skips", "-p", "no:schemathesis", *arguments]
    path = str(Path(skips.__file__).parent)
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "REQUIRE_ALL": ""} | environment,
        capture_output=True,
        text=True,
    )


def last(output: str) -> str:
    return output.splitlines()[-1]


def test_last_line_counts_and_gives_reasons(tmp_path: Path) -> None:
    """Whoever reads only the last line knows what was not tested, and why."""
    result = run(tmp_path)

    assert result.returncode == 0
    assert last(result.stdout) == "1 passed, 1 skipped: Chromium is not installed (1)"


def test_require_all_fails_on_a_skip(tmp_path: Path) -> None:
    """Where all tests are required, a skipped one fails the run and the last line says so."""
    result = run(tmp_path, REQUIRE_ALL="1")

    assert result.returncode == 1
    assert "a skipped test fails this run" in last(result.stdout)


def test_require_all_passes_without_skips(tmp_path: Path) -> None:
    """Where nothing was skipped, REQUIRE_ALL changes nothing."""
    result = run(tmp_path, "-k", "runs", REQUIRE_ALL="1")

    assert result.returncode == 0
    assert last(result.stdout) == "1 passed"


@pytest.mark.parametrize(
    ("counts", "reasons", "line"),
    [
        ({}, [], "no tests ran"),
        ({"passed": 2}, [], "2 passed"),
        ({"passed": 2, "failed": 1}, [], "2 passed, 1 failed"),
        ({"skipped": 3}, ["b", "a", "b"], "3 skipped: b (2); a (1)"),
    ],
)
def test_last_line(counts: dict[str, int], reasons: list[str], line: str) -> None:
    """Counts that are zero are left out; the commonest reason comes first."""
    assert skips.last_line(counts, reasons) == line
