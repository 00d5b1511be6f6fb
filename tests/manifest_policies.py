"""What must hold for every pod, image, secret and label of the manifests.

Each rule takes the objects of one build and names what breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from kustomized import Object, containers, of, pods, predictors, title

Rule = Callable[[list[Object]], Iterator[str]]

_HTTP, _GRPC = 8080, 8081
_SECRETIVE = re.compile(
    r"^(?!MLFLOW_WEBHOOK_ALLOW)(?!.*_FILE$).*(KEY|SECRET|PASSWORD|PASSWD|TOKEN|WEBHOOK)",
    re.IGNORECASE,
)
_OURS = re.compile(
    r"(ghcr\.io|dev\.local)/gliner-kserve/(predictor(-gpu)?|(gliner-kserve-)?pipeline)"
)
_PINNED = re.compile(r"[\w./-]+(@sha256:[0-9a-f]{64}|:[\w][\w.-]*)")


def unprivileged(objects: list[Object]) -> Iterator[str]:
    """No root, no privilege, nothing written but to a volume."""
    want = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for where, one in containers(objects):
        context = one.get("securityContext", {})
        for field, value in want.items():
            if context.get(field) != value:
                yield f"{where}: {field} is {context.get(field)}"
        if not context.get("runAsUser", 0) or context.get("privileged"):
            yield f"{where}: runs as root"
    for where, spec in pods(objects):
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(field):
                yield f"{where}: {field}"
        for volume in spec.get("volumes", ()):
            bounded = "sizeLimit" in volume.get("emptyDir", ())
            kinds = (
                {"emptyDir"},
                {"configMap"},
                {"secret"},
                {"projected"},
                {"persistentVolumeClaim"},
            )
            if volume.keys() - {"name"} not in kinds:
                yield f"{where}: volume {volume['name']} is of no kind that is allowed"
            elif "emptyDir" in volume and not bounded:
                yield f"{where}: volume {volume['name']} has no limit"


def bounded(objects: list[Object]) -> Iterator[str]:
    """CPU and memory are asked for and limited; a GPU is asked for as it is limited."""
    asked = [(where, one.get("resources", {})) for where, one in containers(objects)]
    asked += [(title(one), one["spec"]["resources"]) for one in of(objects, "InferenceGraph")]
    for where, resources in asked:
        for part in ("requests", "limits"):
            for what in ("cpu", "memory"):
                if what not in resources.get(part, {}):
                    yield f"{where}: no {part} of {what}"
        limits, requests = resources.get("limits", {}), resources.get("requests", {})
        if limits.get("nvidia.com/gpu") != requests.get("nvidia.com/gpu"):
            yield f"{where}: a GPU is asked for in another number than its limit"


def probed(objects: list[Object]) -> Iterator[str]:
    """Readiness asks the model, liveness the process, on a port that the process listens on."""
    for where, one in predictors(objects):
        flags = dict(flag.removeprefix("--").split("=") for flag in one["args"])
        listening = {int(flags.get("http_port", 0)), int(flags.get("grpc_port", 0))}
        if listening != {_HTTP, _GRPC}:
            yield f"{where}: listens on {listening}"
        ready = one.get("readinessProbe", {}).get("httpGet", {})
        if ready.get("path") != f"/v2/models/{flags.get('model_name')}/ready":
            yield f"{where}: readiness asks {ready.get('path')}"
        for name in ("readinessProbe", "livenessProbe"):
            if name not in one:
                yield f"{where}: no {name}"
        for name in ("readinessProbe", "livenessProbe", "startupProbe"):
            if name in one and one[name].get("httpGet", {}).get("port") != _HTTP:
                yield f"{where}: {name} asks no port of HTTP"
        for port in one["ports"]:
            if port["containerPort"] not in listening:
                yield f"{where}: nothing listens on {port['containerPort']}"


def ports_of_the_mode(objects: list[Object]) -> Iterator[str]:
    """Knative takes one port, and none of the fields that its webhook refuses."""
    for service in of(objects, "InferenceService"):
        spec = service["spec"]["predictor"]
        knative = mode(service) == "Knative"
        for where, one in predictors(objects):
            if knative and len(one["ports"]) != 1:
                yield f"{where}: Knative takes one port"
            if knative and "startupProbe" in one:
                yield f"{where}: Knative of some versions has no startup probe"
        if knative:
            for field in ("terminationGracePeriodSeconds", "deploymentStrategy", "securityContext"):
                if field in spec:
                    yield f"{title(service)}: Knative refuses {field}"
        elif "terminationGracePeriodSeconds" not in spec:
            yield f"{title(service)}: Kubernetes kills after 30 s, which is what the drain takes"


def pinned(objects: list[Object]) -> Iterator[str]:
    """Images are ours, named by digest or by a tag that says a version."""
    for where, one in containers(objects):
        image = one["image"]
        name = re.split(r"[@:]", image)[0]
        if not _PINNED.fullmatch(image) or image.endswith(":latest"):
            yield f"{where}: {image} is not pinned"
        if not _OURS.fullmatch(name):
            yield f"{where}: {name} is not ours"


def by_digest(objects: list[Object]) -> Iterator[str]:
    """Images are named by digest."""
    for where, one in containers(objects):
        if "@sha256:" not in one["image"]:
            yield f"{where}: {one['image']} has no digest"


def no_secret_values(objects: list[Object]) -> Iterator[str]:
    """No Secret, and no value where its name says that it is one."""
    for one in of(objects, "Secret"):
        yield f"{title(one)} holds values"
    for where, container in containers(objects):
        for variable in container.get("env", ()):
            if _SECRETIVE.search(variable["name"]) and variable.get("value"):
                yield f"{where}: {variable['name']} has a value"
    for one in of(objects, "ConfigMap"):
        for key, value in one["data"].items():
            if _SECRETIVE.search(key) or re.search(r"//[^/]*:[^/]*@", value):
                yield f"{title(one)}: {key} looks like a secret"


def labelled(objects: list[Object]) -> Iterator[str]:
    """Each object says what it is part of; what runs or is called says its name and part."""
    for one in objects:
        labels = one["metadata"].get("labels", {})
        if labels.get("app.kubernetes.io/part-of") != "gliner-kserve":
            yield f"{title(one)}: not part of gliner-kserve"
        if one["kind"] in ("InferenceService", "ServingRuntime", "InferenceGraph", "Gateway"):
            for key in ("app.kubernetes.io/name", "app.kubernetes.io/component"):
                if key not in labels:
                    yield f"{title(one)}: no {key}"
        # A rollout may delete what has this label.
        if labels.get("app.kubernetes.io/managed-by") == "gliner-kserve-pipeline":
            yield f"{title(one)}: looks as if a rollout had made it"


def not_exposed(objects: list[Object]) -> Iterator[str]:
    """In Knative mode KServe opens no door of its own: its route would lead to /metrics."""
    for one in of(objects, "InferenceService", "InferenceGraph"):
        visibility = one["metadata"]["labels"].get("networking.knative.dev/visibility")
        if mode(one) == "Knative" and visibility != "cluster-local":
            yield f"{title(one)}: reachable by KServe's own route"


def in_time(objects: list[Object]) -> Iterator[str]:
    """Whoever is further out waits longer, so that the predictor is the one to say 504."""
    for where, one in predictors(objects):
        env = {variable["name"]: variable.get("value", "") for variable in one["env"]}
        request = float(env["GLINER_REQUEST_TIMEOUT_SECONDS"])
        stop = max(float(env[f"GLINER_{name}_SECONDS"]) for name in ("DRAIN", "LINGER"))
        for service in of(objects, "InferenceService"):
            spec = service["spec"]["predictor"]
            if spec.get("timeout", 0) <= request:
                yield f"{title(service)}: timeout is not above {where}'s {request:g} s"
            # Without the field, Knative's grace period is the timeout.
            if spec.get("terminationGracePeriodSeconds", spec.get("timeout", 0)) < stop + 10:
                yield f"{title(service)}: is killed while it drains"
        for routes in of(objects, "VirtualService"):
            [predict] = [route for route in routes["spec"]["http"] if route["name"] == "predict"]
            if float(predict["timeout"].removesuffix("s")) <= request:
                yield f"{title(routes)}: gives up before the predictor does"


def scaled_as_kserve_allows(objects: list[Object]) -> Iterator[str]:
    """One autoscaler, of the mode, written as KServe's webhook takes it."""
    for one in of(objects, "InferenceService"):
        spec = one["spec"]["predictor"]
        kind = one["metadata"]["annotations"].get("serving.kserve.io/autoscalerClass", "")
        kpa = "scaleMetric" in spec or "autoscaling.knative.dev/class" in str(spec)
        if spec["minReplicas"] > spec["maxReplicas"]:
            yield f"{title(one)}: fewer replicas at most than at least"
        if mode(one) == "Knative" and (kind or "autoScaling" in spec):
            yield f"{title(one)}: {kind or 'autoScaling'} is of Standard mode"
        if mode(one) == "Standard" and kpa:
            yield f"{title(one)}: Knative's autoscaler in Standard mode"
        if mode(one) == "Standard" and spec["minReplicas"] < 1:
            yield f"{title(one)}: a canary in Standard mode needs a replica"
        for metric in spec.get("autoScaling", {}).get("metrics", ()):
            if metric["type"] != {"hpa": "Resource", "keda": "External"}[kind]:
                yield f"{title(one)}: {kind} has no {metric['type']}"
            if metric["type"] == "External" and "value" not in metric["external"]["target"]:
                yield f"{title(one)}: KServe reads target.value alone"


def mode(one: Object) -> str:
    """The deployment mode that it says."""
    return str(one["metadata"].get("annotations", {}).get("serving.kserve.io/deploymentMode"))


RULES: tuple[Rule, ...] = (
    unprivileged,
    bounded,
    probed,
    ports_of_the_mode,
    pinned,
    no_secret_values,
    labelled,
    not_exposed,
    scaled_as_kserve_allows,
    in_time,
)
