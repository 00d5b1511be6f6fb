"""The project's own files agree with one another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import predictor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LOCKS = ("predictor", "pipeline", "demo", "dev")
"""Each holds every pin of those before it."""
BESIDE = ("bench", "bench-fast-gliner")
"""In environments of their own."""
PIN = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9.-]*)(\[[a-z,]+\])?==(?P<version>[^\s;]+)(?P<marker> ; [^#]+)?$"
)
CUDA = re.compile(r"^(nvidia-|cuda-|triton$)")
# Written in parts, so that this file is not its own finding.
FORBIDDEN = re.compile(
    "|".join(
        [
            r"pypi\.o" + "rg",
            r"pythonho" + r"sted\.org",
            r"download\.pyto" + r"rch\.org",
            r"registry\.np" + r"mjs",
            r"(deb|security)\.deb" + r"ian\.org",
            r"/opt/(wh" + r"eels|py" + "pi)",
            r"/wo" + "rk/",
            r"/ro" + r"ot/\.pyenv",
        ]
    )
)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings


def pins(name: str) -> list[str]:
    """The lines of a lock file that name a package, without their comments."""
    lines = (ROOT / "requirements" / f"{name}.lock").read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if not line.startswith("#")]


def project_files() -> list[Path]:
    """What git holds or would hold: tracked files, and untracked ones that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def test_version_is_one(project: dict[str, Any]) -> None:
    """The package says the version that pyproject.toml builds, and the changelog knows it."""
    version = project["project"]["version"]

    assert predictor.__version__ == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_packages_are_listed(project: dict[str, Any]) -> None:
    """Every folder with an `__init__.py` is a package in pyproject.toml, and no other."""
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for top in ("predictor", "pipeline")
        for file in (ROOT / top).rglob("__init__.py")
    }

    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_package_data_exists(project: dict[str, Any]) -> None:
    """Each pattern of files to ship finds some."""
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            assert list(ROOT.joinpath(*package.split(".")).glob(pattern)), f"{package}: {pattern}"


def test_package_data_is_complete(project: dict[str, Any]) -> None:
    """Each file in a package's folder that is no Python and no text for readers is shipped."""
    shipped = {
        file
        for package, patterns in project["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for file in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    others = {
        file
        for file in project_files()
        if file.relative_to(ROOT).parts[0] in ("predictor", "pipeline")
        and file.suffix not in {".py", ".md"}
        and file.name != "Dockerfile"
    }

    assert others <= shipped


@pytest.mark.parametrize("name", [*LOCKS, *BESIDE])
def test_every_line_of_a_lock_is_a_pin(name: str) -> None:
    """A lock holds exact versions and nothing else: no address, no path, no option."""
    assert [line for line in pins(name) if not PIN.match(line)] == []


@pytest.mark.parametrize("name", [*LOCKS, *BESIDE])
def test_locks_hold_no_cuda(name: str) -> None:
    """A CPU build of torch stays free of CUDA packages; a GPU build brings its own."""
    assert [line for line in pins(name) if CUDA.match(line.split("==")[0])] == []


@pytest.mark.parametrize(("smaller", "larger"), list(pairwise(LOCKS)))
def test_each_lock_holds_the_one_before(smaller: str, larger: str) -> None:
    """One .venv serves the demo and the tests, so that the same versions are tested and run."""
    held, wanted = ({one.split(" ;")[0] for one in pins(name)} for name in (larger, smaller))

    assert wanted <= held


def test_locks_hold_what_pyproject_asks_for(project: dict[str, Any]) -> None:
    """No dependency was added without `make lock`."""
    extras = project["project"]["optional-dependencies"]
    for name in (*LOCKS, *BESIDE):
        locked = {line.split("==")[0].split("[")[0] for line in pins(name)}
        for wanted in extras[name]:
            package = re.split(r"[\[<>=~! ]", wanted)[0].lower().replace("_", "-")
            assert package in {*locked, "gliner-kserve"}, f"run `make lock`: {wanted}"


def test_predictor_extra_is_pinned_where_scores_depend_on_it(project: dict[str, Any]) -> None:
    """What computes scores is exact in pyproject.toml too, for those who install without a lock."""
    extra = " ".join(project["project"]["optional-dependencies"]["predictor"])

    for package in ("gliner", "torch", "transformers"):
        assert re.search(rf"\b{package}==\d", extra)


def test_every_dependency_has_a_reason() -> None:
    """Each line of an extra says why the dependency is there."""
    text = (ROOT / "pyproject.toml").read_text()
    extras = text.split("[project.optional-dependencies]")[1].split("\n[")[0]
    lines = [line for line in extras.splitlines() if line.startswith('    "')]

    assert lines
    assert [line for line in lines if not re.search(r'", +# \w', line)] == []


def test_no_registry_and_no_path_of_a_machine() -> None:
    """The project installs from wherever pip is told to, on any machine."""
    findings = [
        f"{file.relative_to(ROOT)}: {found.group()}"
        for file in project_files()
        if file.stat().st_size < 2_000_000
        if (found := FORBIDDEN.search(file.read_bytes().decode(errors="ignore")))
    ]

    assert findings == []


def test_no_init_under_tests_or_mlflow() -> None:
    """Test folders are no packages, and a folder named mlflow never hides the real one."""
    files = [file.relative_to(ROOT) for file in project_files()]

    assert [file for file in files if file.parts[0] == "tests" and file.name == "__init__.py"] == []
    assert [file for file in files if file.parts[0] == "mlflow" and file.suffix == ".py"] == []
    assert [file for file in files if file.parts[0] == "tests" and "mlflow" in file.parts] == []


def test_ci_runs_make_test_with_nothing_skipped() -> None:
    """CI is `make test` in which a skip is a failure."""
    script = (ROOT / ".ci" / "run").read_text()

    assert "set -euo pipefail" in script
    assert "REQUIRE_ALL=1 make test" in script


@pytest.mark.parametrize(
    "file",
    [
        *(".ci/run", "scripts/venv.sh", "scripts/python.sh", "scripts/lock.sh"),
        *("scripts/system.sh", "scripts/images.sh", "scripts/slim.sh"),
        *("scripts/helm.sh", "scripts/uv.sh"),
    ],
)
def test_scripts_can_be_run(file: str) -> None:
    """Scripts keep their executable bit and are valid shell."""
    assert os.access(ROOT / file, os.X_OK)
    subprocess.run(["bash", "-n", file], cwd=ROOT, check=True)
