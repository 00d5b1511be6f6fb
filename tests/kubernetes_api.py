"""A Kubernetes API server in the test's process: real sockets, paths, status codes and Statuses.

It keeps InferenceServices and Leases, gives out what KServe's controller makes of them
(`kserve_controller`), and does as kube-apiserver does:

- `metadata.resourceVersion` grows with each write and with none that changes nothing; a write that
  carries an old one is a 409 Conflict; `metadata.generation` grows when the spec changes;
- `status` is written by the controller alone: in what clients send it is ignored;
- PATCH takes `application/merge-patch+json` and `application/json-patch+json`; anything else, such
  as the strategic merge that custom resources do not know, is a 415;
- with `fieldValidation=Strict` an unknown field is a 400 with "strict decoding error"; without, it
  is a 422 here, where the real server would drop it in silence;
- values of a wrong type and missing ones are a 422, by `kserve`'s and `kubernetes`' typed models;
- what KServe's validating webhook refuses is a 403 with "admission webhook ... denied".

Told to, it fails: see `Fault`.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import yaml
from kserve_controller import Controller, Denied
from kubernetes_answers import Fault, Object, Refusal, patched, status
from typed_objects import problems

TOKEN = "a-token-of-the-test"

_ISVC = "serving.kserve.io/v1beta1/inferenceservices"
_LEASE = "coordination.k8s.io/v1/leases"
_KINDS = {_ISVC: "V1beta1InferenceService", _LEASE: "V1Lease"}


class KubernetesApi:
    """The server's state, and what tests say about it.

    Attributes:
        controller: KServe's.
        faults: what goes wrong.
        denied: pairs of verb and resource that this account may not.
        canary_known: whether this KServe has `spec.canary`.
        before_write: called before each PATCH and PUT is handled, as other writers come in between.
        requests: method and path of each request, in order.
    """

    def __init__(self, namespace: str = "gliner") -> None:
        self.namespace = namespace
        self.controller = Controller(namespace)
        self.faults: list[Fault] = []
        self.denied: set[tuple[str, str]] = set()
        self.canary_known = True
        self.before_write: Callable[[], None] = lambda: None
        self.requests: list[tuple[str, str]] = []
        self.url = ""
        self._objects: dict[tuple[str, str], Object] = {}
        self._version = 100
        self._lock = threading.RLock()

    def kubeconfig(self, file: Path) -> Path:
        """Write a kubeconfig that leads here."""
        named: Object = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "test", "user": {"token": TOKEN}}],
        }
        file.write_text(yaml.safe_dump(named), encoding="utf-8")
        return file

    def isvc(self, name: str = "gliner") -> Object:
        """The InferenceService as it is kept."""
        with self._lock:
            return copy.deepcopy(self._objects[_ISVC, name])

    def lease(self, name: str = "gliner-rollout") -> Object:
        """A Lease as it is kept."""
        with self._lock:
            return copy.deepcopy(self._objects[_LEASE, name])

    def edit(self, change: Callable[[Object], object], name: str = "gliner") -> None:
        """Change an InferenceService as a person does with kubectl."""
        with self._lock:
            fresh = copy.deepcopy(self._objects[_ISVC, name])
            change(fresh)
            self._keep(_ISVC, name, fresh, "Strict")

    def apply(self, body: Object) -> None:
        """Make an InferenceService as a person does with kubectl, and let KServe settle it."""
        with self._lock:
            self._create(_ISVC, body, "Strict")
        self.settle(body["metadata"]["name"])

    def settle(self, name: str = "gliner", ticks: int = 60) -> None:
        """Let KServe's controller work for a while."""
        for _ in range(ticks):
            self._tick(name)

    # Requests

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[int, Object]:
        """The status and the body for one request."""
        split = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        try:
            if headers.get("Authorization", "").removeprefix("Bearer ") != TOKEN:
                raise Refusal(401, "Unauthorized", "Unauthorized")
            if method in ("PATCH", "PUT"):
                self.before_write()
            with self._lock:
                return self._handle(method, split.path.strip("/"), query, headers, body)
        except Refusal as refused:
            return refused.code, status(refused.code, refused.reason, refused.message)

    def _handle(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> tuple[int, Object]:
        if path == "version":
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.1"}
        if path == "openapi/v3/apis/serving.kserve.io/v1beta1":
            return 200, self._openapi()
        if path == "apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return 201, self._review(json.loads(body))
        parts = path.split("/")
        if parts[0] == "api":
            return 200, self._core(parts, query)
        if len(parts) < 6 or parts[3] != "namespaces":
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        kind, name = f"{parts[1]}/{parts[2]}/{parts[5]}", "/".join(parts[6:])
        if kind not in _KINDS:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        self._allow({"GET": "get", "POST": "create", "PUT": "update"}.get(method, method), parts[5])
        if parts[4] != self.namespace and method == "POST":
            raise Refusal(404, "NotFound", f'namespaces "{parts[4]}" not found')
        strict = query.get("fieldValidation", "")
        if method == "POST":
            return 201, self._create(kind, json.loads(body), strict)
        if method == "GET" and kind == _ISVC:
            self._tick(name)
        found = self._objects.get((kind, name))
        if found is None or parts[4] != self.namespace:
            group = parts[1]
            raise Refusal(404, "NotFound", f'{parts[5]}.{group} "{name}" not found')
        if method == "GET":
            return 200, found
        if method == "DELETE":
            self._objects.pop((kind, name))
            self.controller.forget(name)
            return 200, status(200, "", "")
        if method == "PATCH":
            fresh = patched(found, headers.get("Content-Type", ""), json.loads(body))
        else:
            fresh = json.loads(body)
            if kind == _ISVC and not fresh.get("metadata", {}).get("resourceVersion"):
                raise Refusal(
                    422, "Invalid", "metadata.resourceVersion: must be specified for an update"
                )
        return 200, self._keep(kind, name, fresh, strict)

    def _create(self, kind: str, body: Object, strict: str) -> Object:
        name = body["metadata"]["name"]
        if (kind, name) in self._objects:
            raise Refusal(409, "AlreadyExists", f'{kind.split("/")[-1]} "{name}" already exists')
        body = {key: value for key, value in body.items() if key != "status"}
        self._check(kind, name, body, None, strict)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body["metadata"] |= {
            "uid": str(uuid4()),
            "creationTimestamp": now,
            "generation": 1,
            "resourceVersion": self._next(),
        }
        self._objects[kind, name] = body
        return body

    def _keep(self, kind: str, name: str, fresh: Object, strict: str) -> Object:
        old = self._objects[kind, name]
        asked = fresh["metadata"].get("resourceVersion")
        if asked and asked != old["metadata"]["resourceVersion"]:
            raise Refusal(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.split("/")[-1]} "{name}": the object has '
                "been modified; please apply your changes to the latest version and try again",
            )
        fixed = ("uid", "creationTimestamp", "generation", "resourceVersion")
        fresh["metadata"] |= {key: old["metadata"][key] for key in fixed}
        fresh.pop("status", None)
        if "status" in old:
            fresh["status"] = old["status"]
        if fresh == old:
            return old
        self._check(kind, name, fresh, old, strict)
        if fresh["spec"] != old["spec"]:
            fresh["metadata"]["generation"] += 1
        fresh["metadata"]["resourceVersion"] = self._next()
        self._objects[kind, name] = fresh
        return fresh

    def _check(self, kind: str, name: str, fresh: Object, old: Object | None, strict: str) -> None:
        found = [one.lstrip(".") for one in problems(_KINDS[kind], fresh)]
        if kind == _ISVC and not self.canary_known and "canary" in fresh["spec"]:
            found.append('unknown field "spec.canary"')
        unknown = [one for one in found if one.startswith("unknown field")]
        if unknown and strict == "Strict":
            raise Refusal(400, "BadRequest", f"strict decoding error: {', '.join(unknown)}")
        if found:
            shown = f'{kind.split("/")[-1]} "{name}" is invalid: {", ".join(found)}'
            raise Refusal(422, "Invalid", shown)
        if kind == _ISVC:
            try:
                self.controller.admit(fresh, old)
            except Denied as denied:
                raise Refusal(
                    403,
                    "Forbidden",
                    'admission webhook "inferenceservice.kserve-webhook-server.validator" denied '
                    f"the request: {denied}",
                ) from None

    def _tick(self, name: str) -> None:
        """Let the controller go on; it writes the status as any client would."""
        with self._lock:
            found = self._objects.get((_ISVC, name))
            if found is None:
                return
            told = self.controller.tick(copy.deepcopy(found))
            if told is not None and told != found.get("status"):
                wrong = list(problems("V1beta1InferenceServiceStatus", told, "status"))
                assert not wrong, wrong
                metadata = {**found["metadata"], "resourceVersion": self._next()}
                self._objects[_ISVC, name] = {**found, "metadata": metadata, "status": told}

    def _core(self, parts: list[str], query: dict[str, str]) -> Object:
        resource = parts[4] if len(parts) > 4 else parts[2]
        self._allow("list" if resource == "pods" else "get", resource)
        if resource == "pods":
            wanted = dict(one.split("=") for one in query["labelSelector"].split(","))
            pods = [
                pod
                for pod in self.controller.pods()
                if wanted.items() <= pod["metadata"]["labels"].items()
            ]
            return {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods}
        name = parts[-1]
        if resource == "namespaces" and name == self.namespace:
            return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        if resource == "services" and (found := self.controller.service(name)):
            return found
        raise Refusal(404, "NotFound", f'{resource} "{name}" not found')

    def _review(self, asked: Object) -> Object:
        about = asked["spec"]["resourceAttributes"]
        allowed = (about["verb"], about["resource"]) not in self.denied
        return {**asked, "status": {"allowed": allowed}}

    def _allow(self, verb: str, resource: str) -> None:
        verb = verb.lower()
        if (verb, resource) in self.denied:
            raise Refusal(
                403,
                "Forbidden",
                f'{resource} is forbidden: User "system:serviceaccount:gliner:pipeline" cannot '
                f'{verb} resource "{resource}" in the namespace "{self.namespace}"',
            )

    def _openapi(self) -> Object:
        spec: Object = {"predictor": {"properties": {"canaryTrafficPercent": {}}}}
        if self.canary_known:
            spec["canary"] = {"type": "array"}
        kind = {"group": "serving.kserve.io", "version": "v1beta1", "kind": "InferenceService"}
        schema = {
            "properties": {"spec": {"properties": spec}},
            "x-kubernetes-group-version-kind": [kind],
        }
        return {"components": {"schemas": {"io.kserve.serving.v1beta1.InferenceService": schema}}}

    def _next(self) -> str:
        self._version += 1
        return str(self._version)
