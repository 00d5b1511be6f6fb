"""Kubeflow Pipelines' REST API (v2beta1), as far as our code uses it.

Every body is held against `kfp_server_api`'s typed models: a field that they do not have, or a
value of another type, is a 400 as from the real server. State is kept, names are unique where
they are there, lists come in pages, and any request can be told to fail.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import http_server
from kubeflow_bodies import Body, Refused, check, documents, page, uploaded


@dataclass
class Fault:
    """What goes wrong with requests that match.

    Attributes:
        status: the answer; 0 drops the connection.
        late: the request is carried out first.
        delay: seconds before anything happens.
    """

    method: str
    path: str
    status: int = 0
    times: int = 1
    late: bool = False
    delay: float = 0


@dataclass
class Kubeflow:
    """The server's state, which tests may look at and change.

    Attributes:
        token: the only bearer token that is accepted; empty accepts all.
        multi_user: runs and schedules belong to a namespace, and lists must name one.
        states: what each look at a run finds next; the last one stays.
        requests: method and path of all that came in.
    """

    url: str = ""
    token: str = ""
    multi_user: bool = False
    states: list[Body] = field(default_factory=lambda: [{"state": "SUCCEEDED"}])
    pipelines: dict[str, Body] = field(default_factory=dict)
    versions: dict[str, Body] = field(default_factory=dict)
    experiments: dict[str, Body] = field(default_factory=dict)
    runs: dict[str, Body] = field(default_factory=dict)
    recurring_runs: dict[str, Body] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, method: str, path: str, status: int = 0, **options: Any) -> None:
        """Let the next requests that match fail; `status` 0 drops the connection."""
        self.faults.append(Fault(method, path, status, **options))

    def count(self, request: str) -> int:
        """How many requests match."""
        return sum(bool(re.search(request, one)) for one in self.requests)

    def answer(self, method: str, url: str, headers: Any, data: bytes) -> Body:
        """What the real server would answer."""
        with self._lock:
            parts = urlsplit(url)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            path = parts.path.removeprefix("/apis/v2beta1")
            if self.token and headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthorized")
            for verb, pattern, handler in _ROUTES:
                if verb == method and (match := re.fullmatch(pattern, path)):
                    if handler.startswith("upload"):
                        body: Any = uploaded(headers, data)
                    else:
                        body = json.loads(data or b"null")
                    result: Body = getattr(self, f"_{handler}")(*match.groups(), query, body)
                    return result
            raise Refused(404, f"Not Found: {method} {path}")

    def _healthz(self, _query: Body, _body: Any) -> Body:
        return {"multi_user": self.multi_user, "pipeline_store": "database"}

    def _create_pipeline(self, _query: Body, body: Body) -> Body:
        check(body, "V2beta1Pipeline")
        self._unique(self.pipelines, body["display_name"], "Pipeline")
        return self._keep(self.pipelines, "pipeline_id", body)

    def _list_pipelines(self, query: Body, _body: Any) -> Body:
        return page("pipelines", self.pipelines.values(), query)

    def _upload_version(self, query: Body, text: str) -> Body:
        if query.get("pipelineid") not in self.pipelines:
            raise Refused(404, f"Pipeline {query.get('pipelineid')} not found")
        spec, *platform = documents(text)
        if "pipelineInfo" not in spec or "root" not in spec:
            raise Refused(400, "Invalid input error: failed to parse the PipelineSpec")
        same = [one for one in self.versions.values() if one["pipeline_id"] == query["pipelineid"]]
        self._unique({str(n): one for n, one in enumerate(same)}, query["name"], "Version")
        made = {
            "pipeline_id": query["pipelineid"],
            "display_name": query["name"],
            "name": query["name"],
            "pipeline_spec": {"pipeline_spec": spec, "platform_spec": (platform or [{}])[0]},
        }
        return self._keep(self.versions, "pipeline_version_id", made)

    def _list_versions(self, pipeline_id: str, query: Body, _body: Any) -> Body:
        found = [one for one in self.versions.values() if one["pipeline_id"] == pipeline_id]
        return page("pipeline_versions", found, query)

    def _create_experiment(self, _query: Body, body: Body) -> Body:
        check(body, "V2beta1Experiment")
        self._need_namespace(body)
        self._unique(self.experiments, body["display_name"], "Experiment")
        return self._keep(self.experiments, "experiment_id", body)

    def _list_experiments(self, query: Body, _body: Any) -> Body:
        self._need_namespace(query)
        return page("experiments", self.experiments.values(), query)

    def _create_run(self, _query: Body, body: Body) -> Body:
        check(body, "V2beta1Run")
        self._check_job(body)
        return self._keep(self.runs, "run_id", body | {"state": "PENDING"})

    def _list_runs(self, query: Body, _body: Any) -> Body:
        found = self.runs.values()
        if "experiment_id" in query:
            found = [one for one in found if one["experiment_id"] == query["experiment_id"]]  # type: ignore[assignment]
        return page("runs", found, query)

    def _get_run(self, run_id: str, _query: Body, _body: Any) -> Body:
        found = self._existing(self.runs, run_id, "Run")
        found.update(self.states.pop(0) if len(self.states) > 1 else self.states[0])
        check(found, "V2beta1Run")
        return found

    def _create_recurring(self, _query: Body, body: Body) -> Body:
        check(body, "V2beta1RecurringRun")
        self._check_job(body)
        cron = body["trigger"]["cron_schedule"]["cron"]
        if len(cron.split()) != 6:
            raise Refused(400, f"Invalid input error: Schedule cron is not supported: {cron}")
        if not 1 <= int(body.get("max_concurrency", 0)) <= 10:
            raise Refused(400, "Invalid input error: max_concurrency must be 1 to 10")
        # As protobuf's JSON has 64-bit numbers.
        body["max_concurrency"] = str(body["max_concurrency"])
        return self._keep(self.recurring_runs, "recurring_run_id", body)

    def _list_recurring(self, query: Body, _body: Any) -> Body:
        if not query.get("experiment_id"):
            self._need_namespace(query)
        return page("recurringRuns", self.recurring_runs.values(), query)

    def _enable(self, recurring_run_id: str, _query: Body, _body: Any) -> Body:
        self._existing(self.recurring_runs, recurring_run_id, "RecurringRun")["mode"] = "ENABLE"
        return {}

    def _disable(self, recurring_run_id: str, _query: Body, _body: Any) -> Body:
        self._existing(self.recurring_runs, recurring_run_id, "RecurringRun")["mode"] = "DISABLE"
        return {}

    def _delete_recurring(self, recurring_run_id: str, _query: Body, _body: Any) -> Body:
        self._existing(self.recurring_runs, recurring_run_id, "RecurringRun")
        del self.recurring_runs[recurring_run_id]
        return {}

    def _check_job(self, body: Body) -> None:
        """A run or a schedule of an uploaded version, with arguments that its graph has."""
        if body.get("experiment_id") not in self.experiments:
            raise Refused(404, f"Experiment {body.get('experiment_id')} not found")
        reference = body["pipeline_version_reference"]
        version = self.versions.get(reference["pipeline_version_id"])
        if version is None or version["pipeline_id"] != reference["pipeline_id"]:
            raise Refused(404, f"PipelineVersion {reference['pipeline_version_id']} not found")
        spec = version["pipeline_spec"]["pipeline_spec"]
        known = spec["root"]["inputDefinitions"]["parameters"]
        given = body["runtime_config"].get("parameters") or {}
        for name in given:
            if name not in known:
                raise Refused(400, f"Invalid input error: unknown parameter {name}")
        for name, one in known.items():
            if name not in given and not one.get("isOptional"):
                raise Refused(400, f"Invalid input error: parameter {name} is required")

    def _need_namespace(self, given: Body) -> None:
        if self.multi_user and not given.get("namespace"):
            raise Refused(400, "Invalid input error: Namespace is required in multi-user mode")

    @staticmethod
    def _unique(kept: dict[str, Body], name: str, kind: str) -> None:
        if any(one["display_name"] == name for one in kept.values()):
            raise Refused(409, f"Already exist error: {kind} {name} already exists")

    @staticmethod
    def _existing(kept: dict[str, Body], key: str, kind: str) -> Body:
        if key not in kept:
            raise Refused(404, f"ResourceNotFoundError: {kind} {key} not found")
        return kept[key]

    @staticmethod
    def _keep(kept: dict[str, Body], key: str, body: Body) -> Body:
        now = datetime.now(timezone.utc).isoformat()
        made = {**body, key: str(uuid4()), "created_at": now}
        kept[made[key]] = made
        return made


_ID = "/([^/:]+)"
_ROUTES = (
    ("GET", "/healthz", "healthz"),
    ("POST", "/pipelines", "create_pipeline"),
    ("GET", "/pipelines", "list_pipelines"),
    ("POST", "/pipelines/upload_version", "upload_version"),
    ("GET", f"/pipelines{_ID}/versions", "list_versions"),
    ("POST", "/experiments", "create_experiment"),
    ("GET", "/experiments", "list_experiments"),
    ("POST", "/runs", "create_run"),
    ("GET", "/runs", "list_runs"),
    ("GET", f"/runs{_ID}", "get_run"),
    ("POST", "/recurringruns", "create_recurring"),
    ("GET", "/recurringruns", "list_recurring"),
    ("POST", f"/recurringruns{_ID}:enable", "enable"),
    ("POST", f"/recurringruns{_ID}:disable", "disable"),
    ("DELETE", f"/recurringruns{_ID}", "delete_recurring"),
)


@contextmanager
def running() -> Iterator[Kubeflow]:
    """The server on a port of its own."""
    kubeflow = Kubeflow()

    class Handler(http_server.Handler):
        def serve(self) -> None:
            data = self.body()
            kubeflow.requests.append(f"{self.command} {self.path}")
            fault = self.fault()
            if fault:
                time.sleep(fault.delay)
            if fault and not fault.delay and not fault.late:
                self.refuse(fault.status)
                return
            try:
                answer, status = kubeflow.answer(self.command, self.path, self.headers, data), 200
            except Refused as refused:
                answer, status = _error(refused.status, str(refused)), refused.status
            if fault and fault.late:
                self.refuse(fault.status)
            else:
                self.send(status, answer)

        def fault(self) -> Fault | None:
            for fault in kubeflow.faults:
                matches = fault.method == self.command and re.search(fault.path, self.path)
                if matches and fault.times > 0:
                    fault.times -= 1
                    return fault
            return None

        def refuse(self, status: int) -> None:
            if status:
                self.send(status, _error(status, "told to fail"))
            else:
                self.cut()

    with http_server.serving(Handler) as kubeflow.url:
        yield kubeflow


def _error(status: int, message: str) -> Body:
    return {"error": message, "code": status, "message": message, "details": []}
