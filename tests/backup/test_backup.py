"""The scripts of the cluster's jobs, on real servers: what was backed up comes back as it was."""

from __future__ import annotations

import math
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import mlflow_builds
import pytest
import registry_contents
from cron_job import ContainerFailed
from registry_contents import MODEL

if TYPE_CHECKING:
    from backup_site import Site

pytestmark = [pytest.mark.server, pytest.mark.slow]


def bucket() -> Any:
    return boto3.resource("s3").Bucket("mlflow")


def add_version(site: Site, folder: Path, number: int) -> None:
    """One more version, with metrics over time, tags and files of many bytes."""
    model = folder / f"model-{number}"
    (model / "deep" / "er").mkdir(parents=True)
    (model / "weights.bin").write_bytes(random.Random(number).randbytes(300_000))
    (model / "deep" / "er" / "Größe und 名前.json").write_text(f'{{"number": {number}}}')
    (model / "empty").write_bytes(b"")
    client = site.client
    found = client.get_experiment_by_name(MODEL)
    experiment = found.experiment_id if found else client.create_experiment(MODEL)
    run = client.create_run(experiment, run_name=f"run-{number}")
    client.log_param(run.info.run_id, "note", f'🙂 it\'s "{number}"\n\\ two lines')
    for step in range(5):
        client.log_metric(run.info.run_id, "f1", 0.1 * number + step / 100, step=step)
    client.log_metric(run.info.run_id, "undefined", math.nan)
    client.log_artifacts(run.info.run_id, str(model), "model")
    client.set_terminated(run.info.run_id)
    client.create_model_version(
        MODEL,
        f"{run.info.artifact_uri}/model",
        run.info.run_id,
        tags={"gate": "passed", "digest": f"d{number}"},
        description=f"Version {number} – ü",
    )


@pytest.fixture
def filled(site: Site, tmp_path: Path) -> Site:
    """A registry with three versions, aliases and tags."""
    site.client.create_registered_model(MODEL, tags={"team": "ner"})
    for number in (1, 2, 3):
        add_version(site, tmp_path, number)
    site.client.set_registered_model_alias(MODEL, "champion", "2")
    site.client.set_registered_model_alias(MODEL, "previous", "1")
    return site


def back_up(site: Site, **variables: str) -> str:
    """Run the nightly job; the backup's name."""
    # Names have seconds.
    time.sleep(1.1)
    site.cluster.run("mlflow-backup", **variables)
    return site.dumps[-1]


def lose_all(site: Site) -> None:
    """No table and no file is left."""
    registry_contents.drop(site.database)
    bucket().objects.all().delete()
    assert registry_contents.tables(site.database) == {}
    assert not list(bucket().objects.all())


def test_each_backup_can_be_gone_back_to(filled: Site, tmp_path: Path) -> None:
    """Versions, metrics, aliases, tags and files are those of the backup's day, byte for byte."""
    before = registry_contents.read(filled.client, filled.database)
    first = back_up(filled)

    # What a day brings: a new champion, a version gone with its files, a file written over.
    add_version(filled, tmp_path, 4)
    filled.client.set_registered_model_alias(MODEL, "champion", "4")
    filled.client.delete_registered_model_alias(MODEL, "previous")
    filled.client.delete_model_version(MODEL, "1")
    keys = sorted(one.key for one in bucket().objects.all() if one.key.endswith("weights.bin"))
    bucket().Object(keys[0]).delete()
    time.sleep(1.1)
    bucket().put_object(Key=keys[1], Body=random.Random(9).randbytes(300_000))
    tables = registry_contents.tables(filled.database)
    files = contents_of_bucket()
    second = back_up(filled)

    lose_all(filled)
    said = filled.cluster.run("mlflow-restore")

    assert f"backup {second}" in said
    assert registry_contents.tables(filled.database) == tables
    assert contents_of_bucket() == files

    lose_all(filled)
    filled.cluster.run("mlflow-restore", FROM=first)

    again = registry_contents.read(filled.client, filled.database)
    assert set(again.versions) == {"1", "2", "3"}
    assert again.aliases == {"champion": "2", "previous": "1"}
    assert len(again.versions["2"]["metrics"]["f1"]) == 5
    assert len(again.versions["2"]["files"]) == 3
    assert again == before


def contents_of_bucket() -> dict[str, bytes]:
    """All files by their keys."""
    return {one.key: one.get()["Body"].read() for one in bucket().objects.all()}


def test_the_restored_registry_goes_on(filled: Site, tmp_path: Path) -> None:
    """The next version gets the next number, and an alias can be moved to it."""
    back_up(filled)
    lose_all(filled)
    filled.cluster.run("mlflow-restore")

    add_version(filled, tmp_path, 4)
    filled.client.set_registered_model_alias(MODEL, "champion", "4")

    assert filled.client.get_model_version_by_alias(MODEL, "champion").version == "4"


def test_a_registry_without_files(site: Site) -> None:
    """On its first day it has nothing in the bucket, and can be gone back to all the same."""
    site.client.create_registered_model(MODEL, tags={"team": "ner"})
    tables = registry_contents.tables(site.database)
    back_up(site)
    registry_contents.drop(site.database)

    site.cluster.run("mlflow-restore")

    assert registry_contents.tables(site.database) == tables
    (site.kept / "bucket").rmdir()
    with pytest.raises(ContainerFailed, match="directory not found"):
        site.cluster.run("mlflow-restore")


def test_a_damaged_backup_changes_nothing(filled: Site) -> None:
    """Its checksum is looked at before the bucket and the database are touched."""
    name = back_up(filled)
    dump = filled.kept / "dumps" / name / "mlflow.sql.gz"
    damaged = bytearray(dump.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    dump.write_bytes(damaged)
    tables = registry_contents.tables(filled.database)
    bucket().objects.all().delete()

    with pytest.raises(ContainerFailed, match="fetch"):
        filled.cluster.run("mlflow-restore")

    assert registry_contents.tables(filled.database) == tables
    assert contents_of_bucket() == {}


def test_a_backup_that_fails_is_none(filled: Site) -> None:
    """Neither a database that is away nor a bucket that is leaves something to restore from."""
    for wrong in (
        {"MYSQL_TCP_PORT": "9"},
        {"BUCKET": "store:nosuchbucket"},
        {"RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": "wrong"},
    ):
        with pytest.raises(ContainerFailed):
            filled.cluster.run("mlflow-backup", **wrong)

    assert not (filled.kept / "dumps").exists()


def test_old_backups_go_and_those_that_stay_are_whole(filled: Site) -> None:
    """By number; what was replaced before the oldest of them goes too."""
    files = []
    for number in range(4):
        bucket().put_object(Key="artifacts/changing", Body=f"{number}".encode() * 1000)
        files.append(contents_of_bucket())
        back_up(filled, KEEP="3")

    oldest, *later = filled.dumps
    assert sorted(one.name for one in (filled.kept / "replaced").iterdir()) == later
    assert len(later) == 2

    lose_all(filled)
    filled.cluster.run("mlflow-restore", FROM=oldest)
    assert contents_of_bucket() == files[1]
    with pytest.raises(ContainerFailed):
        filled.cluster.run("mlflow-backup", KEEP="0")
    assert filled.dumps == [oldest, *later]


def test_backups_need_no_more_room_than_what_changed(filled: Site) -> None:
    """Files are kept once, however many backups name them."""
    back_up(filled)
    size = sum(one.stat().st_size for one in (filled.kept / "bucket").rglob("*") if one.is_file())
    back_up(filled)
    shutil.rmtree(filled.kept / "dumps")
    all_files = (one for one in filled.kept.rglob("*") if one.is_file())

    assert sum(one.stat().st_size for one in all_files) == size > 900_000


def test_backups_outside_outlive_the_cluster(filled: Site, tmp_path: Path) -> None:
    """With components/backup-outside they go to another S3, and come back from there."""
    from pipeline.local import servers as real

    outside = tmp_path / "outside"
    with real.s3(outside, buckets=("gliner-backup",)) as other:
        keys = {name: other.env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        cluster = replace(
            filled.cluster,
            objects=mlflow_builds.build("backup-outside"),
            secrets={**filled.cluster.secrets, "backup-s3": keys},
            elsewhere={
                **filled.cluster.elsewhere,
                "RCLONE_CONFIG_OUTSIDE_ENDPOINT": other.url,
                # What rclone does with AWS's needs HTTPS.
                "RCLONE_CONFIG_OUTSIDE_PROVIDER": "Rclone",
            },
        )
        before = registry_contents.read(filled.client, filled.database)
        cluster.run("mlflow-backup")
        time.sleep(1.1)
        bucket().objects.all().delete()
        # All is in `replaced` after this one.
        cluster.run("mlflow-backup")
        first, _ = sorted(
            one.name for one in (outside / "buckets/gliner-backup/mlflow/dumps").iterdir()
        )
        registry_contents.drop(filled.database)
        cluster.run("mlflow-restore", FROM=first)

    assert registry_contents.read(filled.client, filled.database) == before
    assert not filled.kept.exists()
