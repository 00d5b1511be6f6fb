"""Workflows and the Jenkinsfile: valid, pinned, and calling what there is in the same order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_groovy
import yaml
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
JENKINSFILE = (ROOT / "Jenkinsfile").read_text(encoding="utf-8")
DOCUMENT = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
_OURS = re.compile(r"(?:scripts/[a-z]+\.sh|\.ci/run|make [a-z]+)")


def texts() -> dict[str, str]:
    return {one.name: one.read_text(encoding="utf-8") for one in WORKFLOWS}


def steps(name: str) -> list[dict[str, Any]]:
    """All steps of a workflow, in order."""
    jobs = yaml.safe_load(texts()[name])["jobs"].values()
    return [step for job in jobs for step in job.get("steps", ())]


def sh(node: Node) -> list[str]:
    """What a Jenkinsfile's `sh` steps run, in order."""
    if node.type in ("juxt_function_call", "function_call", "method_call", "command"):
        words = (node.text or b"").decode().split(None, 1)
        if words and words[0] == "sh":
            return [words[1]]
    return [one for child in node.children for one in sh(child)]


def jenkinsfile() -> Node:
    parser = Parser(Language(tree_sitter_groovy.language()))
    return parser.parse(JENKINSFILE.encode()).root_node


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
    ],
)
def test_githubs_schema_knows_every_field(schema: str, files: list[Path]) -> None:
    """By the schemas that come with check-jsonschema."""
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)

    assert files
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing() -> None:
    """Templates in shell, too many rights, credentials that stay, actions that are not pinned."""
    done = subprocess.run(
        [ROOT / "scripts" / "scan.sh", "workflows"], capture_output=True, text=True, cwd=ROOT
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_would_find_something(tmp_path: Path) -> None:
    """A title of anybody's in a shell command is what it is for."""
    bad = tmp_path / "bad.yml"
    bad.write_text(
        "on: issues\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n"
        "      - run: echo '${{ github.event.issue.title }}'\n"
    )
    done = subprocess.run(
        [BIN / "zizmor", "--offline", bad], capture_output=True, text=True, cwd=tmp_path
    )

    assert done.returncode != 0
    assert "template-injection" in done.stdout + done.stderr


@pytest.mark.parametrize("name", texts())
def test_actions_are_pinned_by_hash(name: str) -> None:
    """And each pin says which version it is; what is called here needs none."""
    for line in texts()[name].splitlines():
        if found := re.search(r"uses: (\S+)(.*)", line):
            assert re.fullmatch(r"\./\S+|[\w./-]+@[0-9a-f]{40}", found[1]), line
            assert found[1][0] == "." or re.match(r" # v\d+\.\d+\.\d+", found[2]), line


@pytest.mark.parametrize("name", texts())
def test_a_workflow_may_read_and_no_more(name: str) -> None:
    """Rights beyond that are those of a job, with what it needs them for beside it."""
    assert yaml.safe_load(texts()[name])["permissions"] == {"contents": "read"}


def commands(text: str) -> list[str]:
    """Our own scripts and targets that a text names, in order."""
    return _OURS.findall(text)


@pytest.mark.parametrize("source", [*texts(), "Jenkinsfile"])
def test_what_is_called_is_there(source: str) -> None:
    """Scripts that may be run, and targets of the Makefile."""
    text = JENKINSFILE if source == "Jenkinsfile" else texts()[source]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for one in commands(text):
        if one.startswith("make "):
            assert one.removeprefix("make ") in targets
        else:
            assert os.access(ROOT / one, os.X_OK), one


def test_both_ways_do_the_same() -> None:
    """Test, scan, build, deploy: by the same scripts, in this order."""
    wanted = [".ci/run", "make scan", "scripts/publish.sh", "scripts/deploy.sh"]
    ran = [one for text in sh(jenkinsfile()) for one in commands(text)]
    by_github = [
        one
        for name in ("test.yml", "scan.yml", "publish.yml", "deploy.yml")
        for step in steps(name)
        for one in commands(step.get("run", ""))
    ]

    assert list(dict.fromkeys(ran)) == wanted
    assert [one for one in dict.fromkeys(by_github) if one != "scripts/image.sh"] == wanted


def test_publishing_waits_for_the_tests() -> None:
    """And what is proposed was built before."""
    jobs = yaml.safe_load(texts()["publish.yml"])["jobs"]

    assert jobs["test"]["uses"] == "./.github/workflows/test.yml"
    assert jobs["image"]["needs"] == "test"
    assert jobs["propose"]["needs"] == "image"


def test_a_workflow_that_calls_another_waits_in_a_line_of_its_own() -> None:
    """GitHub ends what waits in a group when another comes: a push to main must not end the tests
    that publishing waits for. In what is called, `github.workflow` is the caller."""
    [called] = {
        Path(job["uses"]).name
        for text in texts().values()
        for job in yaml.safe_load(text)["jobs"].values()
        if "uses" in job
    }

    group = yaml.safe_load(texts()[called])["concurrency"]["group"]
    assert "${{ github.workflow }}" in group
    assert "${{ github.ref }}" in group


def test_the_jenkinsfile_is_groovy() -> None:
    """The parser meets nothing that it cannot read; it would with a brace too few."""
    assert not jenkinsfile().has_error
    broken = Parser(Language(tree_sitter_groovy.language())).parse(JENKINSFILE.encode()[:-3])
    assert broken.root_node.has_error


def test_production_is_behind_a_person() -> None:
    """The stage that deploys there asks first, and only of a tag."""
    stages = JENKINSFILE.split("stage('")
    [production] = [one for one in stages if "deploy.sh production" in one]

    assert "submitter 'production-approvers'" in production
    assert "beforeInput true" in production
    assert "buildingTag()" in production


def test_production_has_owners() -> None:
    """Its folder, and what it is built from, need the review of those who answer for it."""
    lines = (ROOT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    owned = [line.split()[0] for line in lines if line and line[0] != "#"]
    read = yaml.safe_load(
        (ROOT / "manifests" / "environments" / "production" / "kustomization.yaml").read_text()
    )
    sources = [
        (ROOT / "manifests" / "environments" / "production" / one).resolve()
        for one in (*read["resources"], *read["components"])
    ]

    for path in owned:
        assert (ROOT / path.strip("/")).is_dir(), path
    for source in sources:
        assert any(source.is_relative_to(ROOT / one.strip("/")) for one in owned), source


def test_what_must_be_set_up_is_in_the_docs() -> None:
    """Every secret, variable and credential, and none that is not asked for."""
    whole = "\n".join(texts().values())
    secrets = set(re.findall(r"secrets\.([A-Z_]+)", whole)) - {"GITHUB_TOKEN"}
    variables = set(re.findall(r"vars\.([A-Z_]+)", whole))
    credentials = set(re.findall(r"credentials\('([a-z-]+)'\)", JENKINSFILE))
    table = DOCUMENT.partition("## Jenkins")
    listed = set(re.findall(r"`([a-z-]+)`", table[2].partition("| credential")[2]))

    assert set(re.findall(r"(?:secret|variable) `([A-Z_]+)`", table[0])) == secrets | variables
    assert credentials <= listed


def test_no_secret_is_in_a_file() -> None:
    """Tokens, keys, passwords in addresses, strings of high entropy."""
    done = subprocess.run(
        [ROOT / "scripts" / "scan.sh", "secrets"], capture_output=True, text=True, cwd=ROOT
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    """The same program finds a token that nobody marked."""
    file = tmp_path / "settings.py"
    # In two parts, or it would be found in this file.
    file.write_text("TOKEN = 'ghp_" + "x9Kd72LqPzR4tVb1WnYc6MsHf3GjAe80Qu5o'\n")
    hook = str(BIN / "detect-secrets-hook")
    command = [hook, "--disable-plugin", "KeywordDetector", str(file)]

    assert subprocess.run(command, capture_output=True).returncode == 1
