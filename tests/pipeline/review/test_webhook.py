"""The review service, called by a real MLflow server."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import review_service
import reviewed
from pydantic import SecretStr
from registered import client
from review_service import SECRET, Service, serving
from reviewed import Launches

from pipeline.errors import PipelineError, RolloutBusy, SettingsError
from pipeline.local.process import answers, free_port
from pipeline.registry import Registry
from pipeline.review import webhook
from pipeline.runs.local import environment
from pipeline.settings import Settings

pytestmark = pytest.mark.server


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    with review_service.hooked(settings) as changed:
        yield changed


@pytest.fixture
def service(settings: Settings, registry: Registry, launches: Launches) -> Iterator[Service]:
    """The service; it polls at its start and then not again during a test."""
    with serving(webhook.app(settings, registry, launches, poll_seconds=3_600)) as started:
        assert reviewed.eventually(lambda: health(started)["polled_at"])
        yield started


def health(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{service.url}/health", trust_env=False).json()
    return found


def event(registry: Registry, **changes: object) -> bytes:
    """What MLflow sends when the review tag of version 1 was set."""
    data = {"name": registry.name, "version": "1", "key": "review", "value": "approved"}
    body = {"entity": "model_version_tag", "action": "set", "data": {**data, **changes}}
    return json.dumps(body).encode()


def test_a_tag_set_in_mlflow_starts_one_rollout(
    settings: Settings, registry: Registry, service: Service, launches: Launches
) -> None:
    """MLflow delivers, the service checks and decides."""
    webhook.ensure(settings, service.url)
    number = reviewed.asked(registry)

    reviewed.click(registry, number, "approved")

    assert reviewed.eventually(lambda: launches.started)
    reviewed.click(registry, number, "approved")
    assert reviewed.eventually(
        lambda: reviewed.tags(registry, number).get("review_decision") == "approved"
    )
    assert launches.numbers == [number]


def test_a_rejection_in_mlflow_is_noticed(
    settings: Settings, registry: Registry, service: Service, launches: Launches
) -> None:
    """The version's status tells."""
    webhook.ensure(settings, service.url)
    number = reviewed.asked(registry)

    reviewed.click(registry, number, "rejected")

    assert reviewed.eventually(lambda: reviewed.tags(registry, number)["status"] == "rejected")
    assert launches.started == []


def test_registering_the_webhook_twice_keeps_one(settings: Settings, registry: Registry) -> None:
    """A new address or secret takes the place of the old one; doubles go away."""
    first = webhook.ensure(settings, "http://127.0.0.1:1")
    client = registry.client
    name = f"{registry.name}-review"
    client.create_webhook(name, "http://127.0.0.1:2", ["model_version_tag.set"])

    second = webhook.ensure(settings, "http://127.0.0.1:3/mlflow/")

    ours = [one for one in client.list_webhooks() if one.name == name]
    assert second == first
    assert [(one.url, str(one.status)) for one in ours] == [("http://127.0.0.1:3/mlflow", "ACTIVE")]


def test_mlflow_refusing_the_webhook_names_its_variables(settings: Settings) -> None:
    """An operator reads what the server needs."""
    with pytest.raises(PipelineError, match="MLFLOW_WEBHOOK_ALLOWED_SCHEMES") as error:
        webhook.ensure(settings, "ftp://127.0.0.1:1")

    assert SECRET not in str(error.value)


def test_without_a_secret_nothing_starts(settings: Settings) -> None:
    """Everybody could approve."""
    unsafe = settings.model_copy(update={"webhook_secret": SecretStr("")})

    with pytest.raises(SettingsError, match="PIPELINE_WEBHOOK_SECRET is empty"):
        webhook.app(unsafe, launch=Launches())


def test_a_replay_is_refused_also_after_a_restart(
    settings: Settings, registry: Registry, service: Service, launches: Launches
) -> None:
    """The same delivery counts once."""
    body = event(registry)
    first = service.post(body, name="delivery-1")
    again = service.post(body, name="delivery-1")
    with serving(webhook.app(settings, registry, launches)) as restarted:
        after = restarted.post(body, name="delivery-1")

    assert [one.status_code for one in (first, again, after)] == [202, 409, 409]
    assert again.json() == {"error": "this delivery was taken before"}


def test_what_is_about_something_else_is_passed_over(
    registry: Registry, service: Service, launches: Launches
) -> None:
    """Other models, other tags, other events."""
    number = reviewed.asked(registry)
    others = [
        event(registry, name="other-model"),
        event(registry, key="owner"),
        event(registry).replace(b'"set"', b'"deleted"'),
        event(registry).replace(b"_tag", b"_alias"),
    ]
    statuses = [service.post(body).status_code for body in others]

    assert statuses == [204] * 4
    assert reviewed.tags(registry, number)["review"] == "pending"
    assert launches.tries == 0


def test_a_delivery_is_no_approval_in_itself(
    registry: Registry, service: Service, launches: Launches
) -> None:
    """What counts is the tag as MLflow has it when it is asked."""
    number = reviewed.asked(registry)
    lied = service.post(event(registry, version=str(number), value="approved"))
    reviewed.click(registry, number, "rejected")

    service.post(event(registry, version=str(number), value="approved"))

    assert lied.status_code == 202
    assert reviewed.eventually(lambda: reviewed.tags(registry, number)["status"] == "rejected")
    assert launches.tries == 0


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"x-mlflow-signature": "v1,AAAA"}, 401, "the signature is wrong"),
        ({"x-mlflow-signature": ""}, 401, "X-MLflow-Signature"),
        ({"stamp": "1000"}, 403, "s behind this machine's clock"),
        ({"stamp": "99999999999"}, 403, "s ahead of this machine's clock"),
    ],
    ids=["wrong", "unsigned", "old", "ahead"],
)
def test_a_delivery_that_is_not_mlflows_is_refused(
    registry: Registry, service: Service, changes: dict[str, str], status: int, text: str
) -> None:
    """With a reason that an operator can act on, in JSON."""
    answer = service.post(event(registry), **changes)

    assert answer.status_code == status
    assert text in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"[" * 50_000, 400),
        (b'{"entity": "model_version_tag", "action": "set", "data": 1}', 400),
        (b"x" * (webhook.BODY_LIMIT + 1), 413),
    ],
    ids=["empty", "list", "bytes", "deep", "no data", "large"],
)
def test_a_body_that_is_no_event_is_refused(service: Service, body: bytes, status: int) -> None:
    """Also where it is signed, and in JSON."""
    answer = service.post(body)

    assert answer.status_code == status
    assert answer.json().keys() == {"error"}
    assert health(service)["status"] == "ok"


@pytest.mark.parametrize("version", ["", "x", "²", "-1", None])
def test_a_version_that_is_no_number_is_refused(
    registry: Registry, service: Service, version: str | None
) -> None:
    """Nothing is looked up with it."""
    answer = service.post(event(registry, version=version))

    assert answer.status_code == 400


def test_other_addresses_are_answered_in_json(service: Service) -> None:
    """Neither a page nor documentation."""
    answers = [
        httpx.get(f"{service.url}{path}", trust_env=False)
        for path in ("/", "/docs", "/openapi.json", "/mlflow")
    ]

    assert [one.status_code for one in answers] == [404, 404, 404, 405]
    assert all(one.json()["error"] for one in answers)


def test_a_body_that_never_ends_is_given_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection cannot be held for long."""
    monkeypatch.setattr(webhook, "BODY_SECONDS", 0.2)
    host, port = service.url.removeprefix("http://").split(":")

    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /mlflow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
        answer = connection.recv(1_000)

    assert answer.startswith(b"HTTP/1.1 408")


def test_what_was_taken_before_a_crash_is_made_up_for(
    settings: Settings, registry: Registry, launches: Launches
) -> None:
    """A service that starts looks at all open reviews."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")

    with serving(webhook.app(settings, registry, launches, poll_seconds=3_600)):
        started = reviewed.eventually(lambda: launches.started)

    assert started
    assert launches.numbers == [number]


def test_a_rollout_that_could_not_start_is_started_at_a_later_look(
    settings: Settings, registry: Registry, launches: Launches
) -> None:
    """Another rollout was under way."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")
    launches.error = RolloutBusy("version 7 is being rolled out")

    with serving(webhook.app(settings, registry, launches, poll_seconds=0.2)) as service:
        assert reviewed.eventually(lambda: launches.tries)
        assert health(service)["status"] == "ok"
        launches.error = None
        started = reviewed.eventually(lambda: launches.started)

    assert started
    assert launches.numbers == [number]


def test_a_bug_in_one_decision_does_not_end_the_service(
    registry: Registry, service: Service, launches: Launches
) -> None:
    """The next delivery is heard."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")
    launches.error = ZeroDivisionError()
    service.post(event(registry))
    assert reviewed.eventually(lambda: launches.tries)
    launches.error = None

    service.post(event(registry))

    assert reviewed.eventually(lambda: launches.started)
    assert health(service)["status"] == "ok"


def test_nothing_secret_reaches_a_log(
    settings: Settings,
    registry: Registry,
    service: Service,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither the secret nor a signature, whatever the level."""
    caplog.set_level(logging.DEBUG)
    webhook.ensure(settings, service.url)
    body = event(registry)

    answers = [service.post(body), service.post(body, **{"x-mlflow-signature": "v1,c2VjcmV0"})]

    seen = caplog.text + "".join(capfd.readouterr()) + "".join(one.text for one in answers)
    assert SECRET not in seen
    assert "v1," not in seen


def test_the_service_says_where_it_listens(settings: Settings) -> None:
    """At once, and Ctrl-C ends it with the usual code."""
    port = free_port()
    command = [sys.executable, "-m", "pipeline", "webhook", "--address", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert reviewed.eventually(answers(f"http://127.0.0.1:{port}/health"))
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)

    assert said == f"listening at http://127.0.0.1:{port}/mlflow\n"
    assert code == 130


def test_a_port_that_cannot_be_had_is_named(settings: Settings) -> None:
    """Before MLflow is told to deliver there."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port} of 127.0.0.1 is taken; choose ano"):
            webhook.serve(settings, "127.0.0.1", port, "http://127.0.0.1:1")
    with pytest.raises(SettingsError, match=r"port 8090 of 192\.0\.2\.1 cannot be had: "):
        webhook.serve(settings, "192.0.2.1", 8090)
    with pytest.raises(
        SettingsError, match="port 99999 does not exist; choose another with --port"
    ):
        webhook.serve(settings, "127.0.0.1", 99999)

    assert not any(settings.model_name in one.name for one in client(settings).list_webhooks())
