"""An MLflow of one's own on MariaDB and S3, and the cluster's jobs that reach them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import kustomized
import pytest
import yaml
from cron_job import Cluster
from kustomized import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.local.process import Process
    from pipeline.local.servers import Database, ObjectStore


@dataclass(frozen=True, slots=True)
class Site:
    """The servers, and a cluster that has them as its own."""

    cluster: Cluster
    server: Process
    client: MlflowClient
    database: Database
    store: ObjectStore

    @property
    def dumps(self) -> list[str]:
        """The names of the backups that are kept."""
        return sorted(one.name for one in (self.kept / "dumps").iterdir())

    @property
    def kept(self) -> Path:
        """Where backups go."""
        return self.cluster.claims / "mlflow-backup"


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    """Start all of it, with files below a folder and addresses in this process's environment."""
    from mlflow import MlflowClient

    from pipeline.local import servers as real

    objects = list(yaml.safe_load_all(kustomized.kustomize(ROOT / "mlflow" / "base")))
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        database = stack.enter_context(real.mariadb(folder / "mariadb"))
        store = stack.enter_context(real.s3(folder / "s3", buckets=("mlflow",)))
        for name, value in store.env.items():
            patch.setenv(name, value)
        # It would go on with the keys of the first S3 server of this process.
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        server = stack.enter_context(
            real.mlflow(
                folder / "mlflow",
                store=database.uri,
                artifacts="s3://mlflow/artifacts",
                env=store.env,
            )
        )
        patch.setenv("MLFLOW_TRACKING_URI", server.url)
        keys = {name: store.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        cluster = Cluster(
            objects,
            {
                "mlflow-database": {"password": database.password},
                "s3-read": keys,
                "s3-write": keys,
            },
            folder / "claims",
            {
                "MYSQL_HOST": database.host,
                # Both clients' own variable for the port.
                "MYSQL_TCP_PORT": str(database.port),
                "RCLONE_CONFIG_STORE_ENDPOINT": store.url,
            },
        )
        yield Site(cluster, server, MlflowClient(server.url, server.url), database, store)
