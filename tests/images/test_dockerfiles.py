"""The Dockerfiles fit the repository, the manifests and one another; nothing is built."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import kustomized
import pytest
import yaml
from kustomized import ROOT

NAMES = ("predictor", "pipeline", "mlflow")


class Line(NamedTuple):
    """One instruction of a Dockerfile, its continued lines joined."""

    word: str
    rest: str


@cache
def stages(name: str) -> list[list[Line]]:
    """A Dockerfile's instructions: what stands before the first FROM, then each stage."""
    text = (ROOT / name / "Dockerfile").read_text()
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[list[Line]] = [[]]
    for line in plain.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Line(word, rest.strip()))
    return found


def rest(lines: list[Line], word: str) -> list[str]:
    return [line.rest for line in lines if line.word == word]


def containers(name: str) -> list[dict[str, Any]]:
    """Every container of the manifests that runs this image."""
    if name == "mlflow":
        objects = list(yaml.safe_load_all(kustomized.kustomize(ROOT / "mlflow" / "base")))
    else:
        objects = [one for built in kustomized.ENVIRONMENTS for one in kustomized.build(built)]
    return [one for one in _within(objects) if f"/{name}" in one["image"].split("@")[0]]


def _within(value: object) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        here = [value] if isinstance(value.get("image"), str) and "name" in value else []
        return here + [one for inner in value.values() for one in _within(inner)]
    if isinstance(value, list):
        return [one for inner in value for one in _within(inner)]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_base_is_an_argument_with_a_place_for_its_digest(name: str) -> None:
    """Both stages stand on one base, by a tag that names its Debian, with a place for a digest."""
    before, *built = stages(name)
    defaults = dict(one.partition("=")[::2] for one in rest(before, "ARG"))

    assert re.fullmatch(r"[a-z0-9.]+/[a-z0-9/]+:3\.11-[a-z0-9-]+", defaults["BASE"])
    assert defaults["DIGEST"] == ""  # one that nobody has looked up would be invented
    assert len(built) == 2
    for stage in built:
        [base] = rest(stage, "FROM")
        assert base.split(" ")[0] == "${BASE}${DIGEST:+@${DIGEST}}"


@pytest.mark.parametrize("name", NAMES)
def test_linter_finds_nothing(name: str) -> None:
    """hadolint knows Dockerfiles, and shellcheck in it the commands."""
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, ROOT / name / "Dockerfile"], capture_output=True, text=True)

    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("name", NAMES)
def test_copied_paths_exist(name: str) -> None:
    """What a Dockerfile copies is in the repository, and is let through by .dockerignore."""
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    ]
    copied = [one for stage in stages(name) for one in rest(stage, "COPY")]
    sources = [path for one in copied if not one.startswith("--from=") for path in one.split()[:-1]]

    assert sources
    for path in sources:
        assert (ROOT / path).exists(), path
        assert any(path == one or path.startswith(f"{one}/") for one in allowed), path
        assert subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 1, path


@pytest.mark.parametrize("name", NAMES)
def test_final_stage_runs_nothing(name: str) -> None:
    """So it has no compiler, and nothing of the machine that built it."""
    final = stages(name)[-1]

    assert rest(final, "RUN") == []
    assert rest(final, "ADD") == []
    assert all(one.startswith("--from=build ") for one in rest(final, "COPY"))


@pytest.mark.parametrize("name", NAMES)
def test_user_is_the_one_of_the_manifests(name: str) -> None:
    """Numbers, since Kubernetes cannot tell whether a name is root."""
    [user] = rest(stages(name)[-1], "USER")
    text = " ".join(rest(stages(name)[1], "RUN"))

    assert f"--uid {user.split(':')[0]} --gid {user.split(':')[1]} " in text
    for one in containers(name) or containers("predictor"):
        context = one["securityContext"]
        assert user == f"{context['runAsUser']}:{context['runAsGroup']}"


def test_predictor_starts_what_the_manifests_start() -> None:
    """The same module, and the ports that the manifests give."""
    final = stages("predictor")[-1]
    [entry] = rest(final, "ENTRYPOINT")
    [ports] = rest(final, "EXPOSE")
    found = containers("predictor")

    assert found
    assert yaml.safe_load(entry) == ["python", "-m", "predictor"]
    for one in found:
        assert "exec python -m predictor" in " ".join(one["command"])
        given = {arg.split("=")[1] for arg in one["args"] if "_port=" in arg}
        assert given == set(ports.split())


def test_mlflow_starts_what_the_manifests_start() -> None:
    """The Deployment gives arguments alone, so the entry point is the program."""
    final = stages("mlflow")[-1]
    [entry], [command] = rest(final, "ENTRYPOINT"), rest(final, "CMD")
    [ports] = rest(final, "EXPOSE")
    [server] = [one for one in containers("mlflow") if "args" in one]

    assert yaml.safe_load(entry) == ["mlflow"]
    assert "command" not in server
    assert set(yaml.safe_load(command)) <= set(server["args"])
    assert ports == str(server["ports"][0]["containerPort"])


@pytest.mark.parametrize("name", NAMES)
def test_home_is_writable_in_the_manifests(name: str) -> None:
    """With a read-only root, what HOME names must be a volume."""
    home = re.search(r"\bHOME=(\S+)", " ".join(rest(stages(name)[-1], "ENV")))

    assert home
    for one in containers(name):
        if "args" in one:
            assert home[1] in [mount["mountPath"] for mount in one["volumeMounts"]]


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_health(name: str) -> None:
    """Each image says what it is, and whether it can be asked how it is."""
    final = stages(name)[-1]
    [labels] = rest(final, "LABEL")
    [health] = rest(final, "HEALTHCHECK")

    for one in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{one}=" in labels
    if name == "pipeline":
        assert health == "NONE"
    else:
        [ports] = rest(final, "EXPOSE")
        assert f"http://127.0.0.1:{ports.split()[0]}/" in health


@pytest.mark.parametrize("name", NAMES)
def test_packages_come_by_hash(name: str) -> None:
    """Each file that pip may take is named by its hash; only torch's is an argument."""
    text = " ".join(rest(stages(name)[1], "RUN"))
    lock = (ROOT / "requirements" / "images" / f"{name}.lock").read_text()
    blocks = [one for one in re.split(r"\n(?=[a-z0-9])", lock) if "==" in one]

    assert "--require-hashes --no-deps" in text
    assert f"requirements/images/{name}.lock" in " ".join(rest(stages(name)[1], "COPY"))
    assert len(blocks) > 50
    assert [one.split()[0] for one in blocks if "--hash=sha256:" not in one] == []
    assert [one.split()[0] for one in blocks if re.match(r"torch==|nvidia-|triton==", one)] == []


@pytest.mark.parametrize("name", NAMES)
def test_locks_of_images_hold_the_versions_that_are_tested(name: str) -> None:
    """Where the lock of the tests has a package for Python 3.11, the image has that version."""
    pin = re.compile(r"^([a-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
    tested: dict[str, set[str]] = {}
    for key, version in pin.findall((ROOT / "requirements" / "dev.lock").read_text()):
        tested.setdefault(key, set()).add(version)
    held = pin.findall((ROOT / "requirements" / "images" / f"{name}.lock").read_text())

    assert [(key, version) for key, version in held if version not in tested.get(key, ())] == []


def test_torch_of_images_is_the_one_that_is_tested() -> None:
    """One pin for every image."""
    pinned = (ROOT / "requirements" / "images" / "torch.lock").read_text().strip()

    assert f"{pinned} " in (ROOT / "requirements" / "predictor.lock").read_text()


def test_no_manifest_runs_what_may_change() -> None:
    """No `latest` anywhere, and images by their digest where others depend on them."""
    files = [file for top in ("manifests", "mlflow") for file in (ROOT / top).rglob("*.yaml")]
    assert [str(file) for file in files if re.search(r":latest\b", file.read_text())] == []
    assert [name for name in NAMES if re.search(r":latest\b", _text(name))] == []
    for one in (*_within(kustomized.build("production")), *containers("mlflow")):
        assert re.search(r"@sha256:[0-9a-f]{64}$", one["image"])


def test_scripts_need_root_and_say_so(tmp_path: Path) -> None:
    """Who may not build gets one line with the other way, and nothing is written."""
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "images.sh", "build"],
        capture_output=True,
        text=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs root" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def _text(name: str) -> str:
    return (ROOT / name / "Dockerfile").read_text()
