"""`doctor` on MLflow: it answers, to us and by the name that we call it, and clocks agree."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from importlib.metadata import version as installed
from urllib.parse import urlsplit

import httpx

from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.errors import PipelineError
from pipeline.settings import Settings

AREA = "MLflow"
WEBHOOKS = "webhooks"
CLOCK = "clock"
MOST_SKEW_SECONDS = 30.0
"""Webhooks are refused after minutes, S3 signatures after a quarter of an hour."""
_KEY = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"


def reachable(settings: Settings) -> Finding:
    """Whether MLflow answers at all; the other checks are of no use where it does not."""
    url = settings.tracking_uri.rstrip("/")
    remedy = (
        "start one (`make demo` and `mlflow server` do on one machine), or set "
        "PIPELINE_TRACKING_URI to its address"
    )
    try:
        answer = httpx.get(f"{url}/health", timeout=settings.http_timeout_seconds)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return wrong(AREA, f"{url} does not answer: {str(error) or type(error).__name__}", remedy)
    if answer.status_code != 200 or answer.text.strip() != "OK":
        return wrong(
            AREA, f"{url}/health answered {answer.status_code}, not as MLflow does", remedy
        )
    return ok(AREA, f"answers at {url}")


def check(settings: Settings) -> Iterator[Finding]:
    """Version, host check, access and clock of an MLflow that answers."""
    url = settings.tracking_uri.rstrip("/")
    with httpx.Client(base_url=url, timeout=settings.http_timeout_seconds) as http:
        version = http.get("/version")
        yield _same_version(version.text.strip() if version.status_code == 200 else "")
        yield _clock(version.headers.get("date", ""))
        # /health and /version are answered whatever the Host.
        probe = http.get("/api/2.0/mlflow/experiments/search", params={"max_results": 1})
        if "Invalid Host" in probe.text:
            yield _refused(urlsplit(url).netloc)
            return
        if public := urlsplit(settings.mlflow_url).netloc:
            answer = http.get(
                "/api/2.0/mlflow/experiments/search",
                params={"max_results": 1},
                headers={"host": public},
            )
            if "Invalid Host" in answer.text:
                yield _refused(public)
    yield _readable(settings)


def webhooks(settings: Settings) -> Iterator[Finding]:
    """The secret, the server's key for it, and the webhook that tells us of reviews."""
    from mlflow.entities.webhook import WebhookStatus
    from mlflow.exceptions import MlflowException

    from pipeline.registry import Registry

    try:
        found = Registry(settings).client.list_webhooks(max_results=100)
    except MlflowException as error:
        yield wrong(
            WEBHOOKS,
            f"MLflow cannot read its webhooks: {str(error).splitlines()[0][:200]}",
            f"give its server the {_KEY} that they were made with (without one it makes a new "
            "one at each start), or delete and register them again",
        )
        return
    if key := os.environ.get(_KEY):
        yield from _fernet(key)
    ours = [one for one in found if settings.model_name in one.name]
    if not settings.webhook_secret.get_secret_value():
        if ours:
            yield wrong(
                WEBHOOKS,
                f"MLflow delivers to {ours[0].url} and this process has no secret to check it",
                "set PIPELINE_WEBHOOK_SECRET to the secret of that webhook",
            )
        else:
            yield unset(WEBHOOKS, "not configured (PIPELINE_WEBHOOK_SECRET); reviews are polled")
        return
    if not ours:
        yield wrong(
            WEBHOOKS,
            "a secret is set and MLflow has no webhook for it",
            "run `python -m pipeline webhook --url ADDRESS` where MLflow can reach it",
        )
        return
    for one in ours:
        yield (
            ok(WEBHOOKS, f"{one.name} delivers to {one.url}")
            if one.status == WebhookStatus.ACTIVE
            else wrong(WEBHOOKS, f"{one.name} is disabled", "set its status to ACTIVE in MLflow")
        )


def _same_version(theirs: str) -> Finding:
    ours = installed("mlflow")
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return ok(AREA, f"version {theirs}")
    return wrong(
        AREA,
        f"version {theirs or 'unknown'} there, {ours} here",
        f"run mlflow=={ours} on the server: clients and Grafana's SQL are tested with it",
    )


def _clock(date: str) -> Finding:
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return unset(CLOCK, "MLflow sends no date to compare with")
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=timezone.utc)
    skew = (theirs - datetime.now(timezone.utc)).total_seconds()
    if abs(skew) <= MOST_SKEW_SECONDS:
        return ok(CLOCK, "this machine and MLflow agree on the time")
    return wrong(
        CLOCK,
        f"MLflow's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this one",
        "run NTP on both machines: signatures of S3 and webhooks depend on it",
    )


def _refused(netloc: str) -> Finding:
    host = urlsplit(f"//{netloc}").hostname or netloc
    return wrong(
        AREA,
        f"it refuses requests to {netloc} (403, Invalid Host header)",
        f"start its server with --allowed-hosts '{host},{host}:*,localhost:*,127.0.0.1:*'",
    )


def _readable(settings: Settings) -> Finding:
    from pipeline.registry import Registry

    try:
        found = len(Registry(settings).versions())
    except PipelineError as error:
        return wrong(
            AREA,
            str(error),
            "where it asks for a login, set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return ok(AREA, f"{settings.model_name} has {found} version{'' if found == 1 else 's'}")


def _fernet(key: str) -> Iterator[Finding]:
    from cryptography.fernet import Fernet

    try:
        Fernet(key)
    except ValueError:
        yield wrong(
            WEBHOOKS,
            f"{_KEY} is no key",
            "make one: python -c 'from cryptography.fernet import Fernet; "
            "print(Fernet.generate_key().decode())'",
        )
