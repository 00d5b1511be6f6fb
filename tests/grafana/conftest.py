"""MLflow's database as Grafana sees it: through an account that may only read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pymysql
import pytest
from grafana_history import History

if TYPE_CHECKING:
    from pipeline.local.process import Process
    from pipeline.local.servers import Database

READER, PASSWORD = "grafana", "only-in-this-test"
# What MySQL 8 is strict about and MariaDB is not by itself.
STRICT = "SET SESSION sql_mode = 'ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO'"
SQL = Path(__file__).resolve().parents[2] / "grafana" / "reader.sql"


def allow(cursor: Any, database: str = "mlflow") -> None:
    """Let the account read, by the statements that people run; on a machine's own address too."""
    lines = (line for line in SQL.read_text(encoding="utf-8").splitlines() if line[:2] != "--")
    text = "\n".join(lines).replace(" mlflow.", f" {database}.")
    for host in ("%", "localhost"):
        cursor.execute("SET @password = %s", (PASSWORD,))
        for statement in text.replace("'%'", f"'{host}'").split(";"):
            if statement.strip():
                cursor.execute(statement)


@pytest.fixture(scope="session")
def root(mlflow_on_mariadb: Process, mariadb: Database) -> Iterator[Any]:
    """The administrator's connection, once MLflow has made its tables."""
    socket = Path(os.environ.get("TMPDIR", "/tmp")) / f"gliner-mariadb-{mariadb.port}.sock"
    with pymysql.connect(unix_socket=str(socket), user="root", autocommit=True) as connection:
        with connection.cursor() as cursor:
            allow(cursor)
        yield connection


@pytest.fixture
def reader(root: Any, mariadb: Database) -> Iterator[Callable[[str], Any]]:
    """Connections of the read-only account, by the database's name."""
    opened: list[Any] = []

    def connect(database: str = "mlflow") -> Any:
        opened.append(
            pymysql.connect(
                host=mariadb.host,
                port=mariadb.port,
                user=READER,
                password=PASSWORD,
                database=database,
                autocommit=True,
                init_command=STRICT,
            )
        )
        return opened[-1]

    yield connect
    for one in opened:
        if one.open:
            one.close()


@pytest.fixture(scope="session")
def begin_history(
    mlflow_on_mariadb: Process, root: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., History]]:
    """Starts the history of one more registered model."""
    from pipeline.settings import Settings

    def begin(prefix: str = "gliner") -> History:
        name = f"{prefix}-{uuid4().hex[:8]}"
        settings = Settings(
            tracking_uri=mlflow_on_mariadb.url,
            model_name=name,
            experiment=name,
            home=tmp_path_factory.mktemp("home"),
            http_retries=1,
            http_timeout_seconds=10,
        )
        root.select_db("mlflow")
        return History(settings, root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        yield begin


@pytest.fixture
def history(begin_history: Callable[..., History]) -> Callable[..., History]:
    """The same, for tests that begin one of their own."""
    return begin_history


@pytest.fixture(scope="session")
def copy_of_mlflow(root: Any) -> Callable[[str], str]:
    """Makes an empty database with MLflow's tables and indices."""

    made: set[str] = set()

    def copied(suffix: str) -> str:
        name = f"mlflow_{suffix}"
        if name in made:
            return name
        made.add(name)
        with root.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute("SHOW FULL TABLES FROM mlflow WHERE Table_type = 'BASE TABLE'")
            for table, _ in cursor.fetchall():
                cursor.execute(f"CREATE TABLE {name}.`{table}` LIKE mlflow.`{table}`")
            cursor.execute(
                f"INSERT INTO {name}.alembic_version SELECT * FROM mlflow.alembic_version"
            )
            allow(cursor, name)
        return name

    return copied
