"""Copying files from folders and from a real S3 server, whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from pipeline.data import storage
from pipeline.errors import DataError, PipelineError, SettingsError, Unavailable
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.local.servers import ObjectStore

SETTINGS = Settings(http_retries=0, http_timeout_seconds=5)


def names(source: str, out: Path) -> list[str]:
    out.mkdir(exist_ok=True)
    return sorted(item.name for item in storage.copy(source, "*.jsonl", out, SETTINGS))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.jsonl", "b.jsonl", "notes.txt", "deeper/c.jsonl"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def test_files_of_a_folder_are_copied(source: Path, tmp_path: Path) -> None:
    """Those that match, directly in it."""
    assert names(str(source), tmp_path / "out") == ["a.jsonl", "b.jsonl"]
    assert (tmp_path / "out" / "b.jsonl").read_text() == "b.jsonl"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("{source}/none", "no such folder"),
        ("{source}/a.jsonl", "/a.jsonl: is a file; name the folder that it lies in"),
        ("{source}/empty", r"no \*\.jsonl directly in it"),
        ("gs://bucket/data", "a folder or from s3://"),
    ],
)
def test_a_wrong_address_says_what_would_be_right(
    source: Path, tmp_path: Path, where: str, message: str
) -> None:
    """It begins with the address that was given."""
    (source / "empty").mkdir()

    with pytest.raises(DataError, match=message):
        names(where.format(source=source), tmp_path / "out")


def test_a_full_disk_is_told_plainly(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file that could not be written."""

    def full(place: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr("shutil.copyfile", full)

    with pytest.raises(PipelineError, match=r"cannot copy: .*a\.jsonl: No space left on device"):
        names(str(source), tmp_path / "out")


@pytest.fixture
def bucket(use_s3: ObjectStore) -> None:
    """Objects below `storage/` in the bucket `data`, the first one older than it looks."""
    client = boto3.session.Session().client("s3")
    for name in ("eval/a.jsonl", "eval/b.jsonl", "eval/notes.txt", "eval-2/c.jsonl"):
        metadata = {"mtime": "1700000000"} if name == "eval/a.jsonl" else {}  # as rclone reads it
        client.put_object(
            Bucket="data", Key=f"storage/{name}", Body=name.encode(), Metadata=metadata
        )


@pytest.mark.server
def test_a_prefix_is_a_folder(bucket: None, tmp_path: Path) -> None:
    """With or without a slash at its end, and without what merely begins like it."""
    for source in ("s3://data/storage/eval", "s3://data/storage/eval/"):
        assert names(source, tmp_path / "out") == ["a.jsonl", "b.jsonl"]
    assert (tmp_path / "out" / "a.jsonl").read_text() == "eval/a.jsonl"


@pytest.mark.server
def test_times_come_from_the_store(bucket: None, tmp_path: Path) -> None:
    """Aware, and what the store says and not when it was copied."""
    items = storage.copy("s3://data/storage/eval", "*.jsonl", tmp_path, SETTINGS)

    [first] = [item for item in items if item.name == "a.jsonl"]
    assert first.modified.timestamp() == pytest.approx(1_700_000_000, abs=1)


@pytest.mark.server
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://none/eval", "no such bucket"),
        ("s3://data/storage/none", r"no \*\.jsonl directly in it"),
    ],
)
def test_a_missing_bucket_or_prefix_is_an_error_of_the_data(
    bucket: None, tmp_path: Path, source: str, message: str
) -> None:
    """Trying again would not help."""
    with pytest.raises(DataError, match=message):
        names(source, tmp_path / "out")


@pytest.mark.server
def test_wrong_credentials_name_the_variables(
    bucket: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not their values."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")

    with pytest.raises(SettingsError, match="AWS_SECRET_ACCESS_KEY") as caught:
        names("s3://data/storage/eval", tmp_path / "out")

    assert "not-the-secret" not in str(caught.value)


def test_missing_credentials_name_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))

    with pytest.raises(SettingsError, match="no credentials for S3; set AWS_ACCESS_KEY_ID"):
        names("s3://data/eval", tmp_path / "out")


def test_a_server_that_is_down_is_worth_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step may be run again."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")

    with pytest.raises(Unavailable, match="S3 does not answer"):
        names("s3://data/eval", tmp_path / "out")
