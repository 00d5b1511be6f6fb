"""`doctor` on what the lifecycle talks to besides MLflow: data, predictor, clusters, Slack."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.errors import PipelineError
from pipeline.settings import Settings

DATA = "data"
PREDICTOR = "predictor"
ROLLOUT = "rollout"
KUBEFLOW = "Kubeflow"
PROMETHEUS = "Prometheus"
SLACK = "Slack"
OLDEST_KUBEFLOW = (2, 14)
"""Before it, a step inside a condition was not tried again (kubeflow/pipelines#11288)."""
_SLACK_PATH = re.compile(r"^/(services/T\w+/B\w+/\w+|triggers/\w+/\d+/\w+|workflows/[\w/]+)/?$")


def data(source: str, settings: Settings) -> Finding:
    """Whether a run would take the evaluation data, unless its flags ask for more."""
    from pipeline.steps import fetch_data

    if not source:
        return unset(DATA, "not named (--eval-data)")
    try:
        with tempfile.TemporaryDirectory() as folder:
            files, *_ = fetch_data.copied(source, Path(folder), settings)
    except PipelineError as error:
        return wrong(DATA, str(error), "python -m pipeline run --help says what data looks like")
    rows = sum(len(file.rows) for file in files)
    labels = sorted({label for file in files for label in file.labels})
    return ok(DATA, f"{source}: {rows} texts, {len(labels)} labels")


def predictor(settings: Settings, *, registry: bool) -> Finding:
    """Whether the route answers with the model that the registry says.

    Args:
        registry: whether MLflow can be asked what should serve.
    """
    from pipeline.registry import Registry
    from pipeline.rollout.follower import Follower
    from pipeline.status.serving import ask, moving_among

    try:
        known = Registry(settings) if registry else None
        versions = known.versions() if known else []
        champion = known.champion() if known else None
    except PipelineError:
        versions, champion = [], None  # its own check says why
    found = ask(settings, versions, champion, moving_among(versions))
    if not found.answers:
        start = f" with `{Follower(settings).command}`" if settings.rollout == "local" else ""
        remedy = (
            f"start it{start}, or set PIPELINE_PREDICTOR_URL, behind an ingress "
            "PIPELINE_PREDICTOR_HOST; where it asks for a key, PIPELINE_API_KEY"
        )
        return wrong(PREDICTOR, found.detail, remedy)
    if found.agrees is False:
        follow = (
            f"set GLINER_MODEL=models:/{settings.model_name}@champion there, and look at its log"
            if settings.rollout == "local"
            else "look at the InferenceService; `python -m pipeline rollback` goes back"
        )
        return wrong(PREDICTOR, found.detail, follow)
    return ok(PREDICTOR, f"{found.detail}, at {found.url}")


def rollout(settings: Settings) -> Iterator[Finding]:
    """What a rollout on KServe needs of its cluster."""
    if settings.rollout != "kserve":
        yield unset(ROLLOUT, "on this machine; KServe is not configured (PIPELINE_ROLLOUT=kserve)")
        return
    from pipeline.rollout import checks

    for name, well, text in checks.check(settings):
        yield Finding(ROLLOUT, "ok" if well else "wrong", f"{name}: {text}")


def kubeflow(settings: Settings) -> Finding:
    """Whether the Kubeflow Pipelines API answers and is new enough."""
    if not settings.kfp_host:
        return unset(KUBEFLOW, "not configured (PIPELINE_KFP_HOST); graphs run on this machine")
    host = settings.kfp_host.rstrip("/")
    token = settings.kfp_token.get_secret_value()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    remedy = "set PIPELINE_KFP_HOST to the ml-pipeline API or the UI in front of it"
    with httpx.Client(headers=headers, timeout=settings.http_timeout_seconds) as http:
        try:
            health = http.get(f"{host}/apis/v2beta1/healthz")
            # Health is often open to everybody, pipelines are not.
            pipelines = http.get(
                f"{host}/apis/v2beta1/pipelines",
                params={"page_size": 1, "namespace": settings.kfp_namespace},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = str(error) or type(error).__name__
            return wrong(KUBEFLOW, f"{host} does not answer: {said}", remedy)
    for answer in (health, pipelines):
        if answer.is_redirect or answer.status_code in (401, 403):
            return wrong(
                KUBEFLOW,
                f"{host} asks for a login ({answer.status_code})",
                "set PIPELINE_KFP_TOKEN, and where it serves several users PIPELINE_KFP_NAMESPACE",
            )
    try:
        tag = str(health.raise_for_status().json().get("tag_name", ""))
        pipelines.raise_for_status()
    except (httpx.HTTPStatusError, ValueError, AttributeError):
        worst = max(health.status_code, pipelines.status_code)
        return wrong(KUBEFLOW, f"{host} answered {worst}, not as Kubeflow does", remedy)
    version = re.match(r"v?(\d+)\.(\d+)", tag)
    if version is None:
        return ok(KUBEFLOW, f"answers at {settings.kfp_host}; it does not tell its version")
    if tuple(map(int, version.groups())) < OLDEST_KUBEFLOW:
        return wrong(
            KUBEFLOW,
            f"version {tag} does not try failed steps of nested graphs again",
            f"install {'.'.join(map(str, OLDEST_KUBEFLOW))} or newer",
        )
    return ok(KUBEFLOW, f"version {tag} at {settings.kfp_host}")


def prometheus(settings: Settings) -> Finding:
    """Whether Prometheus answers a query, where a rollout would read from it."""
    if not settings.prometheus_url:
        return unset(PROMETHEUS, "not configured (PIPELINE_PROMETHEUS_URL); rollouts send probes")
    url = f"{settings.prometheus_url.rstrip('/')}/api/v1/query"
    try:
        answer = httpx.get(url, params={"query": "1"}, timeout=settings.http_timeout_seconds)
        well = answer.json()["status"] == "success"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        said = f"does not answer: {str(error) or type(error).__name__}"
    except (ValueError, KeyError, TypeError):
        said = f"answered {answer.status_code}, not as Prometheus does"
    else:
        if well:
            return ok(PROMETHEUS, f"answers at {settings.prometheus_url}")
        said = f"refused a query with {answer.status_code}"
    return wrong(PROMETHEUS, f"{url} {said}", "set PIPELINE_PROMETHEUS_URL, or leave it empty")


def slack(settings: Settings, *, send: bool) -> Finding:
    """Whether Slack's webhook looks right, and with `send` whether a message arrives.

    The address is a secret and in no finding.
    """
    where = urlsplit(settings.slack_webhook_url.get_secret_value())
    if not where.geturl():
        return unset(SLACK, "not configured (PIPELINE_SLACK_WEBHOOK_URL)")
    remedy = "copy the incoming webhook's address from Slack: https://hooks.slack.com/services/…"
    if where.hostname == "hooks.slack.com":
        if where.scheme != "https" or not _SLACK_PATH.match(where.path):
            return wrong(SLACK, "PIPELINE_SLACK_WEBHOOK_URL is no incoming webhook", remedy)
    elif where.scheme not in ("http", "https") or not where.hostname:
        return wrong(SLACK, "PIPELINE_SLACK_WEBHOOK_URL is no http or https address", remedy)
    if not send:
        return ok(SLACK, "configured; nothing was sent (--send does)")
    from pipeline import slack as delivery
    from pipeline.slack import messages

    with redirect_stdout(io.StringIO()) as said:
        taken = delivery.send(messages.hello(messages.Facts(settings.model_name)), settings)
    if taken:
        return ok(SLACK, "took a message")
    reason = said.getvalue().strip().splitlines()
    return wrong(SLACK, reason[-1] if reason else "took no message", remedy)
