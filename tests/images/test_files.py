"""What is in the built images, and what is not."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from container import ROOT, Image

import predictor

pytestmark = pytest.mark.images

Images = Callable[[str], Image]
NAMES = ("predictor", "pipeline", "mlflow")
COMPILERS = re.compile(
    r"^([a-z0-9_]+-linux-gnu-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|tcc|ld|as|make|cmake|ninja|rustc|nvcc)"
    r"(-[0-9.]+)?$"
)
_LIST = """
import importlib.metadata as metadata, json
print(json.dumps({one.name: one.version for one in metadata.distributions()}))
"""


def set_ids(root: Path) -> set[str]:
    """Programs that run with rights of their owner or group."""
    return {
        f"/{file.relative_to(root)}"
        for file in root.rglob("*")
        if not file.is_symlink()
        and file.is_file()
        and file.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)
    }


@pytest.mark.parametrize("name", NAMES)
def test_no_compiler(image: Images, name: str) -> None:
    """Nothing on the search path, or in the environment, could build anything."""
    root = image(name).root
    folders = [root / one for one in ("usr/bin", "usr/local/bin", "usr/sbin", "opt/venv/bin")]
    programs = [file.name for folder in folders for file in folder.iterdir()]

    assert "python3" in programs
    assert [one for one in programs if COMPILERS.match(one)] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_rights_beyond_the_base(image: Images, name: str) -> None:
    """No program was added that runs with more rights than who starts it."""
    assert "/usr/bin/su" in set_ids(image("base").root)
    assert set_ids(image(name).root) - set_ids(image("base").root) == set()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_of_the_build(image: Images, name: str) -> None:
    """Neither pip nor its cache and settings, nor any trace of the machine that built it."""
    root = image(name).root

    assert list(root.rglob("pip.conf")) == []
    assert list((root / "opt").iterdir()) == [root / "opt" / "venv"]
    assert not (root / "build").exists()
    for folder in ("root/.cache", "tmp", "var/cache/apt", "var/lib/apt/lists"):
        found = root / folder
        assert [one for one in found.rglob("*") if one.is_file()] == [] or not found.exists()
    bin_folder = root / "opt" / "venv" / "bin"
    assert [one.name for one in bin_folder.iterdir() if one.name.startswith("pip")] == []


@pytest.mark.parametrize("name", NAMES)
def test_only_root_can_change_the_program(image: Images, name: str) -> None:
    """Whoever takes over the process cannot change what it runs, even on a writable root."""
    root = image(name).root
    places = [one for one in (root / "opt", root / "app") if one.exists()]
    files = [file for place in places for file in [place, *place.rglob("*")]]
    kinds = [file.lstat() for file in files if not file.is_symlink()]

    assert len(kinds) > 1000
    assert {(one.st_uid, one.st_gid) for one in kinds} == {(0, 0)}
    assert [one for one in kinds if one.st_mode & stat.S_IWOTH] == []


@pytest.mark.parametrize("name", NAMES)
def test_packages_are_those_of_the_lock(image: Images, name: str) -> None:
    """What is installed is what was locked, at that version, and nothing else."""
    lock = (ROOT / "requirements" / "images" / f"{name}.lock").read_text()
    pins = set(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock, re.MULTILINE))
    listed = image(name).run("python", "-c", _LIST)
    assert listed.returncode == 0, listed.stderr
    found = {
        re.sub(r"[-_.]+", "-", key).lower(): value
        for key, value in json.loads(listed.stdout).items()
    }

    torch = found.pop("torch", "")
    assert len(found) > 50
    assert set(found.items()) - pins == set()
    locked = (ROOT / "requirements" / "images" / "torch.lock").read_text().strip()
    assert torch == ("" if name == "mlflow" else f"{locked.removeprefix('torch==')}+cpu")


@pytest.mark.parametrize("name", NAMES)
def test_bytecode_of_what_a_start_imports(image: Images, name: str) -> None:
    """A read-only root cannot keep it, so it is there; that of all other modules is not."""
    root = image(name).root
    [packages] = root.glob("opt/venv/lib/python3.*/site-packages")
    started = packages / "mlflow" / "server" if name == "mlflow" else root / "app" / name
    sources = [file for file in packages.rglob("*.py") if file.name != "__init__.py"]
    compiled = [file for file in packages.rglob("*.pyc") if not file.name.startswith("__init__")]

    assert (started / "__pycache__" / "__init__.cpython-311.pyc").is_file()
    assert 0 < len(compiled) < len(sources) / 2


@pytest.mark.parametrize("name", NAMES)
def test_labels(image: Images, name: str) -> None:
    """The image says what it is and what it was built from."""
    labels = image(name).config["Labels"]
    prefix = "org.opencontainers.image"

    assert labels[f"{prefix}.title"] == f"gliner-kserve {name}"
    assert labels[f"{prefix}.version"] == predictor.__version__
    assert labels[f"{prefix}.licenses"] == "Apache-2.0"
    assert re.fullmatch(r"[0-9a-f]{40}", labels[f"{prefix}.revision"])
    assert labels[f"{prefix}.base.name"]
    assert labels[f"{prefix}.description"]


@pytest.mark.parametrize("name", NAMES)
def test_user_and_root(image: Images, name: str) -> None:
    """A process is the user of the manifests, gains no rights, and writes to /tmp alone."""
    one = image(name)
    script = "id -u; id -g; id -un; echo x >/tmp/x && cat /tmp/x; echo x >/opt/venv/x"
    done = one.run("sh", "-c", script)

    assert one.user == (10001, 10001)
    assert done.stdout.split() == ["10001", "10001", "gliner", "x"]
    assert "Read-only file system" in done.stderr
    assert "NoNewPrivs:\t1" in one.run("cat", "/proc/self/status").stdout
