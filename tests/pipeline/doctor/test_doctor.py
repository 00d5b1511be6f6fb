"""What `doctor` finds, on real servers that are well and on broken ones."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import canned
import findings
import pytest
from rich.console import Console

from pipeline import doctor
from pipeline.doctor import tracking
from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.errors import Unavailable
from pipeline.local.process import Process, free_port
from pipeline.local.servers import Database, ObjectStore
from pipeline.settings import Settings

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.server
def test_a_whole_installation_that_is_well(
    mlflow_on_mariadb: Process, mariadb: Database, use_s3: ObjectStore, settings: Settings
) -> None:
    """MLflow on MariaDB and S3, data, a predictor, Kubeflow and Slack: nothing to do."""
    predictor = {"model": {"id": "some/model", "digest": "a" * 64}}
    answers = {
        "/api/v1/config": canned.Answer(body=predictor),
        "/apis/v2beta1/healthz": canned.Answer(body={"tag_name": "2.14.3"}),
        "/apis/v2beta1/pipelines": canned.Answer(body={}),
        "/api/v1/query": canned.Answer(body={"status": "success"}),
        "/services/T0/B0/x": canned.Answer(body="ok"),
    }
    with canned.server(answers) as (url, _):
        whole = Settings(
            tracking_uri=mlflow_on_mariadb.url,
            model_name=settings.model_name,
            experiment=settings.experiment,
            home=settings.home,
            predictor_url=url,
            kfp_host=url,
            prometheus_url=url,
            database_url=mariadb.uri,
            slack_webhook_url=f"{url}/services/T0/B0/x",
        )
        found = doctor.run(whole, send=True, data=str(EXAMPLES / "eval"))

    assert [one for one in found if one.state == "wrong"] == []
    [(state, text)] = findings.of("artifacts", found)
    assert (state, text.startswith("s3://mlflow/artifacts")) == ("ok", True)
    assert ("ok", "mlflow may read, write and alter") in findings.of("database", found)
    assert findings.of("Slack", found) == [("ok", "took a message")]
    assert doctor.show(found, Console(file=io.StringIO())) == 0


def test_with_nothing_up_every_part_still_has_its_line(tmp_path: Path) -> None:
    """Where MLflow is down, what depends on it is not called broken as well."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    found = doctor.run(Settings(tracking_uri=nowhere, predictor_url=nowhere, home=tmp_path))

    assert {one.area for one in found if one.state == "wrong"} == {"MLflow", "predictor"}
    assert {one.area for one in found if one.state == "unset"} >= {
        "artifacts",
        "database",
        "data",
        "rollout",
        "Kubeflow",
        "Prometheus",
        "webhooks",
        "Slack",
    }
    assert doctor.show(found, Console(file=io.StringIO())) == 1


def test_the_lines_say_what_to_do() -> None:
    """A remedy stands under its line; brackets in it are no markup; an area is named once."""
    console = Console(file=io.StringIO(), width=80)
    lines = [ok("disk", "[9] GiB"), wrong("disk", "full", "make room [now]"), unset("x", "no")]

    code = doctor.show(lines, console)

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert code == 1
    assert "[9] GiB" in text
    assert "→ make room [now]" in text
    assert text.count("disk") == 1
    assert "1 to do" in text


def test_a_server_that_goes_away_loses_no_findings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a check had found before its server went away is kept."""

    def check(_: Settings) -> Iterator[Finding]:
        yield ok("MLflow", "before")
        raise Unavailable("gone")

    monkeypatch.setattr(tracking, "reachable", lambda _: ok("MLflow", "up"))
    monkeypatch.setattr(tracking, "check", check)
    nowhere = f"http://127.0.0.1:{free_port()}"
    found = doctor.run(Settings(tracking_uri=nowhere, predictor_url=nowhere))

    assert findings.of("MLflow", found) == [("ok", "up"), ("ok", "before"), ("wrong", "gone")]
