"""What `doctor` finds about MLflow and its webhooks."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import format_datetime
from importlib.metadata import version
from uuid import uuid4

import canned
import findings
import pytest
from cryptography.fernet import Fernet
from mlflow import MlflowClient

from pipeline.doctor import tracking
from pipeline.local.process import Process
from pipeline.registry import Registry
from pipeline.registry.versions import when
from pipeline.settings import Settings

MLFLOW = {
    "/health": canned.Answer(body="OK"),
    "/version": canned.Answer(body=version("mlflow")),
}


@pytest.mark.server
def test_a_real_mlflow_is_well(settings: Settings) -> None:
    """It answers, its version and clock agree, and the registry can be read."""
    found = [tracking.reachable(settings), *tracking.check(settings)]

    assert {one.state for one in found} == {"ok"}
    assert ("ok", f"{settings.model_name} has 0 versions") in findings.of("MLflow", found)
    assert len(findings.of("clock", found)) == 1


@pytest.mark.server
def test_a_host_that_mlflow_does_not_know(settings: Settings) -> None:
    """The name that people use is refused by the real server, and the remedy names its flag."""
    public = settings.model_copy(update={"mlflow_url": "https://mlflow.example.com"})

    found = [one for one in tracking.check(public) if one.state == "wrong"]

    assert "mlflow.example.com (403" in findings.only(found).text
    assert "--allowed-hosts 'mlflow.example.com,mlflow.example.com:*" in findings.only(found).remedy


def test_a_tracking_address_that_mlflow_does_not_know() -> None:
    """Our own address refused ends the check of MLflow: nothing else would get through."""
    refusal = canned.Answer(403, "Invalid Host header - possible DNS rebinding attack detected")
    answers = {**MLFLOW, "/api/2.0/mlflow/experiments/search": refusal}
    with canned.server(answers) as (url, _):
        found = list(tracking.check(Settings(tracking_uri=url)))

    assert [one.state for one in found] == ["ok", "unset", "wrong"]
    assert "--allowed-hosts" in found[-1].remedy


@pytest.mark.parametrize(
    "answers",
    [{}, {"/health": canned.Answer(body="<html>")}, {"/health": canned.Answer(503, "OK")}],
    ids=["nothing there", "a web page", "not ready"],
)
def test_something_else_at_the_address_of_mlflow(answers: dict[str, canned.Answer]) -> None:
    """What does not answer as MLflow does is not taken for it."""
    with canned.server(answers) as (url, _):
        found = tracking.reachable(Settings(tracking_uri=url))

    assert (found.state, "PIPELINE_TRACKING_URI" in found.remedy) == ("wrong", True)


def test_another_version_of_mlflow() -> None:
    """A server of another minor version is told apart, with the version to run."""
    with canned.server({**MLFLOW, "/version": canned.Answer(body="2.9.2")}) as (url, _):
        found = next(tracking.check(Settings(tracking_uri=url)))

    assert found.state == "wrong"
    assert f"mlflow=={version('mlflow')}" in found.remedy


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, "ok"), (20, "ok"), (45, "wrong"), (-45, "wrong")]
)
def test_a_clock_that_is_off(seconds: int, state: str) -> None:
    """Half a minute between the clocks is said, in either direction."""
    from time import time

    date = format_datetime(when(int((time() + seconds) * 1000)), usegmt=True)
    answers = {**MLFLOW, "/version": canned.Answer(headers={"date": date})}
    with canned.server(answers) as (url, _):
        _, found = (
            finding
            for finding, _ in zip(tracking.check(Settings(tracking_uri=url)), "ab", strict=False)
        )

    assert (found.area, found.state) == ("clock", state)
    assert (seconds < 0) == ("behind" in found.text)


# Webhooks


@pytest.fixture
def hook(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A webhook for the model on the real MLflow; its id."""
    monkeypatch.delenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", raising=False)
    made = registry.client.create_webhook(
        f"{registry.name}-review",
        "http://127.0.0.1:9/mlflow",
        ["model_version_tag.set"],
        secret="shared",
    )
    yield made.webhook_id
    registry.client.delete_webhook(made.webhook_id)


@pytest.mark.server
def test_webhooks_that_are_set_up(settings: Settings, hook: str) -> None:
    """A secret here and a webhook there: reviews are noticed at once."""
    found = list(tracking.webhooks(Settings(**settings.model_dump() | {"webhook_secret": "x"})))

    assert findings.only(found).state == "ok"
    assert "http://127.0.0.1:9/mlflow" in findings.only(found).text


@pytest.mark.server
def test_a_disabled_webhook(registry: Registry, settings: Settings, hook: str) -> None:
    """A webhook that somebody switched off is said."""
    registry.client.update_webhook(hook, status="DISABLED")

    found = list(tracking.webhooks(Settings(**settings.model_dump() | {"webhook_secret": "x"})))

    assert (findings.only(found).state, "ACTIVE" in findings.only(found).remedy) == ("wrong", True)


@pytest.mark.server
def test_half_of_the_webhooks_set_up(settings: Settings, hook: str) -> None:
    """A webhook without our secret is a fault, a secret without a webhook as well."""
    unread = findings.only(tracking.webhooks(settings))
    other = settings.model_dump() | {"webhook_secret": "x", "model_name": uuid4().hex}
    unsent = findings.only(tracking.webhooks(Settings(**other)))
    neither = findings.only(tracking.webhooks(Settings(**other | {"webhook_secret": ""})))

    assert (unread.state, "PIPELINE_WEBHOOK_SECRET" in unread.remedy) == ("wrong", True)
    assert (unsent.state, "webhook --url" in unsent.remedy) == ("wrong", True)
    assert neither.state == "unset"


@pytest.mark.server
def test_an_encryption_key_of_another_time(
    mlflow_server: Process, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Webhooks that were made with another key cannot be read by the server: the key is named."""
    # Straight into its database, by a process that has not its key.
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    store = f"sqlite:///{mlflow_server._log.with_name('mlflow.db')}"
    client = MlflowClient(store, store)
    made = client.create_webhook(
        "review", "https://127.0.0.1/", ["model_version_tag.set"], secret="shared"
    )
    try:
        found = findings.only(tracking.webhooks(settings))
    finally:
        client.delete_webhook(made.webhook_id)

    assert found.state == "wrong"
    assert "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY" in found.remedy


@pytest.mark.server
@pytest.mark.parametrize(
    ("key", "states"),
    [("too short", ["wrong", "unset"]), (Fernet.generate_key().decode(), ["unset"])],
    ids=["too short", "right"],
)
def test_an_encryption_key_that_is_none(
    key: str, states: list[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the key is known here, its form is checked."""
    monkeypatch.setenv("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", key)

    assert [one.state for one in tracking.webhooks(settings)] == states
