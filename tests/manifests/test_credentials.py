"""Keys of S3: drawn once, ignored by git, and wired to the names that pods look for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path, PurePosixPath

import kustomized
import manifest_schemas
import pytest
import yaml
from kustomized import ROOT

from pipeline import graph


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of sa/credentials without anybody's keys."""
    return Path(
        shutil.copytree(
            ROOT / "sa" / "credentials",
            tmp_path / "credentials",
            ignore=shutil.ignore_patterns("*.env*"),
        )
    )


def generate(folder: Path) -> dict[str, str]:
    """Draw keys; the files and what is in them."""
    subprocess.run([folder / "generate.sh"], check=True, capture_output=True, timeout=30)
    return {one.name: one.read_text() for one in folder.glob("*.env")}


def test_keys_are_drawn_once(folder: Path) -> None:
    """A second call changes no key that a server knows already."""
    first = generate(folder)
    second = generate(folder)

    assert set(first) == {"s3-read.env", "s3-write.env"}
    assert first == second
    assert len(set("".join(first.values()).split())) == 4


def test_keys_are_for_their_owner_alone(folder: Path) -> None:
    """Other users of the machine cannot read them."""
    generate(folder)

    assert {one.stat().st_mode & 0o777 for one in folder.glob("*.env")} == {0o600}


def test_the_secrets_are_those_that_pods_name(folder: Path) -> None:
    """KServe finds the reading keys by the service account, steps the others by the graph."""
    generate(folder)
    secrets = {
        one["metadata"]["name"]: one for one in yaml.safe_load_all(kustomized.kustomize(folder))
    }
    account = kustomized.of(kustomized.build("+"), "ServiceAccount")[0]

    assert [one["name"] for one in account["secrets"]] == ["gliner-s3-read"]
    assert set(secrets) == {"gliner-s3-read", graph.S3_SECRET}
    for one in secrets.values():
        assert set(one["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
        assert manifest_schemas.problems(one) == ()


def test_both_ways_make_the_same_secrets(folder: Path) -> None:
    """A secret store gives the same names, keys and address of S3."""
    generate(folder)
    drawn = {
        one["metadata"]["name"]: (set(one["data"]), one["metadata"].get("annotations", {}))
        for one in yaml.safe_load_all(kustomized.kustomize(folder))
    }
    stored = {
        one["spec"]["target"]["name"]: (
            {each["secretKey"] for each in one["spec"]["data"]},
            one["spec"]["target"].get("template", {}).get("metadata", {}).get("annotations", {}),
        )
        for one in kustomized.of(kustomized.build("+"), "ExternalSecret")
    }

    assert drawn == stored


def test_git_ignores_keys(folder: Path) -> None:
    """Keys are never committed by chance."""
    [pattern] = [
        line for line in (ROOT / ".gitignore").read_text().splitlines() if "sa/credentials" in line
    ]

    for name in generate(folder):
        assert PurePosixPath("/sa/credentials", name).match(pattern)


def test_the_predictors_keys_only_read() -> None:
    """What a store shall allow to the reading keys changes nothing, and less than the others."""
    reading, writing = (
        {
            (action, resource)
            for statement in json.loads((ROOT / "sa" / "s3" / name).read_text())["Statement"]
            for action in statement["Action"]
            for resource in statement["Resource"]
        }
        for name in ("read.json", "write.json")
    )

    assert {action.partition(":")[2][:3] for action, _ in reading} == {"Get", "Lis"}
    assert reading < writing
