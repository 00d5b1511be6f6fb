"""`make` on machines that are not ready for it: one clear line each, and nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = (
    *("awk", "bash", "cat", "dirname", "env", "grep", "head", "make", "rm", "sed", "sh", "tail"),
    "tee",
)


class Machine:
    """A copy of the project's top, and a PATH that holds only what is put there."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "project"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml"):
            self.root.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, self.root)
        shutil.copytree(ROOT / "scripts", self.root / "scripts")
        shutil.copytree(ROOT / "requirements", self.root / "requirements")
        compiled = Path("predictor", "engines")
        (self.root / compiled).mkdir(parents=True)
        for file in (ROOT / compiled).glob("*.[ch]"):
            shutil.copy(file, self.root / compiled)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)
        self.has("df", "echo Filesystem 1024-blocks Used Available; echo disk 9 9 99999999 1% /")

    def has(self, name: str, script: str) -> None:
        """Put a command on the PATH."""
        file = self.bin / name
        file.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        file.chmod(0o755)

    def has_python(
        self, name: str, version: str, *, venv: bool = True, pip: str = "exit 0", uv: str = "exit 1"
    ) -> None:
        """Put a Python on the PATH that knows its version and what the scripts ask of it."""
        minor = ".".join(version.split(".")[:2])
        make_venv = 'mkdir_p "$4/bin"; cp_self "$4/bin/python"' if venv else "exit 1"
        self.has(
            name,
            f"""
mkdir_p() {{ {shutil.which("mkdir")} -p "$1"; }}
cp_self() {{ {shutil.which("cp")} "$0" "$1"; }}
case "$*" in
    *sys.version_info*3*) echo {version} ;;
    *sys.version_info*2*) echo {minor} ;;
    *ensurepip*) {"exit 0" if venv else "exit 1"} ;;
    "-m venv"*) {make_venv} ;;
    "-m pipeline demo"*) echo "demo $*, HF_HUB_OFFLINE=${{HF_HUB_OFFLINE-}}" ;;
    "-m pip --version") exit 0 ;;
    "-m pip install --quiet uv=="*) cp_self ".venv-uv/bin/uv" ;;
    scripts/uv_install.py*) {uv} ;;
    "-m pip"*) {pip} ;;
    -*requirements*) exec {sys.executable} "$@" ;;
esac""",
        )

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=self.root,
            env={"PATH": str(self.bin), "HOME": str(self.root)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def complaint(self, *arguments: str) -> str:
        """The one line, beside make's own, with which a target gives up."""
        result = self.make(*arguments)
        lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]

        assert result.returncode != 0
        assert len(lines) == 1, result.stderr
        assert result.stdout == ""
        assert not (self.root / ".venv").exists()
        return lines[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_help_is_the_default(machine: Machine) -> None:
    """`make` alone lists the targets with a line on each."""
    output = machine.make().stdout

    for target in ("demo", "test", "check", "lock", "clean"):
        assert f"make {target}" in output


def test_old_python(machine: Machine) -> None:
    """What was found and what helps are in one line."""
    machine.has_python("python3", "3.9.2")

    assert machine.complaint("demo") == (
        f"Python 3.10 to 3.12 is needed, found 3.9.2 at {machine.bin}/python3; "
        "install python3.11 or run make PYTHON=/path/to/python3.11 …"
    )


def test_no_python(machine: Machine) -> None:
    """A machine without Python is told the same."""
    assert "is needed, found none; install python3.11" in machine.complaint("demo")


def test_new_python(machine: Machine) -> None:
    """A Python that is too new is no better than one that is too old."""
    machine.has_python("python3", "3.13.0")

    assert "found 3.13.0" in machine.complaint("check")


def test_python_without_venv(machine: Machine) -> None:
    """Debian's Python without its venv package is told what is missing."""
    machine.has_python("python3", "3.11.2", venv=False)

    assert "install python3.11-venv" in machine.complaint("demo")


def test_chosen_python_that_does_not_fit(machine: Machine) -> None:
    """PYTHON is checked too, and never replaced by another one in silence."""
    machine.has_python("python3.11", "3.11.7")
    machine.has_python("old", "3.8.1")

    assert machine.complaint("demo", "PYTHON=old") == (
        "Python 3.10 to 3.12 is needed, PYTHON=old is 3.8.1."
    )
    assert "PYTHON=nowhere does not run" in machine.complaint("demo", "PYTHON=nowhere")


def test_full_disk(machine: Machine) -> None:
    """A disk that cannot take the installation is noticed before it begins."""
    machine.has_python("python3.11", "3.11.7")
    machine.has("df", "echo Filesystem 1024-blocks Used Available; echo disk 9 9 1048576 99% /")

    assert machine.complaint("demo") == (
        f"The disk is full: installing needs 4 GB, 1024 MB are free at {machine.root}; "
        "free some space and run this again."
    )


def test_disk_that_becomes_full(machine: Machine) -> None:
    """So is one that fills up meanwhile."""
    machine.has_python(
        "python3.11", "3.11.7", pip='echo "ERROR: [Errno 28] No space left on device"; exit 1'
    )

    result = machine.make("demo")

    assert result.returncode != 0
    assert "The disk became full while installing" in result.stderr


def test_failed_installation_shows_pips_reason(machine: Machine) -> None:
    """Any other failure quotes pip, and the next run tries again."""
    machine.has_python(
        "python3.11",
        "3.11.7",
        pip='echo "ERROR: No matching distribution for torch"; exit 1',
        uv='echo "ERROR: uv has one too"; exit 1',
    )

    first, second = machine.make("demo"), machine.make("demo")

    for result in (first, second):
        assert result.returncode != 0
        assert "ERROR: No matching distribution for torch Installing" in result.stderr
        assert ".venv/install-demo.log" in result.stderr


def test_uv_installs(machine: Machine) -> None:
    """Where uv does it, pip has only the project itself to do; uv is installed once."""
    machine.has_python(
        "python3.11",
        "3.11.7",
        uv='echo "$*" >> uv.txt',
        pip='[ "$*" = "-m pip install --no-deps --no-build-isolation --editable ." ]',
    )

    installed = machine.make("demo")
    machine.make("check")

    assert installed.returncode == 0, installed.stderr
    assert (machine.root / "uv.txt").read_text().splitlines() == [
        f"scripts/uv_install.py .venv-uv/bin/uv .venv/bin/python requirements/{name}.lock"
        for name in ("demo", "dev")
    ]


def test_pip_takes_over_from_uv(machine: Machine) -> None:
    """What uv could not do is in the log, and pip does it."""
    machine.has_python("python3.11", "3.11.7", uv='echo "uv: no"; exit 1', pip='echo "$*"')

    installed = machine.make("demo")

    assert installed.returncode == 0, installed.stderr
    assert (machine.root / ".venv" / "install-demo.log").read_text().splitlines()[-4:] == [
        "uv: no",
        "uv did not do it; pip does.",
        "-m pip install --requirement requirements/demo.lock",
        "-m pip install --no-deps --no-build-isolation --editable .",
    ]


def test_python_311_is_preferred(machine: Machine) -> None:
    """Of several that fit, 3.11 is taken."""
    for version in ("3.10.13", "3.11.7", "3.12.1"):
        machine.has_python(f"python{version.rsplit('.', 1)[0]}", version)

    assert "with Python 3.11" in machine.make("demo").stdout


def test_second_run_installs_nothing(machine: Machine) -> None:
    """Once installed, the demo starts at once; a new lock installs again."""
    machine.has_python("python3.11", "3.11.7")

    first, second = machine.make("demo"), machine.make("demo")
    with (machine.root / "requirements" / "demo.lock").open("a") as lock:
        lock.write("one-more==1.0\n")
    third = machine.make("demo")

    assert ["Installing" in run.stdout for run in (first, second, third)] == [True, False, True]


def test_test_environment_serves_the_demo(machine: Machine) -> None:
    """Where the tests' packages are installed, the demo needs nothing more."""
    machine.has_python("python3.11", "3.11.7")
    machine.make("check")

    assert "Installing" not in machine.make("demo").stdout


def test_demo_passes_its_variables(machine: Machine) -> None:
    """ONCE, the ports and MODEL reach the demo; only a named model may go online."""
    machine.has_python("python3.11", "3.11.7")

    plain = machine.make("demo").stdout
    full = machine.make(
        "demo", "ONCE=1", "HTTP_PORT=9000", "GRPC_PORT=9001", "MLFLOW_PORT=9002", "MODEL=a/b"
    ).stdout

    assert (
        "--http-port 8080 --grpc-port 8081 --mlflow-port 5000 --backends embedded "
        "--model embedded, HF_HUB_OFFLINE=1"
    ) in plain
    assert (
        "--http-port 9000 --grpc-port 9001 --mlflow-port 9002 --backends embedded "
        "--model a/b --once, HF_HUB_OFFLINE=\n"
    ) in full


def test_chromium_needs_debian(machine: Machine, tmp_path: Path) -> None:
    """Where Chromium cannot be installed, the reason is said and nothing fails."""
    release = tmp_path / "os-release"
    release.write_text("ID=alpine\n")

    result = subprocess.run(
        ["bash", "scripts/system.sh", "chromium"],
        cwd=machine.root,
        env={"PATH": str(machine.bin), "OS_RELEASE": str(release)},
        capture_output=True,
        text=True,
    )

    assert result.returncode == 0
    assert "chromium: not installed and this is not Debian or Ubuntu" in result.stdout


def test_chromium_is_installed_with_root(machine: Machine, tmp_path: Path) -> None:
    """On Debian with root, apt-get is asked; its package lists are refreshed if that fails."""
    release, calls = tmp_path / "os-release", tmp_path / "calls"
    release.write_text("ID=debian\n")
    machine.has("id", "echo 0")
    machine.has("apt-get", f'echo "$*" >> {calls}; [ "$1" = update ] || grep -q update {calls}')

    subprocess.run(
        ["bash", "scripts/system.sh", "chromium"],
        cwd=machine.root,
        env={"PATH": str(machine.bin), "OS_RELEASE": str(release)},
        check=True,
    )

    install = "install --yes --no-install-recommends chromium"
    assert calls.read_text().splitlines() == [install, "update", install]


def test_a_package_that_there_is_not_takes_no_other_along(machine: Machine, tmp_path: Path) -> None:
    """apt-get installs none of several where it lacks one: then each is asked for by itself, and
    the one that is missing is named."""
    release, calls = tmp_path / "os-release", tmp_path / "calls"
    release.write_text("ID=ubuntu\n")
    machine.has("id", "echo 0")
    machine.has("apt-get", f'echo "$*" >> {calls}; case "$*" in *chromium*) exit 100 ;; esac')

    result = subprocess.run(
        ["bash", "scripts/system.sh", "chromium", "prometheus", "prometheus-alertmanager"],
        cwd=machine.root,
        env={"PATH": str(machine.bin), "OS_RELEASE": str(release)},
        capture_output=True,
        text=True,
        check=True,
    )

    install = "install --yes --no-install-recommends"
    assert calls.read_text().splitlines()[1:] == [
        "update",
        f"{install} chromium",
        f"{install} prometheus",
        f"{install} prometheus-alertmanager",
    ]
    assert "\nchromium: not installed and apt-get could not install them" in result.stdout
