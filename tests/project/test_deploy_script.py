"""`scripts/deploy.sh` with a kubectl of few words, which knows what namespace is there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "ghcr.io/gliner-kserve/predictor:0.1.0"
# As kubectl does it: in a namespace that is not there nothing can be compared or put, though the
# namespace is in the same set; 1 says that there are differences.
KUBECTL = """
echo "$*" >>"$FOLDER/calls"
case "$*" in
"apply -f "*/namespace.yaml) touch "$FOLDER/gliner-dev" ;;
"diff -k "* | "apply -k "*)
    if [ ! -e "$FOLDER/gliner-dev" ]; then
        echo 'Error from server (NotFound): namespaces "gliner-dev" not found' >&2
        exit 2
    fi
    case $1 in diff) exit "${DIFFERS:-1}" ;; esac
    ;;
*latestReadyRevision*) printf gliner-predictor-00001 ;;
*image*) printf %s "$IMAGE" ;;
esac
"""


def deploy(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with that kubectl."""
    kubectl = folder / "kubectl"
    kubectl.write_text(f"#!{shutil.which('bash')}\n{KUBECTL}")
    kubectl.chmod(0o755)
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "deploy.sh"), "dev"],
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "FOLDER": str(folder),
            "IMAGE": IMAGE,
            "SECONDS_TO_WAIT": "0",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_first_deployment_makes_its_namespace(tmp_path: Path) -> None:
    """On a cluster without it, all else follows it."""
    done = deploy(tmp_path)
    calls = (tmp_path / "calls").read_text().splitlines()

    assert done.returncode == 0, done.stderr
    assert f"dev runs {IMAGE}" in done.stdout
    assert [one.partition(" manifests")[0] for one in calls[:3]] == [
        "apply -f",
        "diff -k",
        "apply -k",
    ]


@pytest.mark.parametrize(("differs", "code"), [("0", 0), ("1", 0), ("3", 1)])
def test_differences_are_no_failure(tmp_path: Path, differs: str, code: int) -> None:
    """What kubectl cannot compare is one."""
    done = deploy(tmp_path, DIFFERS=differs)

    assert done.returncode == code, done.stderr
