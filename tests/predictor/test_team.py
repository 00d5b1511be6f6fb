"""Threads that help a pass: no part is lost or done twice, and nobody reads what another writes."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import attention_built
import pytest

from predictor.engines import attention

_ROOT = Path(__file__).parents[2]
_STRICT = ("-Wall", "-Wextra", "-Werror", "-fsanitize=thread", "-pthread")
_SOURCES = ("team.c", "processor.c")


@attention_built.required
@pytest.mark.skipif(platform.machine() != "x86_64", reason="what it helps with is for x86-64")
def test_every_part_is_done_once(tmp_path: Path) -> None:
    """By passes alone and by more of them than there are cores, under a sanitizer for threads."""
    stress = tmp_path / "stress"
    folder = Path(attention.__file__).parent
    own = [str(_ROOT / "tests" / "team_stress.c"), *(str(folder / name) for name in _SOURCES)]
    built = subprocess.run(
        ["cc", "-O1", "-g", *_STRICT, "-o", str(stress), *own],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr

    ran = subprocess.run([str(stress)], capture_output=True, text=True, timeout=240, check=False)

    assert (ran.stdout, ran.stderr) == ("0 wrong, helped: yes\n", "")
