"""What the documents promise: their links lead somewhere and their examples run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import servers

from pipeline.local.process import Process, answers, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def anchors(document: Path) -> set[str]:
    """The addresses of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Each link within the project names a file that exists, and a heading in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if re.match(r"https?:|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_has_no_blanks() -> None:
    """Every measurement stands in the README; none was left for later."""
    assert re.findall(r"TIME_\w+|TO" + r"DO", README) == []


@pytest.mark.server
@pytest.mark.parametrize("command", [one for one in blocks("bash") if one.startswith("curl")])
def test_curl_examples_run(server: servers.RunningServer, command: str) -> None:
    """Each curl command of the README finds the entities it was written for."""
    command = command.replace("http://localhost:8080", server.url).replace("curl ", "curl -sS ", 1)

    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60
    )

    json.loads(done.stdout)
    assert "Ada Lovelace" in done.stdout
    assert "London" in done.stdout


@pytest.mark.server
def test_python_example_runs(server: servers.RunningServer) -> None:
    """The README's gRPC client runs as it stands."""
    [example] = blocks("python")

    done = subprocess.run(
        [sys.executable, "-c", example.replace("localhost:8081", server.grpc)],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"^Ada Lovelace person (0\.\d+|1\.0)$", done.stdout, re.MULTILINE)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_lifecycle_without_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its three blocks, as they stand but for the ports, start servers and bring a version up."""
    section = (ROOT / "docs/pipeline.md").read_text("utf-8").partition("without the demo\n")[2]
    blocks = re.findall(r"^```bash\n(.*?)^```$", section.partition("\n## ")[0], re.M | re.S)
    mlflow_port, http_port, grpc_port = map(str, servers.free_ports(3))
    started, predictor, runs = (one.replace("5000", mlflow_port).strip() for one in blocks)
    predictor += f" --http_port {http_port} --grpc_port {grpc_port}"
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    mlflow, serving = (f"http://127.0.0.1:{port}" for port in (mlflow_port, http_port))
    for name in [one for one in os.environ if one.startswith(("MLFLOW_", "PIPELINE_", "GLINER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIPELINE_TRACKING_URI", mlflow)
    monkeypatch.setenv("PIPELINE_PREDICTOR_URL", serving)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.chdir(tmp_path)

    with (
        running(Process("MLflow", bash(started), tmp_path / "1.log"), answers(f"{mlflow}/health")),
        running(Process("predictor", bash(predictor), tmp_path / "2.log"), lambda: True),
    ):
        done = subprocess.run(bash(runs), capture_output=True, text=True, timeout=600)
        serves = httpx.get(f"{serving}/api/v1/config", trust_env=False).json()["following"]

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"before the rollout: no predictor answers at {serving}; start one with" in done.stdout
    assert "refresh: promoted, version 1" in done.stdout
    assert (serves["state"], serves["source"]) == ("current", "models:/gliner-ner@champion")


def bash(script: str) -> list[str]:
    return ["bash", "-ec", script]


def test_each_alert_says_how_it_was_tried() -> None:
    """Every alert that has a runbook has its line, and what tried it up to the message names it."""
    text = (ROOT / "docs" / "operate.md").read_text("utf-8")
    table = text.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    runbooks = re.findall(r"^## (Gliner\w+)$", (ROOT / "docs/alerts.md").read_text("utf-8"), re.M)
    rows = [line for line in table.splitlines() if line.startswith("| [")]

    named = [name for row in rows for name in re.findall(r"\[(Gliner\w+)\]", row)]
    assert sorted(named) == sorted(runbooks)
    source = ""
    for row in rows:
        [file] = re.findall(r"`(tests/[\w/]+\.py)`", row) or [source]
        source = file
        if "**to the message:**" in row:
            tried = (ROOT / file).read_text("utf-8")
            assert all(name in tried for name in re.findall(r"\[(Gliner\w+)\]", row)), row
        assert (ROOT / file).is_file()
