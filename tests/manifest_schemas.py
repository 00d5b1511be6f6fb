"""Each object of the manifests, held strictly against the schema of its kind.

Kubernetes' own kinds by `kubernetes-validate`, KServe's by its typed models, the few others by
small schemas in `tests/manifests/schemas`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
import typed_objects
import yaml
from kustomized import Object

KUBERNETES = ("1.30", "1.34")
"""The oldest and the newest that the manifests are for."""

_SCHEMAS = Path(__file__).parent / "manifests" / "schemas"
_KSERVE = {"v1alpha1": "V1alpha1", "v1beta1": "V1beta1"}


def problems(one: Object) -> tuple[str, ...]:
    """What is wrong with an object, field by field."""
    # Most objects are the same in most builds, and a schema takes a while to read.
    return _problems(json.dumps(one, sort_keys=True))


@cache
def _problems(text: str) -> tuple[str, ...]:
    return tuple(_find(json.loads(text)))


def _find(one: Object) -> Iterator[str]:
    group, _, version = one["apiVersion"].rpartition("/")
    if group == "serving.kserve.io":
        found = list(typed_objects.problems(f"{_KSERVE[version]}{one['kind']}", one))
        yield from found or _quantities(one)
    elif (_SCHEMAS / f"{group}.yaml").exists():
        yield from typed_objects.problems("V1ObjectMeta", one["metadata"], "metadata")
        for name in one.keys() - {"apiVersion", "kind", "metadata", "spec"}:
            yield f'unknown field "{name}"'
        for error in _validator(group, one["kind"]).iter_errors(one["spec"]):
            where = ".".join(map(str, error.instance_path))
            yield f"spec.{where}: {error.message}"
    else:
        for release in KUBERNETES:
            yield from _core(one, release)


def _core(one: Object, release: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(one, release, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{release}: {'.'.join(map(str, error.path))}: {error.message}"


def _quantities(one: Object) -> Iterator[str]:
    """The typed models have no type for what an autoscaler aims at: it is a quantity."""
    scaling = one["spec"].get("predictor", {}).get("autoScaling", {})
    for metric in scaling.get("metrics", ()):
        for source in ("external", "resource", "podmetric"):
            for field in ("value", "averageValue"):
                found = metric.get(source, {}).get("target", {}).get(field, "0")
                if not isinstance(found, str):
                    yield f"autoScaling: {field}: {found!r} must be a string"


@cache
def _validator(group: str, kind: str) -> Any:
    schemas = yaml.safe_load((_SCHEMAS / f"{group}.yaml").read_text())
    return jsonschema_rs.validator_for(
        {"definitions": schemas.get("definitions", {}), **schemas[kind]}
    )
