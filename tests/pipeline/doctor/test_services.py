"""What `doctor` finds about the data and about the services around MLflow."""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import uuid4

import canned
import findings
import labelled
import pytest
from boto3.session import Session

from pipeline.doctor import services
from pipeline.local.process import free_port
from pipeline.local.servers import ObjectStore
from pipeline.registry import Registry
from pipeline.registry.versions import CHAMPION, Tag
from pipeline.rollout.follower import Follower
from pipeline.settings import Settings

EXAMPLES = Path(__file__).parents[3] / "examples"
SECRET = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/c3cr3t"  # pragma: allowlist secret


@pytest.mark.server
def test_data_that_can_be_fetched(use_s3: ObjectStore, settings: Settings) -> None:
    """A folder and a bucket are both read, and counted."""
    prefix = f"doctor-{uuid4().hex[:8]}"
    file = EXAMPLES / "eval" / "news.jsonl"
    Session().client("s3").upload_file(str(file), "data", f"{prefix}/news.jsonl")

    here = services.data(str(EXAMPLES / "eval"), settings)
    there = services.data(f"s3://data/{prefix}", settings)

    assert (here.state, there.state) == ("ok", "ok")
    assert "90 texts, 6 labels" in here.text
    assert "62 texts, 6 labels" in there.text


def test_data_that_cannot_be_used(tmp_path: Path) -> None:
    """A folder that is missing, empty or holds something else is said."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.jsonl").write_text('{"text": "no"}\n', encoding="utf-8")
    settings = Settings()

    found = [services.data(str(tmp_path / name), settings) for name in ("none", "bad", "")]

    assert [one.state for one in found] == ["wrong", "wrong", "wrong"]
    assert "x.jsonl line 1" in found[1].text


def test_data_that_a_run_would_refuse(tmp_path: Path) -> None:
    """What is fine row by row is held against each other, as the first step of a run does."""
    rows = labelled.sentences()
    twice = labelled.write(tmp_path / "twice" / "a.jsonl", [*rows, rows[0]]).parent
    rare = labelled.write(tmp_path / "rare" / "a.jsonl", rows[:4]).parent
    ahead = labelled.write(tmp_path / "ahead" / "a.jsonl", rows)
    os.utime(ahead, (time.time() + 9_000,) * 2)

    found = [services.data(str(one), Settings()) for one in (twice, rare, ahead.parent)]

    assert [one.state for one in found] == ["wrong", "wrong", "wrong"]
    for one, said in zip(
        found, ("is a duplicate of", "fewer than 5", "in the future"), strict=True
    ):
        assert said in one.text


@pytest.mark.server
def test_a_predictor_that_serves_something_else(registry: Registry, settings: Settings) -> None:
    """The registry's champion and the predictor's model are held against each other."""
    registry.client.create_registered_model(registry.name)
    registry.client.create_model_version(
        registry.name, "s3://mlflow/nothing", tags={Tag.BUNDLE_DIGEST: "a" * 64}
    )
    registry.client.set_registered_model_alias(registry.name, CHAMPION, "1")
    found = []
    for digest in ("a" * 64, "b" * 64):
        body = {"model": {"id": "some/model", "digest": digest}}
        with canned.server({"/api/v1/config": canned.Answer(body=body)}) as (url, _):
            seen = settings.model_copy(update={"predictor_url": url})
            found.append(services.predictor(seen, registry=True))

    assert [one.state for one in found] == ["ok", "wrong"]
    assert f"models:/{registry.name}@champion" in found[1].remedy


def test_a_predictor_that_is_not_there() -> None:
    """On one machine there is the line that starts it; on a cluster it is no process of ours."""
    settings = Settings(predictor_url=f"http://127.0.0.1:{free_port()}")

    here = services.predictor(settings, registry=False)
    there = services.predictor(settings.model_copy(update={"rollout": "kserve"}), registry=False)

    assert (here.state, there.state) == ("wrong", "wrong")
    assert f"start it with `{Follower(settings).command}`, or set" in here.remedy
    assert there.remedy.startswith("start it, or set PIPELINE_PREDICTOR_URL")


def test_a_cluster_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With KServe asked for and no cluster there is a line about it, and no traceback."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))

    found = list(services.rollout(Settings(rollout="kserve")))

    assert findings.only(found).state == "wrong"


WELL = canned.Answer(body={"tag_name": "2.14.0"})


@pytest.mark.parametrize(
    ("health", "pipelines", "state", "text"),
    [
        (WELL, canned.Answer(body={}), "ok", "version 2.14.0"),
        (canned.Answer(body={"tag_name": "2.5.0"}), canned.Answer(body={}), "wrong", "again"),
        (canned.Answer(body={"tag_name": "unknown"}), canned.Answer(body={}), "ok", "not tell"),
        (canned.Answer(302, headers={"location": "/dex"}), WELL, "wrong", "asks for a login"),
        (WELL, canned.Answer(401), "wrong", "asks for a login (401)"),
        (canned.Answer(body="<html>"), WELL, "wrong", "not as Kubeflow does"),
        (WELL, canned.Answer(404), "wrong", "answered 404"),
        (canned.Answer(500), WELL, "wrong", "answered 500"),
    ],
    ids=["new", "old", "silent", "login", "token", "page", "other", "broken"],
)
def test_kubeflow(health: canned.Answer, pipelines: canned.Answer, state: str, text: str) -> None:
    """An API that is there, lets us in and is new enough is well."""
    answers = {"/apis/v2beta1/healthz": health, "/apis/v2beta1/pipelines": pipelines}
    with canned.server(answers) as (url, _):
        found = services.kubeflow(Settings(kfp_host=url))

    assert found.state == state
    assert text in found.text


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (canned.Answer(body={"status": "success"}), "ok"),
        (canned.Answer(422, {"status": "error"}), "wrong"),
        (canned.Answer(body="<html>"), "wrong"),
    ],
    ids=["well", "refuses", "page"],
)
def test_prometheus(answer: canned.Answer, state: str) -> None:
    """It has to answer a query."""
    with canned.server({"/api/v1/query": answer}) as (url, _):
        found = services.prometheus(Settings(prometheus_url=url))

    assert found.state == state


@pytest.mark.parametrize(
    ("address", "state"),
    [
        (SECRET, "ok"),
        (SECRET.replace("https", "http"), "wrong"),
        ("https://hooks.slack.com/", "wrong"),
        ("hooks.slack.com/services/T0/B0/x", "wrong"),
        ("https://chat.example.com/hooks/abc", "ok"),
        ("", "unset"),
    ],
)
def test_the_shape_of_slacks_address(address: str, state: str) -> None:
    """Nothing is sent unless asked, and the address is not repeated."""
    found = services.slack(Settings(slack_webhook_url=address), send=False)

    assert found.state == state
    assert "c3cr3t" not in str(found)
    assert "/services/T0" not in str(found)


@pytest.mark.parametrize(
    ("answer", "state"),
    [(canned.Answer(body="ok"), "ok"), (canned.Answer(404, "no_service"), "wrong")],
    ids=["taken", "refused"],
)
def test_slack_is_tried_when_asked(
    answer: canned.Answer, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message is sent, and what Slack says becomes the finding."""
    with canned.server({"/services/T0/B0/x": answer}) as (url, seen):
        settings = Settings(slack_webhook_url=f"{url}/services/T0/B0/x")
        found = services.slack(settings, send=True)

    assert found.state == state
    assert len(seen) == 1
    assert ("no_service" in found.text) == (state == "wrong")
    assert capsys.readouterr().out == ""
