"""The built predictor image serves, started as the ServingRuntime says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import container
import httpx
import pytest
import yaml
from container import ROOT, Image

from pipeline.local.process import Process, answers, free_port, running
from predictor import bundle, embedded
from predictor.engines import onnx

pytestmark = pytest.mark.images

TEXT = "Ada Lovelace was born in London."


@pytest.fixture(scope="module")
def kserve() -> dict[str, Any]:
    """The container of the ServingRuntime."""
    text = (ROOT / "manifests" / "base" / "serving-runtime.yaml").read_text()
    spec = yaml.safe_load(text)["spec"]
    one: dict[str, Any] = spec["containers"][0]
    return one


def bundle_for(engine: str, folder: Path) -> Path:
    """The embedded model in a folder that asks for an engine. OpenVINO converts it at the start,
    for which ONNX Runtime would need a package that the image has not."""
    shutil.copytree(embedded.path(), folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**manifest, "engine": engine}))
    if engine == "onnx":
        assert onnx.export(bundle.locate(str(folder)), folder, "fp32")
    folder.chmod(0o755)
    return folder


@pytest.mark.parametrize("engine", ["", "torch", "openvino", "onnx"])
def test_serves_unprivileged_on_a_read_only_root(
    image: Callable[[str], Image], kserve: dict[str, Any], tmp_path: Path, engine: str
) -> None:
    """With the manifest's command it becomes ready and finds entities, with a bundle or without."""
    one = image("predictor")
    port = free_port()
    arguments = [
        argument.replace("{{.Name}}", "gliner")
        .replace("8080", str(port))
        .replace("8081", str(free_port()))
        for argument in (*kserve["command"], *kserve["args"])
    ]
    env = {entry["name"]: entry["value"] for entry in kserve["env"]}
    model = bundle_for(engine, tmp_path / "model") if engine else None
    process = Process("predictor", one.command(arguments, env=env, model=model), tmp_path / "log")
    url = f"http://127.0.0.1:{port}"
    probe = kserve["readinessProbe"]["httpGet"]["path"].replace("{{.Name}}", "gliner")

    with running(process, answers(url + probe)), httpx.Client(base_url=url, timeout=60) as http:
        state = container.status(process.pid)
        body = {"instances": [{"text": TEXT, "labels": ["person", "location"]}]}
        answer = http.post("/v1/models/gliner:predict", json=body)
        about = http.get("/api/v1/config").json()["model"]
        page = http.get("/")

    assert answer.status_code == 200, answer.text
    [prediction] = answer.json()["predictions"]
    found = {(entity["text"], entity["label"]) for entity in prediction["entities"]}
    assert found == {("Ada Lovelace", "person"), ("London", "location")}
    assert about["engine"] == (engine or "torch")
    assert page.status_code == 200
    assert state["Uid"].split() == ["10001"] * 4
    assert state["Gid"].split() == ["10001"] * 4
    assert state["Groups"] == ""
    assert int(state["CapEff"], 16) == 0
    assert int(state["CapBnd"], 16) == 0


def test_health_check_of_the_image(image: Callable[[str], Image], tmp_path: Path) -> None:
    """Docker's check passes beside the entry point with no arguments, not before it is ready."""
    one = image("predictor")
    idle = Process("nothing", one.command(["sleep", "60"], alone=True), tmp_path / "idle")
    with running(idle, lambda: Path(f"/proc/{idle.pid}/comm").read_text() == "sleep\n"):
        assert not one.healthy(idle)

    entry = [*one.config["Entrypoint"], *(one.config["Cmd"] or [])]
    process = Process("predictor", one.command(entry, alone=True), tmp_path / "log")
    with running(process, lambda: one.healthy(process)):
        assert container.status(process.pid)["Name"].startswith("python")
