"""An InferenceService as rollouts read and write it.

What we know of a model rides in annotations of its predictor, so the cluster alone says what
serves. The service's own annotations and labels are left alone after it was made: KServe copies
them into the pods of the stable version, and changing one would restart those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import PipelineError
from pipeline.settings import Settings

GROUP = "serving.kserve.io"
VERSION = "v1beta1"
PLURAL = "inferenceservices"
MODE = "serving.kserve.io/deploymentMode"
TAG_ROUTING = "serving.kserve.io/enable-tag-routing"

MODEL = "gliner-kserve/model"
"""Annotation of a predictor: the model it was told to serve, as JSON."""
PREVIOUS = "gliner-kserve/previous"
"""Annotation of a predictor: the model that served before."""
AFTER = "gliner-kserve/after"
"""Annotation of a predictor: what KServe had got to when the model was written.

A status that is not past it tells of the model before.
"""
NOTHING = "0"
"""The value of `AFTER` where KServe had got to nothing yet."""
VERSION_LABEL = "gliner-kserve/version"
"""Label of the pods: the version in the registry."""
MANAGED = {"app.kubernetes.io/managed-by": "gliner-kserve-pipeline"}
"""Label of an InferenceService that a rollout made, and may therefore delete."""

Object = dict[str, Any]

_OLD_NAMES = {"Serverless": "Knative", "RawDeployment": "Standard"}
_SOURCES = ("s3", "gs", "https", "http", "hf", "pvc", "oci", "hdfs", "webhdfs", "file")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that an InferenceService serves.

    Attributes:
        version: its number in the registry; 0 for one that this pipeline did not write.
        digest: of its bundle; empty likewise.
        uri: where KServe's storage initializer reads it.
    """

    version: int
    digest: str
    uri: str

    def same_as(self, other: Model) -> bool:
        """Whether both answer alike. Of models that are not ours, only the address is known."""
        return self.digest == other.digest and (bool(self.digest) or self.uri == other.uri)


def checked(uri: str) -> str:
    """The address of a bundle, if KServe can read it.

    Raises:
        PipelineError: it cannot.
    """
    if urlsplit(uri).scheme not in _SOURCES:
        raise PipelineError(
            f"KServe cannot read {uri}: start MLflow with --no-serve-artifacts and an s3:// "
            "artifact root, so that versions have an address that it can"
        )
    return uri


def new(settings: Settings, model: Model, annotations: Mapping[str, str]) -> Object:
    """The first InferenceService. Image, probes and resources come from the ServingRuntime."""
    written = fields(model, None, "")
    predictor: Object = {
        **written,
        "annotations": {key: text for key, text in written["annotations"].items() if text},
        "model": {"modelFormat": {"name": "gliner"}, **written["model"]},
    }
    if settings.service_account:
        predictor["serviceAccountName"] = settings.service_account
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {
            "name": settings.inference_service,
            "namespace": settings.namespace,
            "labels": {"app.kubernetes.io/name": settings.inference_service, **MANAGED},
            "annotations": {MODE: settings.deployment_mode, **annotations},
        },
        "spec": {"predictor": predictor},
    }


def fields(model: Model, previous: Model | None, after: str) -> Object:
    """What a predictor says about a model, as part of a merge patch: None takes away."""
    return {
        "annotations": {
            MODEL: _text(model),
            PREVIOUS: _text(previous) if previous else None,
            # Never empty: a canary's empty annotation may not win over the stable predictor's.
            AFTER: after or NOTHING,
        },
        "labels": {VERSION_LABEL: str(model.version)},
        "model": {"storageUri": model.uri},
    }


def predictor(isvc: Object) -> Object:
    """Its predictor.

    Raises:
        PipelineError: it has none that takes a `storageUri`.
    """
    found: Object = isvc["spec"]["predictor"]
    if "model" not in found:
        raise PipelineError(
            f"InferenceService {isvc['metadata']['name']} has no spec.predictor.model: "
            "a rollout needs one with modelFormat and storageUri"
        )
    return found


def model_of(predictor: Object) -> Model:
    """The model that a predictor serves."""
    uri = str(predictor["model"].get("storageUri", ""))
    known = _model(predictor, MODEL)
    # Somebody may have set another model by hand since; the annotation tells of ours.
    return known if known and known.uri == uri else Model(0, "", uri)


def previous_of(predictor: Object) -> Model | None:
    """The model that served before, where a rollout wrote it down."""
    return _model(predictor, PREVIOUS)


def mode_of(isvc: Object) -> str:
    """Its deployment mode by today's name; empty where neither it nor KServe has said it."""
    annotations = isvc["metadata"].get("annotations") or {}
    mode = (isvc.get("status") or {}).get("deploymentMode") or annotations.get(MODE, "")
    return _OLD_NAMES.get(mode, str(mode))


def is_ours(isvc: Object) -> bool:
    """Whether a rollout made it."""
    return MANAGED.items() <= (isvc["metadata"].get("labels") or {}).items()


def annotation(predictor: Object, key: str) -> str:
    """An annotation, or the empty string."""
    return str((predictor.get("annotations") or {}).get(key, ""))


def component(isvc: Object) -> Object:
    """The predictor's part of the status; empty as long as KServe has written none."""
    found: Object = (isvc.get("status") or {}).get("components", {}).get("predictor", {})
    return found


def host(url: str) -> str:
    """The host that an address names, with its port where it has one."""
    return urlsplit(url).netloc


def _text(model: Model) -> str:
    return json.dumps(asdict(model), separators=(",", ":"))


def _model(predictor: Object, key: str) -> Model | None:
    text = annotation(predictor, key)
    if not text:
        return None
    try:
        found = json.loads(text)
        return Model(int(found["version"]), str(found["digest"]), str(found["uri"]))
    except (ValueError, TypeError, KeyError):
        return None
