"""The Kubernetes API as rollouts use it: bounded in time, tried again where that may help."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import urllib3
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from pipeline.errors import PipelineError, Unavailable
from pipeline.rollout.objects import GROUP, PLURAL, VERSION, Object
from pipeline.settings import Settings

_T = TypeVar("_T")
_MAY_PASS = frozenset({429, 500, 502, 503, 504})
_LONGEST_PAUSE = 60.0


class Conflict(PipelineError):
    """Somebody else changed or made the object in between: read it again, then decide again."""


class Cluster:
    """One namespace of a cluster and the InferenceService in it.

    Every method raises `Unavailable` when the API does not answer after retries, `Conflict` as
    above, and `PipelineError` with the API's reason when it refuses.

    Args:
        settings: names the namespace and the service; its timeout and retries are obeyed.
    """

    def __init__(self, settings: Settings) -> None:
        self.namespace = settings.namespace
        self.name = settings.inference_service
        # The client takes no notice of a single number that is not whole.
        self.timeout = (settings.http_timeout_seconds, settings.http_timeout_seconds)
        self._attempts = settings.http_retries + 1
        configuration = access()
        # Its own retries would know neither Retry-After nor which status may pass.
        configuration.retries = False
        self.host = configuration.host
        self.api = client.ApiClient(configuration)
        self._objects = client.CustomObjectsApi(self.api)
        self._leases = client.CoordinationV1Api(self.api)
        self._core = client.CoreV1Api(self.api)

    # The InferenceService

    def find(self) -> Object | None:
        """The InferenceService; None when there is none."""
        found: Object | None = self.optional(
            f"read {self._what}",
            lambda: self._objects.get_namespaced_custom_object(
                *self._where, self.name, _request_timeout=self.timeout
            ),
        )
        return found

    def create(self, body: Object) -> None:
        """Make it. A field that this KServe does not know is an error, not dropped."""
        self.call(
            f"create {self._what}",
            lambda: self._objects.create_namespaced_custom_object(
                *self._where, body, field_validation="Strict", _request_timeout=self.timeout
            ),
        )

    def patch(self, patch: Object) -> None:
        """Apply a merge patch, which holds a `resourceVersion` where it builds on what was read."""
        self.call(
            f"patch {self._what}",
            lambda: self._objects.patch_namespaced_custom_object(
                *self._where,
                self.name,
                patch,
                field_validation="Strict",
                _request_timeout=self.timeout,
            ),
        )

    def delete(self) -> None:
        """Take it away; nothing happens when there is none."""
        self.optional(
            f"delete {self._what}",
            lambda: self._objects.delete_namespaced_custom_object(
                *self._where, self.name, _request_timeout=self.timeout
            ),
        )

    # What belongs to it

    def service(self, name: str) -> Any | None:
        """A Kubernetes Service, typed; None when there is none."""
        return self.optional(
            f"read Service {name}",
            lambda: self._core.read_namespaced_service(
                name, self.namespace, _request_timeout=self.timeout
            ),
        )

    def pods(self, selector: str) -> list[Any]:
        """The pods that a label selector finds, typed."""
        found = self.call(
            "list pods",
            lambda: self._core.list_namespaced_pod(
                self.namespace, label_selector=selector, _request_timeout=self.timeout
            ),
        )
        return list(found.items)

    # Leases

    def lease(self, name: str) -> Any | None:
        """A Lease, typed; None when there is none."""
        return self.optional(
            f"read Lease {name}",
            lambda: self._leases.read_namespaced_lease(
                name, self.namespace, _request_timeout=self.timeout
            ),
        )

    def create_lease(self, body: Object) -> None:
        """Make a Lease."""
        self.call(
            "create a Lease",
            lambda: self._leases.create_namespaced_lease(
                self.namespace, body, _request_timeout=self.timeout
            ),
        )

    def replace_lease(self, name: str, body: Object) -> None:
        """Write a Lease as a whole, unless it changed since it was read."""
        self.call(
            f"write Lease {name}",
            lambda: self._leases.replace_namespaced_lease(
                name, self.namespace, body, _request_timeout=self.timeout
            ),
        )

    # Anything else

    def get(self, path: str) -> Any:
        """The JSON at a path of the API."""
        return self.call(
            f"read {path}",
            lambda: self.api.call_api(
                quote(path),
                "GET",
                header_params={"Accept": "application/json"},
                response_type="object",
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _request_timeout=self.timeout,
            ),
        )

    def optional(self, what: str, ask: Callable[[], _T]) -> _T | None:
        """What `ask` gives, or None where the object does not exist."""
        try:
            return self.call(what, ask)
        except _Missing:
            return None

    def call(self, what: str, ask: Callable[[], _T]) -> _T:
        """Ask, again where that may help, and give what goes wrong our own form."""
        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(self._attempts),
            wait=_pause,
            reraise=True,
        )
        try:
            return retrying(ask)
        except ApiException as error:
            raise self._named(what, error) from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable(
                f"Kubernetes at {self.host} does not answer: {type(error).__name__}"
            ) from error

    def _named(self, what: str, error: ApiException) -> PipelineError:
        said = _message(error)
        if error.status == 404:
            return _Missing(f"Kubernetes at {self.host} could not {what}: {said}")
        if error.status == 409:
            return Conflict(f"Kubernetes at {self.host} could not {what}: {said}")
        if error.status in _MAY_PASS:
            return Unavailable(f"Kubernetes at {self.host} could not {what}: {said}")
        hint = "; `python -m pipeline doctor` shows what is missing"
        return PipelineError(
            f"Kubernetes at {self.host} refused to {what}: {said}"
            f"{hint if error.status in (401, 403) else ''}"
        )

    @property
    def _where(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    @property
    def _what(self) -> str:
        return f"InferenceService {self.namespace}/{self.name}"


class _Missing(PipelineError):
    """404."""


def access() -> Any:
    """How to reach the API: `KUBECONFIG`, a pod's own account, or ~/.kube/config.

    Raises:
        PipelineError: there is none of them, or it cannot be read.
    """
    configuration = client.Configuration()
    try:
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            # The module read the variable when it was imported, perhaps too early.
            config.load_kube_config(
                config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration
            )
    except (ConfigException, OSError) as error:
        raise PipelineError(
            f"no access to Kubernetes: {error}; set KUBECONFIG, or run in a pod"
        ) from error
    return configuration


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, ApiException):
        return error.status in _MAY_PASS
    return isinstance(error, urllib3.exceptions.HTTPError)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: what the server asks for, else growing ones."""
    error = state.outcome.exception() if state.outcome else None
    asked = (getattr(error, "headers", None) or {}).get("Retry-After", "")
    if asked.isdigit():
        return min(float(asked), _LONGEST_PAUSE)
    return wait_random_exponential(multiplier=0.4, max=10)(state)


def _message(error: ApiException) -> str:
    """What the API said, in one line. A Status names what was wrong with which field."""
    try:
        said = str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        said = str(error.reason)
    return f"{' '.join(said.split())[:500]} ({error.status})"
