"""All that a real MLflow has: by its own client, and table by table."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pymysql

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.local.servers import Database

MODEL = "gliner-ner"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a registry has at one moment.

    Attributes:
        versions: by number: all of a version's fields, its run's metrics with their whole
            history, and the digests of its files.
        aliases: version numbers by alias.
        tags: of the registered model.
        tables: each table's definition and rows, in the order of their text.
    """

    versions: dict[str, dict[str, Any]]
    aliases: dict[str, str]
    tags: dict[str, str]
    tables: dict[str, tuple[str, list[str]]]


def read(client: MlflowClient, database: Database) -> Contents:
    """All of it."""
    model = client.get_registered_model(MODEL)
    return Contents(
        versions={
            one.version: _version(client, one)
            for one in client.search_model_versions(f"name = '{MODEL}'")
        },
        aliases=dict(model.aliases),
        tags=dict(model.tags),
        tables=tables(database),
    )


def _version(client: MlflowClient, found: Any) -> dict[str, Any]:
    import mlflow

    run = client.get_run(found.run_id)
    with TemporaryDirectory() as folder:
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"{run.info.artifact_uri}/model", dst_path=folder
        )
        files = {
            one.relative_to(folder).as_posix(): hashlib.sha256(one.read_bytes()).hexdigest()
            for one in Path(folder).rglob("*")
            if one.is_file()
        }
    return {
        "fields": {key: str(value) for key, value in dict(found).items()},
        "params": run.data.params,
        "metrics": {
            name: [
                (one.step, repr(one.value), one.timestamp)
                for one in client.get_metric_history(found.run_id, name)
            ]
            for name in run.data.metrics
        },
        "files": files,
    }


def tables(database: Database) -> dict[str, tuple[str, list[str]]]:
    """Definition and rows of each table, empty ones too."""
    found = {}
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (name,) in cursor.fetchall():
            cursor.execute(f"SHOW CREATE TABLE `{name}`")
            [(_, definition)] = cursor.fetchall()
            cursor.execute(f"SELECT * FROM `{name}`")
            found[name] = (definition, sorted(map(repr, cursor.fetchall())))
    return found


def drop(database: Database) -> None:
    """Lose the database."""
    with closing(_connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE `{database.name}`")
        cursor.execute(f"CREATE DATABASE `{database.name}`")


def _connect(database: Database) -> pymysql.Connection[Any]:
    return pymysql.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password,
        database=database.name,
    )
