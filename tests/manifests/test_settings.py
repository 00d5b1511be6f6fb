"""What the manifests tell the two processes is what these understand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import kustomized
import pytest
import yaml
from kustomized import ROOT

from pipeline import graph
from pipeline.__main__ import parser
from pipeline.rollout import objects
from pipeline.settings import Settings as PipelineSettings
from predictor.settings import Settings

_MODES = {"Knative", "Standard"}


@pytest.mark.parametrize("name", kustomized.names())
def test_the_predictor_takes_its_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable is a setting, with a value within its bounds."""
    [[_, container]] = kustomized.predictors(kustomized.build(name))
    ours = {
        one["name"]: one["value"] for one in container["env"] if one["name"].startswith("GLINER_")
    }
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    Settings()

    assert {key.removeprefix("GLINER_").lower() for key in ours} <= set(Settings.model_fields)


@pytest.mark.parametrize("name", kustomized.names())
def test_the_pipeline_takes_its_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config map has the steps' keys, and names the service that is there."""
    build = kustomized.build(name)
    [service, *_] = kustomized.of(build, "InferenceService")
    namespace = kustomized.of(build, "Namespace")[0]["metadata"]["name"]
    for config in kustomized.of(build, "ConfigMap"):
        assert config["metadata"]["name"] == graph.CONFIG_MAP
        assert set(config["data"]) <= set(graph.CONFIG)
        for key, value in config["data"].items():
            monkeypatch.setenv(key, value)
        settings = PipelineSettings()
        assert settings.namespace == namespace
        assert settings.inference_service == service["metadata"]["name"]
        assert settings.deployment_mode == objects.mode_of(service)
        assert settings.service_account == service["spec"]["predictor"]["serviceAccountName"]


@pytest.mark.parametrize("name", [*kustomized.ENVIRONMENTS, "+", "+standard"])
def test_rollouts_can_move_the_service(name: str) -> None:
    """It has a model to set, and none that applying it again would set back."""
    [service] = kustomized.of(kustomized.build(name), "InferenceService")
    model = objects.predictor(service)["model"]

    assert "storageUri" not in model
    assert objects.mode_of(service) in _MODES
    assert not objects.is_ours(service)


@pytest.mark.parametrize("downloaded", [True, False])
def test_a_downloaded_model_is_served(tmp_path: Path, downloaded: bool) -> None:
    """The container serves /mnt/models where KServe put a model, else the image's own."""
    [[_, container]] = kustomized.predictors(kustomized.build("+"))
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    models = tmp_path / "models"
    if downloaded:
        models.mkdir()
    command = [one.replace("/mnt/models", str(models)) for one in container["command"]]
    done = subprocess.run(
        [*command, *container["args"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    chosen = ["--model", str(models)] if downloaded else []
    assert ["-m", "predictor", *chosen, *container["args"]] == done.stdout.splitlines()


def test_the_raw_container_is_the_runtimes() -> None:
    """The variant says the same as the runtime, but for the name that KServe fills in there."""
    [[_, runtime]] = kustomized.containers(kustomized.build("+"))
    [[_, raw]] = kustomized.containers(kustomized.build("+raw-container"))

    assert yaml.safe_dump(raw) == yaml.safe_dump(runtime).replace("{{.Name}}", "gliner")


def test_the_review_service_is_started_as_its_command_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its arguments are the command's, its variables are settings, and it listens on its port."""
    [one] = [
        one
        for where, one in kustomized.containers(kustomized.build("local"))
        if where.startswith("Deployment")
    ]
    options = parser().parse_args(one["args"])
    names = {each["name"] for each in one["env"]} - {"HOME"}
    for each in one["env"]:
        monkeypatch.setenv(each["name"], each.get("value", "from-a-secret"))
    settings = PipelineSettings()

    assert options.port == one["ports"][0]["containerPort"]
    assert {name.removeprefix("PIPELINE_").lower() for name in names} <= set(
        PipelineSettings.model_fields
    )
    assert settings.webhook_secret.get_secret_value()
    assert settings.kfp_host.endswith(".kubeflow.svc.cluster.local:8888")
    probes = {one[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")}
    assert probes == {"/health"}


def test_metrics_that_scale_exist() -> None:
    """KEDA's query asks for a metric that the predictor has."""
    [service] = kustomized.of(
        kustomized.build("+s3-outside+istio-standard+pipeline+standard+keda"), "InferenceService"
    )
    query = service["spec"]["predictor"]["autoScaling"]["metrics"][0]["external"]["metric"]["query"]
    known = (ROOT / "predictor" / "metrics.py").read_text()

    [metric] = re.findall(r"gliner_\w+", query)
    assert f'"{metric}"' in known


@pytest.mark.parametrize(
    "path", sorted((ROOT / "manifests").rglob("*.yaml")), ids=lambda path: path.name
)
def test_each_file_is_used(path: Path) -> None:
    """A kustomization of its folder names it."""
    folder = path.parent / "kustomization.yaml"

    assert path == folder or re.search(rf"\b{path.name}\b", folder.read_text())


@pytest.mark.parametrize("kind", ["manifests", "sa"])
def test_each_component_is_built_and_explained(kind: str) -> None:
    """A component that nobody builds would rot, one that nobody explains is not found."""
    explained = (ROOT / "manifests" / "README.md").read_text()
    built = {*"+".join(kustomized.names()).split("+"), "external-secrets"}

    for folder in (ROOT / kind / "components").iterdir():
        assert folder.name in built
        assert f"{folder.name}`" in explained
