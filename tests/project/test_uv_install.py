"""Tests of `scripts.uv_install`: uv installs from where pip was told to."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from scripts import uv_install

PACKAGE = "gliner-kserve-nowhere-else"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of wheels that holds one package, in two builds of the same version."""
    wheels = tmp_path / "my wheels"
    wheels.mkdir()
    for version in ("1.0", "1.0+cpu"):
        name = PACKAGE.replace("-", "_")
        facts = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(wheels / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", f'build = "{version}"\n')
            wheel.writestr(
                f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n"
            )
            wheel.writestr(
                f"{facts}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            wheel.writestr(f"{facts}/RECORD", "")
    return wheels


def install(tmp_path: Path, told: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script where pip has the settings of a file, into an environment of its own."""
    (tmp_path / "pip.conf").write_text(told)
    (tmp_path / "the.lock").write_text(f"{PACKAGE}==1.0\n")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_"))
    }
    return subprocess.run(
        [sys.executable, uv_install.__file__, uv.find_uv_bin(), python, tmp_path / "the.lock"],
        env=inherited | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def build(tmp_path: Path) -> str:
    """Which build of the package the environment has."""
    code = f"import {PACKAGE.replace('-', '_')} as found; print(found.build)"
    python = tmp_path / "venv" / "bin" / "python"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.slow
def test_a_folder_that_pips_file_names(folder: Path, tmp_path: Path) -> None:
    """It is the only source; of two builds of a version the one with a name is better, as to pip.

    The folder is told as a URL, as pip splits values at spaces as well.
    """
    done = install(
        tmp_path, f"[global]\nno-index = true\n[install]\nfind-links = {folder.as_uri()}\n"
    )

    assert done.returncode == 0, done.stderr
    assert build(tmp_path) == "1.0+cpu"
    assert list((tmp_path / "venv").rglob("*nowhere*.pyc"))


@pytest.mark.slow
def test_variables_count_more_than_a_file(folder: Path, tmp_path: Path) -> None:
    """A constraint that a variable names holds, and the folder of the file does not."""
    (tmp_path / "constraint.txt").write_text(f"{PACKAGE}!=1.0+cpu\n")
    done = install(
        tmp_path,
        f"[global]\nno-index = true\nfind-links = {tmp_path / 'nowhere'}\n",
        PIP_FIND_LINKS=folder.as_uri(),
        PIP_CONSTRAINT=str(tmp_path / "constraint.txt"),
    )

    assert done.returncode == 0, done.stderr
    assert build(tmp_path) == "1.0"


@pytest.mark.slow
def test_what_uv_does_not_know_is_left_to_pip(tmp_path: Path) -> None:
    """Nothing is installed from somewhere else than was meant."""
    done = install(tmp_path, "[global]\nclient-cert = me.pem\n")

    assert done.returncode == 1
    assert done.stderr == "pip is set up with client-cert, which uv does not know\n"
    assert not list((tmp_path / "venv").rglob("*nowhere*"))


def test_each_setting_has_its_word() -> None:
    """Several values are several options; what changes nothing is left out."""
    told = uv_install.settings(
        [
            "global.index-url='https://a/simple'",
            "global.extra-index-url='\\nhttps://b/simple\\nhttps://c/simple'",
            "global.cert='/ca.pem'",
            "global.timeout='15'",
            "list.format='json'",
            "install.trusted-host='b c:8443'",
            ":env:.timeout='180'",
            ":env:.no-index='0'",
            ":env:.disable-pip-version-check='1'",
        ]
    )

    assert uv_install.translated(told) == (
        [
            "--default-index=https://a/simple",
            "--index=https://b/simple",
            "--index=https://c/simple",
            "--allow-insecure-host=b",
            "--allow-insecure-host=c:8443",
        ],
        {"SSL_CERT_FILE": "/ca.pem", "UV_HTTP_TIMEOUT": "180"},
    )
