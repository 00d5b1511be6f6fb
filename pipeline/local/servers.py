"""The real parts that one machine can run: MLflow, MariaDB and an S3 server."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pymysql
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.errors import PipelineError
from pipeline.local.process import Process, answers, free_port, running


@dataclass(frozen=True, slots=True)
class Database:
    """A running MariaDB.

    Attributes:
        uri: SQLAlchemy's address of it.
    """

    process: Process
    host: str
    port: int
    user: str
    password: str
    name: str

    @property
    def uri(self) -> str:
        return f"mysql+pymysql://{self.user}:{self.password}@{self.host}:{self.port}/{self.name}"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running S3 server, whose buckets are folders.

    Attributes:
        env: what boto3 and MLflow need in their environment to reach it.
    """

    process: Process
    url: str
    folder: Path
    env: Mapping[str, str]


@contextmanager
def mlflow(
    folder: Path,
    *,
    port: int | None = None,
    store: str = "",
    artifacts: str = "",
    env: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """An MLflow server whose artifacts clients write directly, as on the cluster.

    Args:
        folder: for its log and, by default, its SQLite file and artifacts.
        port: where it listens on the loopback interface.
        store: SQLAlchemy address of its database.
        artifacts: folder or `s3://` address of its artifacts.
        env: more variables, such as those of an S3 server or for webhooks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--no-serve-artifacts", "--default-artifact-root"),
        artifacts or (folder / "artifacts").resolve().as_uri(),
    ]
    own = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Eight more processes, which judge traces with language models: nothing here asks for them.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # With a password in it, it would show in a list of processes.
        "MLFLOW_BACKEND_STORE_URI": store or f"sqlite:///{(folder / 'mlflow.db').resolve()}",
    }
    process = Process("MLflow", command, folder / "mlflow.log", {**own, **(env or {})})
    process.url = url
    with running(process, answers(f"{url}/health")):
        yield process


@contextmanager
def mariadb(folder: Path, *, port: int | None = None) -> Iterator[Database]:
    """A MariaDB with an empty database `mlflow`, its files below `folder`.

    Raises:
        PipelineError: MariaDB is not installed.
    """
    programs = {name: _program(name) for name in ("mariadbd", "mariadb-install-db")}
    folder = folder.resolve()
    data = folder / "data"
    port = port or free_port()
    if not data.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [
                programs["mariadb-install-db"],
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                f"--user={getpass.getuser()}",
            ],
            check=True,
            capture_output=True,
        )
    # A MariaDB that starts deletes the temporary tables it finds, even those of a running one.
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    # Unix sockets have short names: a deep folder would be refused.
    address = Path(os.environ.get("TMPDIR", "/tmp")) / f"gliner-mariadb-{port}.sock"  # noqa: S108
    command = [
        programs["mariadbd"],
        "--no-defaults",
        f"--datadir={data}",
        f"--tmpdir={temporary}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        f"--socket={address}",
        f"--pid-file={folder / 'mariadb.pid'}",
        f"--user={getpass.getuser()}",
        "--skip-log-bin",
    ]
    process = Process("MariaDB", command, folder / "mariadb.log")
    password = _password(folder / "password")

    def ready() -> bool:
        # PyMySQL leaks its socket where nobody listens yet.
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(address)):
                return False
        try:
            with (
                pymysql.connect(unix_socket=str(address), user="root") as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute("CREATE DATABASE IF NOT EXISTS mlflow CHARACTER SET utf8mb4")
                # The anonymous local users of a new MariaDB win over '%' for localhost.
                for host in ("%", "localhost"):
                    cursor.execute(
                        "CREATE USER IF NOT EXISTS %s@%s IDENTIFIED BY %s",
                        ("mlflow", host, password),
                    )
                    cursor.execute("GRANT ALL ON mlflow.* TO %s@%s", ("mlflow", host))
            return True
        except pymysql.Error:
            return False

    with running(process, ready):
        yield Database(process, "127.0.0.1", port, "mlflow", password, "mlflow")


@contextmanager
def s3(
    folder: Path, *, port: int | None = None, buckets: tuple[str, ...] = ()
) -> Iterator[ObjectStore]:
    """An S3 server over a folder."""
    data = folder / "buckets"
    for bucket in buckets:
        (data / bucket).mkdir(parents=True, exist_ok=True)
    data.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    key, secret = "gliner", _password(folder / "secret")
    env = {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": url,
        "MLFLOW_S3_ENDPOINT_URL": url,
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }
    command = [
        _program("rclone"),
        *("serve", "s3", "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "off"),
        # What is put into the folder behind its back is soon there; at 0 s it takes a whole core.
        *("--dir-cache-time", "1s"),
        # With the key in the environment, it does not show in a list of processes.
        str(data),
    ]
    process = Process("S3", command, folder / "s3.log", {"RCLONE_AUTH_KEY": f'"{key},{secret}"'})
    process.url = url

    def ready() -> bool:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )
        try:
            client.list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    with running(process, ready):
        yield ObjectStore(process, url, data, env)


def _password(file: Path) -> str:
    """A generated secret that stays the same between starts."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = (
        str(beside)
        if beside.is_file()
        else shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    )
    if not found:
        raise PipelineError(
            f"{name} is not installed; on Debian and Ubuntu: apt-get install mariadb-server"
            if name.startswith("mariadb")
            else f"{name} is not installed; `make demo` brings it"
        )
    return found
