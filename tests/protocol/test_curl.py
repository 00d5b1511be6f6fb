"""curl and CloudEvents get the same entities as V1's own clients."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import wire
from samples import LABELS, TEXTS, THRESHOLD, Found, assert_same
from servers import RunningServer

pytestmark = pytest.mark.server


def curl(server: RunningServer, path: str, *arguments: str) -> Any:
    """What curl prints, parsed."""
    done = subprocess.run(
        ["curl", "-sS", "--fail-with-body", "-m", "60", server.url + path, *arguments],
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-d", f"text={TEXTS[1]}", "-d", "labels=person, location", "-d", "threshold=0.001"],
        ["--data-urlencode", f"text={TEXTS[1]}", "-d", "labels=person,location&threshold=0.001"],
        ["-F", f"text={TEXTS[1]}", "-F", "labels=person,location", "-F", "threshold=0.001"],
        ["-d", f"text={TEXTS[1]}&labels=person&labels=location&threshold=0.001"],
        ["--json", json.dumps({"text": TEXTS[1], "labels": LABELS, "threshold": THRESHOLD})],
        [
            "--json",
            json.dumps({"text": TEXTS[1], "labels": "person, location", "threshold": 0.001}),
        ],
    ],
    ids=["form", "encoded", "multipart", "repeated", "JSON list", "JSON text"],
)
def test_curl_predict(server: RunningServer, alone: Found, arguments: list[str]) -> None:
    """`POST /predict` takes forms and JSON, and groups what it finds by label."""
    grouped = curl(server, "/predict", *arguments)["entities"]

    entities = [{**one, "label": label} for label, found in grouped.items() for one in found]
    assert_same([sorted(entities, key=lambda one: one["start"])], [alone[1]])


@pytest.mark.parametrize(
    "labels",
    [{"entity_type": LABELS}, {"entity_type": "person,location"}, {"labels": LABELS}],
    ids=["list", "text", "labels"],
)
def test_curl_api(server: RunningServer, alone: Found, labels: dict[str, Any]) -> None:
    """`POST /api/v1/predict` takes `entity_type` or `labels`, and says how long it took."""
    body = json.dumps({"text": TEXTS[0], "threshold": THRESHOLD, **labels})

    answer = curl(server, "/api/v1/predict", "--json", body)

    assert_same([answer["entities"]], [alone[0]])
    assert 0 < answer["processing_time"] < 60


def test_curl_v1(server: RunningServer, expected: Found) -> None:
    """`curl -d` with the JSON content type is enough for V1."""
    body = {"instances": TEXTS, "parameters": {"labels": LABELS, "threshold": THRESHOLD}}

    answer = curl(server, wire.V1, "-H", "Content-Type: application/json", "-d", json.dumps(body))

    assert_same([one["entities"] for one in answer["predictions"]], expected)


# ---------------------------------------------------------------- CloudEvents


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_binary_event(server: RunningServer, expected: Found, kind: str) -> None:
    """An event in headers is answered with one."""
    payload = {"instances": TEXTS, "parameters": {"labels": LABELS, "threshold": THRESHOLD}}
    event = {"ce-id": "1", "ce-source": "test", "ce-type": "text", "ce-specversion": "1.0"}

    reply = wire.post(server, wire.V1, payload, {**event, "content-type": kind})

    assert_same(reply.entities(), expected)
    assert reply.headers["ce-type"] == "io.kserve.inference.response"
    assert reply.headers["ce-source"] == "io.kserve.inference.gliner"


@pytest.mark.parametrize("charset", ["", "; charset=UTF-8"])
@pytest.mark.parametrize("more", [{}, {"time": "2026-01-01T00:00:00Z", "subject": "a"}])
def test_structured_event(
    server: RunningServer, expected: Found, charset: str, more: dict[str, str]
) -> None:
    """An event in JSON is answered with one, with and without its optional attributes."""
    data = {"instances": TEXTS, "parameters": {"labels": LABELS, "threshold": THRESHOLD}}
    event = {"id": "1", "source": "test", "type": "text", "specversion": "1.0", "data": data}

    answer = server.http.post(
        wire.V1,
        content=json.dumps(event | more),
        headers={"content-type": f"application/cloudevents+json{charset}"},
    )

    assert answer.headers["content-type"] == "application/cloudevents+json"
    assert answer.json()["specversion"] == "1.0"
    assert_same([one["entities"] for one in answer.json()["data"]["predictions"]], expected)
