"""Keys of S3 and of the API: drawn once, ignored by git, wired to the names that pods look for."""

from __future__ import annotations

import base64
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
from predictor.keys import Keys


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

    assert set(first) == {
        "s3-read.env",
        "s3-write.env",
        "reviews.env",
        "api-keys.env",
        "api-key.env",
    }
    assert first == second
    assert len(set("".join(first.values()).split())) == 7


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
    s3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert {name: set(one["data"]) for name, one in secrets.items()} == {
        "gliner-s3-read": s3,
        graph.S3_SECRET: s3,
        "gliner-api-keys": {"keys"},
        graph.KEY_SECRET: {"key"},
        "gliner-reviews": {"secret"},
    }
    for one in secrets.values():
        assert manifest_schemas.problems(one) == ()


def _data(folder: Path, secret: str) -> dict[str, str]:
    [data] = [
        one["data"]
        for one in yaml.safe_load_all(kustomized.kustomize(folder))
        if one["metadata"]["name"] == secret
    ]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_the_predictor_knows_the_keys_that_were_drawn(folder: Path) -> None:
    """The pipeline's and each caller's; the file itself holds none of them."""
    generate(folder)
    done = subprocess.run(
        [folder / "add-key.sh", "acme"], check=True, capture_output=True, text=True, timeout=30
    )
    theirs = done.stdout.strip()
    ours = _data(folder, graph.KEY_SECRET)["key"]
    file = folder / "keys"
    file.write_text(_data(folder, "gliner-api-keys")["keys"])
    keys = Keys(file)

    assert keys.caller({"x-api-key": theirs}) == "acme"
    assert keys.caller({"x-api-key": ours}) == "pipeline"
    assert theirs not in file.read_text()
    assert ours not in file.read_text()


@pytest.mark.parametrize("name", ["", "-x", "a b", "a=b", "a\nb"])
def test_a_caller_has_a_name_that_fits_a_line(folder: Path, name: str) -> None:
    """Another is refused, and nothing is written."""
    done = subprocess.run([folder / "add-key.sh", name], capture_output=True, timeout=30)

    assert done.returncode == 2
    assert not (folder / "api-keys.env").exists()


def test_predictors_read_the_keys_where_they_are_mounted() -> None:
    """The setting names a file in a folder that is the Secret's, not the file alone: a single file
    would stay as it was when the Secret changes."""
    built = kustomized.build("+gpu+istio+pipeline+kpa+api-keys")
    [[_, pod]] = kustomized.pods(built)
    [container] = pod["containers"]
    env = {one["name"]: one.get("value", "") for one in container["env"]}
    path = PurePosixPath(env["GLINER_API_KEYS_FILE"])
    [mount] = [
        one for one in container["volumeMounts"] if PurePosixPath(one["mountPath"]) == path.parent
    ]
    [volume] = [one for one in pod["volumes"] if one["name"] == mount["name"]]

    assert mount["readOnly"] is True
    assert "subPath" not in mount
    assert volume["secret"] == {"secretName": "gliner-api-keys"}
    assert path.name == "keys"


def test_no_service_without_keys_is_built_by_mistake() -> None:
    """Without a ServingRuntime the component would protect nothing: the build stops."""
    with pytest.raises(RuntimeError, match="nothing selected by ServingRuntime"):
        kustomized.build("+raw-container+api-keys")


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
        for one in kustomized.of(
            kustomized.build("+gpu+istio+pipeline+kpa+api-keys"), "ExternalSecret"
        )
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
