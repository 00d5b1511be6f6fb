"""The built MLflow image serves on a real MariaDB, started as the Deployment says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pymysql
import pytest
import yaml
from container import ROOT, Image
from cryptography.fernet import Fernet

from pipeline.local.process import Process, answers, free_port, running
from pipeline.local.servers import Database

pytestmark = pytest.mark.images


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    """The pod of MLflow's Deployment."""
    text = (ROOT / "mlflow" / "base" / "server.yaml").read_text()
    [one] = [one for one in yaml.safe_load_all(text) if one["kind"] == "Deployment"]
    spec: dict[str, Any] = one["spec"]["template"]["spec"]
    return spec


def test_serves_on_mariadb(
    image: Callable[[str], Image], pod: dict[str, Any], mariadb: Database, tmp_path: Path
) -> None:
    """It makes its tables, answers /health, and what a client registers is in the database."""
    one = image("mlflow")
    [server] = pod["containers"]
    port = free_port()
    env = {entry["name"]: entry["value"] for entry in server["env"] if "value" in entry}
    env["MLFLOW_BACKEND_STORE_URI"] = mariadb.uri
    env["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = Fernet.generate_key().decode()
    arguments = [argument.replace("5000", str(port)) for argument in server["args"]]
    command = one.command([*one.config["Entrypoint"], *arguments], env=env)
    process = Process("MLflow", command, tmp_path / "log")
    url = f"http://127.0.0.1:{port}"

    with running(process, answers(f"{url}/health")):
        answer = httpx.post(
            f"{url}/api/2.0/mlflow/registered-models/create",
            json={"name": "from-the-image"},
            timeout=60,
        )
        foreign = httpx.get(f"{url}/", headers={"Host": "elsewhere.test"})

    assert answer.status_code == 200, answer.text
    assert foreign.status_code == 403
    with (
        pymysql.connect(
            host=mariadb.host,
            port=mariadb.port,
            user=mariadb.user,
            password=mariadb.password,
            database=mariadb.name,
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT name FROM registered_models WHERE name = 'from-the-image'")
        assert cursor.fetchall() == (("from-the-image",),)


def test_waits_for_the_database(
    image: Callable[[str], Image], pod: dict[str, Any], mariadb: Database
) -> None:
    """What the init container runs is in the image, and ends when the port is open."""
    [wait] = pod["initContainers"]
    command = [argument.replace("3306", str(mariadb.port)) for argument in wait["command"]]
    done = image("mlflow").run(*command, env={"DATABASE_HOST": mariadb.host}, seconds=20)

    assert done.returncode == 0, done.stderr


def test_health_check_of_the_image(image: Callable[[str], Image], tmp_path: Path) -> None:
    """Docker's check passes beside the entry point with its own arguments, on SQLite in /tmp."""
    one = image("mlflow")
    entry = [*one.config["Entrypoint"], *one.config["Cmd"]]
    process = Process("MLflow", one.command(entry, alone=True), tmp_path / "log")
    with running(process, lambda: one.healthy(process)):
        process.check()
