"""What `doctor` finds, on real servers that are well and on broken ones."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from email.utils import format_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import canned
import pymysql
import pytest
from boto3.session import Session
from cryptography.fernet import Fernet
from mlflow import MlflowClient
from rich.console import Console

from pipeline import doctor
from pipeline.doctor import artifacts, database, machine, services, tracking
from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.errors import Unavailable
from pipeline.local.process import Process, free_port
from pipeline.local.servers import Database, ObjectStore
from pipeline.registry import Registry
from pipeline.registry.versions import CHAMPION, Tag, when
from pipeline.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/c3cr3t"
MLFLOW = {
    "/health": canned.Answer(body="OK"),
    "/version": canned.Answer(body=version("mlflow")),
}


def of(area: str, findings: Any) -> list[tuple[str, str]]:
    return [(one.state, one.text) for one in findings if one.area == area]


def only(findings: Any) -> Finding:
    [found] = findings
    assert isinstance(found, Finding)
    return found


# All of it


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
    [(state, text)] = of("artifacts", found)
    assert (state, text.startswith("s3://mlflow/artifacts")) == ("ok", True)
    assert ("ok", "mlflow may read, write and alter") in of("database", found)
    assert of("Slack", found) == [("ok", "took a message")]
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
    findings = [ok("disk", "[9] GiB"), wrong("disk", "full", "make room [now]"), unset("x", "no")]

    code = doctor.show(findings, console)

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

    assert of("MLflow", found) == [("ok", "up"), ("ok", "before"), ("wrong", "gone")]


# MLflow


@pytest.mark.server
def test_a_real_mlflow_is_well(settings: Settings) -> None:
    """It answers, its version and clock agree, and the registry can be read."""
    found = [tracking.reachable(settings), *tracking.check(settings)]

    assert {one.state for one in found} == {"ok"}
    assert ("ok", f"{settings.model_name} has 0 versions") in of("MLflow", found)
    assert len(of("clock", found)) == 1


@pytest.mark.server
def test_a_host_that_mlflow_does_not_know(settings: Settings) -> None:
    """The name that people use is refused by the real server, and the remedy names its flag."""
    public = settings.model_copy(update={"mlflow_url": "https://mlflow.example.com"})

    found = [one for one in tracking.check(public) if one.state == "wrong"]

    assert "mlflow.example.com (403" in only(found).text
    assert "--allowed-hosts 'mlflow.example.com,mlflow.example.com:*" in only(found).remedy


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

    assert only(found).state == "ok"
    assert "http://127.0.0.1:9/mlflow" in only(found).text


@pytest.mark.server
def test_a_disabled_webhook(registry: Registry, settings: Settings, hook: str) -> None:
    """A webhook that somebody switched off is said."""
    registry.client.update_webhook(hook, status="DISABLED")

    found = list(tracking.webhooks(Settings(**settings.model_dump() | {"webhook_secret": "x"})))

    assert (only(found).state, "ACTIVE" in only(found).remedy) == ("wrong", True)


@pytest.mark.server
def test_half_of_the_webhooks_set_up(settings: Settings, hook: str) -> None:
    """A webhook without our secret is a fault, a secret without a webhook as well."""
    unread = only(tracking.webhooks(settings))
    other = settings.model_dump() | {"webhook_secret": "x", "model_name": uuid4().hex}
    unsent = only(tracking.webhooks(Settings(**other)))
    neither = only(tracking.webhooks(Settings(**other | {"webhook_secret": ""})))

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
        found = only(tracking.webhooks(settings))
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


# Artifacts


def rooted(registry: Registry, root: str) -> None:
    registry.client.create_experiment(registry.settings.experiment, artifact_location=root)


@pytest.mark.server
def test_a_bucket_that_we_may_use(
    registry: Registry, settings: Settings, use_s3: ObjectStore
) -> None:
    """A probe is written, read and taken away again."""
    rooted(registry, "s3://mlflow/doctor/1")

    found = only(artifacts.check(settings))

    assert found.state == "ok"
    assert not list((use_s3.folder / "mlflow").rglob("doctor-*"))


@pytest.mark.server
@pytest.mark.parametrize(
    ("root", "variables", "text", "remedy"),
    [
        ("s3://missing/1", {}, "bucket missing", "make the bucket missing"),
        ("s3://mlflow/1", {"AWS_SECRET_ACCESS_KEY": "wrong"}, "mlflow", "AWS_SECRET_ACCESS_KEY"),
        ("s3://mlflow/1", {"AWS_ACCESS_KEY_ID": "stranger"}, "mlflow", "AWS_ACCESS_KEY_ID"),
        ("s3://mlflow/1", {"MLFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "127.0.0.1:9", "AWS_"),
    ],
    ids=["no bucket", "wrong secret", "unknown key", "no server"],
)
def test_a_bucket_that_we_may_not_use(
    root: str,
    variables: dict[str, str],
    text: str,
    remedy: str,
    registry: Registry,
    settings: Settings,
    use_s3: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What S3 refuses is said with what to set, and no key is shown."""
    rooted(registry, root)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    found = list(artifacts.check(settings))

    assert found[-1].state == "wrong"
    assert text in found[-1].text
    assert remedy in found[-1].remedy
    assert use_s3.env["AWS_SECRET_ACCESS_KEY"] not in str(found)


@pytest.mark.server
def test_two_addresses_of_s3(
    registry: Registry, settings: Settings, use_s3: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow and boto3 read their own variables; that they differ is said."""
    rooted(registry, "s3://mlflow/1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://other.example.com")

    found = list(artifacts.check(settings))

    assert [one.state for one in found] == ["wrong", "ok"]
    assert "different servers" in found[0].text


@pytest.mark.server
@pytest.mark.parametrize("root", ["mlflow-artifacts:/1", "folder"])
def test_artifacts_that_kserve_cannot_read(
    root: str, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    """Proxied artifacts and folders do on one machine and not on a cluster."""
    rooted(registry, root if ":" in root else tmp_path.as_uri())

    here = only(artifacts.check(settings))
    there = only(artifacts.check(settings.model_copy(update={"rollout": "kserve"})))

    assert (here.state, there.state) == ("ok", "wrong")
    assert "KServe cannot read" in there.text
    assert "--no-serve-artifacts --default-artifact-root s3://" in there.remedy


@pytest.mark.server
def test_before_the_first_run_the_default_root_is_looked_at(settings: Settings) -> None:
    """With no experiment yet, what MLflow would give it is what counts."""
    found = only(artifacts.check(settings))

    assert (found.state, "artifacts" in found.text) == ("ok", True)


# Database


@pytest.fixture(scope="module")
def root(mariadb: Database) -> Iterator[Any]:
    """Runs statements as the administrator of the real MariaDB."""
    socket = Path(os.environ.get("TMPDIR", "/tmp")) / f"gliner-mariadb-{mariadb.port}.sock"
    connection = pymysql.connect(unix_socket=str(socket), user="root", autocommit=True)
    connection.cursor().execute("CREATE DATABASE doctor CHARACTER SET utf8mb4")

    def run(*statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    yield run
    run("DROP DATABASE doctor")
    connection.close()


@pytest.fixture
def account(mariadb: Database, root: Any) -> Iterator[Any]:
    """Makes an account with some rights on the database `doctor`; gives its address."""
    name = f"u{uuid4().hex[:8]}"

    def make(rights: str, database: str = "doctor") -> str:
        root(f"CREATE USER {name}@'localhost' IDENTIFIED BY 's3cr3t'")
        if rights:
            root(f"GRANT {rights} ON doctor.* TO {name}@'localhost'")
        return f"mysql+pymysql://{name}:s3cr3t@{mariadb.host}:{mariadb.port}/{database}"

    yield make
    root(f"DROP USER IF EXISTS {name}@'localhost'")


def looked(**addresses: str) -> list[Finding]:
    found = list(database.check(Settings(**addresses, http_timeout_seconds=5)))  # type: ignore[arg-type]
    assert "s3cr3t" not in str(found)
    return [one for one in found if one.state != "unset"]


@pytest.mark.server
def test_a_database_with_all_rights(account: Any) -> None:
    """An account that owns its database is all that MLflow needs."""
    found = looked(database_url=account("ALL PRIVILEGES"))

    assert [one.state for one in found] == ["ok", "ok"]
    assert "MariaDB" in found[0].text


@pytest.mark.server
def test_an_account_that_lacks_rights(account: Any) -> None:
    """What is missing is named, and what to grant."""
    found = looked(database_url=account("SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX"))[-1]

    assert found.state == "wrong"
    assert "lacks ALTER, DROP, REFERENCES" in found.text
    assert found.remedy.startswith("GRANT ALTER, DROP, REFERENCES ON doctor.*")


@pytest.mark.server
def test_tables_that_would_lose_data(account: Any, root: Any) -> None:
    """A table without transactions and a character set too small are both found."""
    root(
        "CREATE TABLE doctor.old (id INT) ENGINE=MyISAM",
        "ALTER DATABASE doctor CHARACTER SET latin1",
    )
    try:
        found = [one for one in looked(database_url=account("ALL")) if one.state == "wrong"]
    finally:
        root("DROP TABLE doctor.old", "ALTER DATABASE doctor CHARACTER SET utf8mb4")

    assert [one.remedy for one in found] == [
        "ALTER DATABASE doctor CHARACTER SET utf8mb4",
        "ALTER TABLE doctor.old ENGINE=InnoDB",
    ]


@pytest.mark.server
def test_a_database_that_lets_us_not_in(account: Any, mariadb: Database) -> None:
    """A wrong password, an unknown database and a server that is down each have a remedy."""
    address = account("ALL")
    password = only(looked(database_url=address.replace("s3cr3t", "guess")))
    missing = only(looked(database_url=address.replace("/doctor", "/nothing")))
    down = only(looked(database_url=address.replace(str(mariadb.port), str(free_port()))))

    assert [one.state for one in (password, missing, down)] == ["wrong"] * 3
    assert "password" in password.remedy
    assert "nothing" in missing.remedy
    assert "is it up" in down.remedy
    assert "guess" not in str(password)


@pytest.mark.server
@pytest.mark.parametrize(
    ("rights", "state", "text"),
    [
        ("SELECT", "ok", "nothing else"),
        ("SELECT, INSERT, DROP", "wrong", "may also DROP, INSERT"),
        ("SHOW VIEW", "wrong", "may not read doctor"),
    ],
)
def test_the_account_of_grafana(rights: str, state: str, text: str, account: Any) -> None:
    """It has to read, and should do nothing else."""
    found = only(looked(database_reader_url=account(rights)))

    assert (found.area, found.state) == ("database reader", state)
    assert text in found.text


@pytest.mark.parametrize(
    ("address", "state"),
    [("sqlite:////tmp/x.db", "unset"), ("not an address", "wrong"), ("mysql+odd://u@h/d", "wrong")],
)
def test_an_address_that_is_no_mysql(address: str, state: str) -> None:
    """SQLite is left alone; what cannot be read is said without repeating it."""
    [found, _] = database.check(Settings(database_url=address))

    assert found.state == state


@pytest.mark.parametrize(
    ("grant", "rights"),
    [
        ("GRANT ALL PRIVILEGES ON *.* TO `u`@`%` WITH GRANT OPTION", {"SELECT", "DROP"}),
        ("GRANT SELECT, INSERT ON `ml\\_flow`.* TO `u`@`%`", {"SELECT", "INSERT"}),
        ("GRANT SELECT (`id`, `name`), UPDATE ON `ml%`.`runs` TO 'u'@'h'", {"SELECT", "UPDATE"}),
        ("GRANT SELECT ON `other`.* TO `u`@`%`", set()),
        ("GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*X'", {"USAGE"}),
        ("GRANT `role`@`%` TO `u`@`%`", set()),
    ],
)
def test_grants_are_read_as_mysql_means_them(grant: str, rights: set[str]) -> None:
    """Wildcards, escapes, columns and all privileges count; other databases do not."""
    found = database.granted([grant], "ml_flow")

    assert found >= rights
    assert bool(found) == bool(rights)


# Data and services


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


def test_a_cluster_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With KServe asked for and no cluster there is a line about it, and no traceback."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))

    found = list(services.rollout(Settings(rollout="kserve")))

    assert only(found).state == "wrong"


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


# This machine


def test_packages_that_are_not_those_that_were_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong and a missing package are named; what belongs to other extras is not."""
    lines = [
        'mlflow==1.0; extra == "pipeline"',
        'nowhere-to-be-found>=1; extra == "pipeline"',
        'gliner-kserve[predictor]; extra == "pipeline"',
        'torch>=2; extra == "predictor"',
        'also-missing; extra == "dev"',
    ]
    monkeypatch.setattr(machine, "requires", lambda _: lines)

    found = only(machine.packages())

    assert found.state == "wrong"
    assert f"mlflow {version('mlflow')} is not ==1.0; nowhere-to-be-found is missing" == found.text


def test_packages_as_installed_are_well() -> None:
    """The environment that the tests run in has what the project asks for."""
    assert only(machine.packages()).state == "ok"


def test_a_disk_with_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there yet counts as its parent, and the variable is named."""
    settings = Settings(home=tmp_path / "not" / "yet")
    before = [one.state for one in machine.disk(settings)]
    monkeypatch.setattr(machine, "ROOM", 1 << 60)
    found = list(machine.disk(settings))

    assert [one.state for one in found] == ["wrong", "wrong"]
    assert "PIPELINE_HOME" in found[0].remedy
    assert str(tmp_path) in found[0].text
    assert before == ["ok", "ok"]
