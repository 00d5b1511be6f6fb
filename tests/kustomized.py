"""Manifests as `kubectl kustomize` builds them: the environments and the component combinations."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ("dev", "staging", "production", "local")
CLOUDS = ("aws", "gcp", "azure")
Object = dict[str, Any]

_COMPONENTS = ROOT / "manifests" / "components"
_ACCOUNTS = ROOT / "sa" / "components"
_IMPLIED = (_ACCOUNTS / "standard",)
"""Components that others bring along."""
_NAMESPACE = ROOT / "manifests" / "environments" / "production" / "namespace.yaml"


def combinations() -> Iterator[tuple[str, ...]]:
    """Component combinations that make sense: each mode, container and autoscaler, all else on."""
    knative = ("s3-outside", "istio", "jwt", "pipeline", "spread", "monitoring")
    standard = ("s3-outside", "istio-standard", "pipeline", "standard", "monitoring")
    for rest, scalings in ((knative, ("", "kpa")), (standard, ("", "hpa", "keda"))):
        for scaling in scalings:
            for container in ("", "raw-container", "gpu"):
                yield tuple(filter(None, (container, *rest, scaling)))
    yield ("gpu", "istio", "kpa", "spread", "ab", "monitoring")
    yield ("istio", "pipeline", "kpa", "reviews-profiles")
    yield ("istio", "kpa", "grpc")
    yield ("istio", "pipeline", "kpa", "monitoring", "grpc")
    yield ("istio", "pipeline", "kubeflow-alone", "reviews", "kube-prometheus")
    yield ("istio-standard", "pipeline", "standard", "keda", "kube-prometheus")
    yield ("gpu", "istio", "pipeline", "kpa", "api-keys")
    yield ("istio-standard", "pipeline", "standard", "hpa", "api-keys")
    yield ("istio", "pipeline", "kubeflow-alone", "kpa", "reviews")
    yield ("istio-standard", "pipeline", "standard", "kubeflow-alone", "hpa")
    yield ("s3-outside", "no-keys")
    yield ("pipeline", "tracing")
    yield ("istio-standard", "pipeline", "standard", "hpa", "tracing")
    for cloud in CLOUDS:
        yield ("istio", "pipeline", "spread", "kpa", cloud)
        yield ("istio-standard", "pipeline", "standard", "hpa", cloud)
        yield ("gpu", "kpa", "ab", cloud)
    alone = ("standard", "raw-container", "gpu", "kpa", "spread", "s3-outside", "ab", "monitoring")
    for one in ("", *alone):
        yield (one,) if one else ()


COMBINATIONS = tuple(dict.fromkeys(combinations()))


def names() -> list[str]:
    """All that is built: environments by name, combinations as `+` and their components."""
    return [*ENVIRONMENTS, *("+" + "+".join(one) for one in COMBINATIONS)]


@cache
def _built(name: str) -> str:
    if not name.startswith("+"):
        return kustomize(ROOT / "manifests" / "environments" / name)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder)
        shutil.copy(_NAMESPACE, target)
        chosen = [
            folder
            for one in (*name[1:].split("+"), "external-secrets")
            for folder in (_COMPONENTS / one, _ACCOUNTS / one)
            if one and folder.is_dir() and folder not in _IMPLIED
        ]
        # kustomize takes folders by relative paths only, and resolves links in its own.
        above = target.resolve()
        (target / "kustomization.yaml").write_text(
            yaml.safe_dump(
                {
                    "resources": [
                        os.path.relpath(ROOT / "manifests" / "base", above),
                        "namespace.yaml",
                    ],
                    "components": [os.path.relpath(one, above) for one in chosen],
                }
            )
        )
        return kustomize(target)


def build(name: str) -> list[Object]:
    """The objects of an environment, or of a combination such as `+standard+hpa`."""
    return list(yaml.load_all(_built(name), Loader=yaml.CSafeLoader))


def kustomize(folder: Path) -> str:
    """What kustomize makes of a folder.

    Raises:
        RuntimeError: it cannot; the text is kustomize's.
    """
    kubectl, alone = shutil.which("kubectl"), shutil.which("kustomize")
    if not (kubectl or alone):
        pytest.skip("neither kubectl nor kustomize is installed")
    command = [kubectl, "kustomize"] if kubectl else [str(alone), "build"]
    done = subprocess.run(
        [*map(str, command), str(folder)], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def of(objects: list[Object], *kinds: str) -> list[Object]:
    """Those of some kinds."""
    return [one for one in objects if one["kind"] in kinds]


def title(one: Object) -> str:
    """Its kind and name."""
    return f"{one['kind']} {one['metadata']['name']}"


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """What says how pods look: a title and something like a pod's spec."""
    for one in objects:
        if one["kind"] == "ServingRuntime":
            yield title(one), one["spec"]
        elif one["kind"] == "InferenceService" and "containers" in one["spec"]["predictor"]:
            yield title(one), one["spec"]["predictor"]
        elif one["kind"] == "CronJob":
            yield title(one), one["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif "template" in one.get("spec", ()):
            yield title(one), one["spec"]["template"]["spec"]


def predictors(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Those of `containers` that run the predictor."""
    for where, one in containers(objects):
        if where.startswith(("ServingRuntime", "InferenceService")):
            yield where, one


def containers(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Each container that is written out, and where it stands."""
    for where, spec in pods(objects):
        for one in [*spec.get("initContainers", ()), *spec["containers"]]:
            yield f"{where}: {one['name']}", one
