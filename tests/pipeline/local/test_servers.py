"""The real parts of one machine: they start, keep what they were given, and can be asked for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import httpx
import programs
import psutil
import pymysql
import pytest

from pipeline.errors import PipelineError
from pipeline.local import servers
from pipeline.local.process import Process

pytestmark = pytest.mark.server


@pytest.mark.skipif(not programs.MARIADB, reason=programs.NO_MARIADB)
def test_mariadb_keeps_its_data(tmp_path: Path) -> None:
    """A second start finds the tables and the password of the first."""
    with servers.mariadb(tmp_path) as first, connect(first) as connection:
        connection.cursor().execute("CREATE TABLE kept (number INT)")
    with servers.mariadb(tmp_path) as second, connect(second) as connection:
        cursor = connection.cursor()
        cursor.execute("SHOW TABLES")

        assert cursor.fetchall() == (("kept",),)
        assert first.password == second.password


def connect(database: servers.Database) -> pymysql.Connection[pymysql.cursors.Cursor]:
    return pymysql.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        database=database.name,
    )


def test_s3_wants_its_key(s3: servers.ObjectStore) -> None:
    """The buckets asked for are there; a wrong key sees nothing."""
    right = client(s3, s3.env["AWS_SECRET_ACCESS_KEY"])
    wrong = client(s3, "no")

    names = [one["Name"] for one in right.list_buckets()["Buckets"]]

    assert {"mlflow", "data"} <= set(names)
    with pytest.raises(wrong.exceptions.ClientError):
        wrong.list_buckets()


def client(s3: servers.ObjectStore, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=s3.url,
        region_name="us-east-1",
        aws_access_key_id=s3.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret,
    )


def test_secrets_are_not_in_the_list_of_processes(
    s3: servers.ObjectStore, mariadb: servers.Database, mlflow_on_mariadb: Process
) -> None:
    """Whoever may list processes learns neither key nor password."""
    started = [psutil.Process(one.pid) for one in (s3.process, mariadb.process, mlflow_on_mariadb)]
    every = [*started, *(child for one in started for child in one.children(recursive=True))]

    commands = " ".join(part for one in every for part in one.cmdline())

    assert "mlflow server" in commands
    assert s3.env["AWS_SECRET_ACCESS_KEY"] not in commands
    assert mariadb.password not in commands


def test_mlflow_gives_direct_artifact_addresses(mlflow_server: Process) -> None:
    """Clients write artifacts where they belong: KServe reads no `mlflow-artifacts:/`."""
    found = httpx.get(
        f"{mlflow_server.url}/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}
    ).json()

    assert found["experiment"]["artifact_location"].startswith("file:///")


def test_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MariaDB is not installed, the error says how to get it."""
    monkeypatch.setattr("pipeline.local.servers.shutil.which", lambda *_, **__: None)

    with (
        pytest.raises(PipelineError, match="apt-get install mariadb-server"),
        servers.mariadb(tmp_path),
    ):
        pass
