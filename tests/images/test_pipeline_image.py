"""The built pipeline image runs steps as Kubeflow does: the compiled command, inputs as JSON."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from container import ROOT, Image
from mlflow import MlflowClient

from pipeline.local.process import Process, answers, free_port, running

pytestmark = pytest.mark.images

OUTSIDE = "/tmp/shared"


class Steps:
    """Steps of the compiled graph in the image, with outputs in a folder that both see."""

    def __init__(self, image: Image, tracking_uri: str) -> None:
        graph = yaml.safe_load_all((ROOT / "pipeline" / "compiled" / "refresh.yaml").read_text())
        self._spec: dict[str, Any] = next(graph)
        self._image = image
        self._env = {"PIPELINE_TRACKING_URI": tracking_uri, "HF_HUB_OFFLINE": "1"}

    def run(
        self, name: str, parameters: Mapping[str, object], **inputs: tuple[str, str]
    ) -> dict[str, Path]:
        """Run one step.

        Args:
            name: as the graph has it.
            inputs: for each artifact, the step and the output that it comes from.

        Returns:
            Where each of its output artifacts is.
        """
        component = self._spec["components"][f"comp-{name}"]
        container = self._spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        outputs = component["outputDefinitions"]["artifacts"]
        taken = component["inputDefinitions"].get("artifacts", {})
        given = {
            "inputs": {
                "parameterValues": {"job": "an-image", **parameters},
                "artifacts": {key: _artifact(taken[key], *where) for key, where in inputs.items()},
            },
            "outputs": {
                "artifacts": {key: _artifact(kind, name, key) for key, kind in outputs.items()},
                "outputFile": f"{OUTSIDE}/{name}/executor_output.json",
            },
        }
        folder = self._image.shared / name
        folder.mkdir()
        os.chown(folder, *self._image.user)
        arguments = [one.replace("{{$}}", json.dumps(given)) for one in container["args"]]
        done = self._image.run(*container["command"], *arguments, env=self._env)
        assert done.returncode == 0, done.stdout + done.stderr
        return {key: folder / key for key in outputs}


def _artifact(kind: Mapping[str, Any], step: str, key: str) -> dict[str, Any]:
    place = f"{OUTSIDE}/{step}/{key}"
    one = {"name": key, "type": kind["artifactType"], "uri": place, "metadata": {}}
    return {"artifacts": [one]}


def test_steps_run(image: Callable[[str], Image], mlflow_server: Process) -> None:
    """Fetched, packed and measured: kfp, MLflow's client, torch and the embedded model work."""
    one = image("pipeline")
    shutil.copytree(ROOT / "examples" / "eval", one.shared / "eval")
    steps = Steps(one, mlflow_server.url)
    rules = {"max_age_hours": 0.0, "min_examples": 5}

    data = steps.run("fetch-data", {"source": f"{OUTSIDE}/eval", **rules})["data"]
    candidate = steps.run(
        "prepare",
        {"model": "embedded", "train_data": "", "training": {}, **rules},
        evaluation=("fetch-data", "data"),
    )["candidate"]
    report = steps.run(
        "evaluate", {}, candidate=("prepare", "candidate"), data=("fetch-data", "data")
    )["report"]

    assert (data / "dataset.json").is_file()
    assert (candidate / "model.safetensors").stat().st_size > 1_000_000
    measured = json.loads((report / "evaluation.json").read_text())
    assert measured["candidate"]["subject"]["id"] == "gliner-kserve-embedded"


def test_entry_point_is_the_command_line(image: Callable[[str], Image]) -> None:
    """`docker run pipeline --help` lists the commands."""
    one = image("pipeline")
    done = one.run(*one.config["Entrypoint"], "--help")

    assert done.returncode == 0, done.stderr
    assert "rollback" in done.stdout
    assert one.config["Healthcheck"]["Test"] == ["NONE"]


def test_takes_mlflows_webhooks(
    image: Callable[[str], Image], mlflow_server: Process, tmp_path: Path
) -> None:
    """As the component `reviews` starts it: MLflow gets its address and reaches it, within the
    memory that the component allows."""
    one = image("pipeline")
    text = (ROOT / "manifests" / "components" / "reviews" / "service.yaml").read_text()
    [found] = [each for each in yaml.safe_load_all(text) if each["kind"] == "Deployment"]
    [container] = found["spec"]["template"]["spec"]["containers"]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    env["PIPELINE_TRACKING_URI"] = mlflow_server.url
    env["PIPELINE_WEBHOOK_SECRET"] = "of-a-test"
    arguments = [
        f"--url={url}" if each.startswith("--url=") else each.replace("8090", str(port))
        for each in container["args"]
    ]
    command = one.command([*one.config["Entrypoint"], *arguments], env=env)
    process = Process("reviews", command, tmp_path / "log")
    client = MlflowClient(mlflow_server.url, mlflow_server.url)

    with running(process, answers(f"{url}/health")):
        [webhook] = [each for each in client.list_webhooks() if each.url.startswith(url)]
        result = client.test_webhook(webhook.webhook_id)
        megabytes = psutil.Process(process.pid).memory_info().rss / 2**20
    client.delete_webhook(webhook.webhook_id)

    assert result.success, result
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert 50 < megabytes < 700
