"""A connection to Kubeflow Pipelines: kfp's client, with limits, retries and plain errors."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

import urllib3

from pipeline.errors import PipelineError, SettingsError, Unavailable
from pipeline.settings import Settings

T = TypeVar("T")

NOT_FOUND = 404
CONFLICT = 409
_HINTS = {
    401: "set PIPELINE_KFP_TOKEN, or PIPELINE_KFP_TOKEN_FILE, to a token that Kubeflow accepts",
    403: "this account may not do that; check PIPELINE_KFP_TOKEN and PIPELINE_KFP_NAMESPACE",
    404: "is this the address of the Kubeflow Pipelines API?",
}


class Refusal(PipelineError):
    """Kubeflow answered no.

    Attributes:
        status: HTTP's.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class _Retry(urllib3.Retry):
    """What was not done because of too many requests is asked again, whatever it was."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        throttled = bool(self.total) and status_code == 429
        return throttled or super().is_retry(method, status_code, has_retry_after)


def connect(settings: Settings) -> Any:
    """A `kfp.Client`.

    Raises:
        SettingsError: no address is set, or one that is none.
        Unavailable: Kubeflow does not answer.
        PipelineError: it refuses this account.
    """
    import warnings

    import kfp
    from kfp_server_api.rest import RESTClientObject

    class Rest(RESTClientObject):  # type: ignore[misc] # without types
        """kfp's client waits for ever, and has no way to say for how long."""

        def request(self, *args: Any, _request_timeout: Any = None, **options: Any) -> Any:
            limit = _request_timeout or (settings.http_timeout_seconds,) * 2
            return super().request(*args, _request_timeout=limit, **options)

    def be_patient(client: Any) -> None:
        api = client._healthz_api.api_client
        api.configuration.retries = _Retry(
            total=settings.http_retries,
            backoff_factor=0.25,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,
        )
        api.rest_client = Rest(api.configuration)

    class Client(kfp.Client):  # type: ignore[misc] # without types
        def get_kfp_healthz(self, sleep_duration: int = 0) -> Any:
            # The constructor asks, and would try for long and log tracebacks.
            be_patient(self)
            return self._healthz_api.healthz_service_get_healthz()

    if not settings.kfp_host:
        raise SettingsError("name the Kubeflow Pipelines API with --host or PIPELINE_KFP_HOST")
    if not settings.kfp_host.startswith(("http://", "https://")):
        raise SettingsError(
            f"--host or PIPELINE_KFP_HOST is {settings.kfp_host}; it must begin with http:// or "
            "https://"
        )
    with asking(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # that servers must be of version 2
        token = settings.kfp_token.get_secret_value() or None
        client = Client(
            host=settings.kfp_host,
            # kfp takes this very name for none.
            namespace=settings.kfp_namespace or "kubeflow",
            existing_token=token,
            credentials=None if token else _credentials(settings),
        )
        be_patient(client)
    return client


def _credentials(settings: Settings) -> Any:
    """What reads the token's file; None where there is none to read."""
    from kfp.client import set_volume_credentials

    path = settings.kfp_token_file
    if not path:
        return None
    if not os.access(path, os.R_OK):
        raise SettingsError(f"PIPELINE_KFP_TOKEN_FILE: {path} cannot be read")
    return set_volume_credentials.ServiceAccountTokenVolumeCredentials(path)


@contextmanager
def asking(settings: Settings) -> Iterator[None]:
    """Give what kfp's client raises our own form, and keep its links off the screen."""
    from kfp_server_api import ApiException

    where = f"Kubeflow at {settings.kfp_host}"
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except ApiException as error:
        status = int(error.status or 0)
        if status == 429 or status >= 500:
            raise Unavailable(f"{where} does not answer: {_reason(error)}") from error
        hint = f"; {_HINTS[status]}" if status in _HINTS else ""
        raise Refusal(f"{where} refused: {_reason(error)}{hint}", status) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"{where} does not answer: {_cause(error)}") from error


def once(find: Callable[[], T | None], make: Callable[[], T]) -> tuple[T, bool]:
    """What there is, else what is made, and whether it was.

    Where two make the same at once, or the answer is lost on its way, it is looked for again.
    """
    if found := find():
        return found, False
    try:
        return make(), True
    except (Unavailable, Refusal) as error:
        if isinstance(error, Refusal) and error.status != CONFLICT:
            raise
        if found := find():
            return found, True
        raise


def pages(ask: Callable[..., Any], of: str, **arguments: Any) -> Iterator[Any]:
    """All of what a list method gives, page by page.

    Args:
        of: the attribute of an answer that has the entries.
    """
    token = ""
    while True:
        page = ask(page_token=token, page_size=100, **arguments)
        yield from getattr(page, of) or ()
        token = page.next_page_token or ""
        if not token:
            return


def named(name: str) -> str:
    """A filter for list methods: those with exactly this name."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    return json.dumps({"predicates": [predicate]})


def _reason(error: Any) -> str:
    """Kubeflow's own words, in one line."""
    try:
        body = json.loads(error.body or "")
        text = body.get("message") or body.get("error") or ""
    except (ValueError, AttributeError):
        text = ""
    return " ".join(str(text or error.reason or "").split())[:500] + f" ({error.status})"


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return " ".join(str(reason).split())[:300]
