"""The account that Grafana reads MLflow's database with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest
import yaml

if TYPE_CHECKING:
    from pipeline.local.servers import Database

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO experiments (name) VALUES ('x')",
        "UPDATE runs SET name = 'x'",
        "DELETE FROM latest_metrics",
        "DROP TABLE tags",
        "SELECT * FROM webhooks",
        "CREATE TABLE mine (x INT)",
    ],
)
def test_it_may_only_read_what_alerts_need(reader: Callable[..., Any], statement: str) -> None:
    """It changes nothing, and secrets of webhooks are none of its business."""
    with reader().cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM registered_models")
        with pytest.raises(pymysql.Error, match="denied"):
            cursor.execute(statement)


def test_the_clusters_job_makes_it(root: Any, mariadb: Database, tmp_path: Path) -> None:
    """The command of mlflow/base/setup.yaml, as it stands there, makes the account."""
    jobs = yaml.safe_load_all((ROOT / "mlflow" / "base" / "setup.yaml").read_text())
    [job] = [one for one in jobs if one["metadata"]["name"] == "mysql-reader"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    # Under another name: the other tests need theirs.
    sql = (ROOT / "grafana" / "reader.sql").read_text(encoding="utf-8")
    (tmp_path / "reader.sql").write_text(sql.replace("grafana", "made_by_job"), encoding="utf-8")
    script = container["command"][-1].replace("/sql/", f"{tmp_path}/")
    with root.cursor() as cursor:
        subprocess.run(
            ["sh", "-c", script],
            env={
                **os.environ,
                "MYSQL_HOST": mariadb.host,
                "MYSQL_TCP_PORT": str(mariadb.port),
                "READER_PASSWORD": "only-in-this-test",
            },
            check=True,
            timeout=60,
            capture_output=True,
        )

        cursor.execute("SHOW GRANTS FOR 'made_by_job'@'%'")
        grants = [row[0] for row in cursor.fetchall()]
    assert any("`registered_model_tags`" in one for one in grants)
    assert not any("ALL PRIVILEGES" in one for one in grants)
