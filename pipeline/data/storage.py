"""Files of a local folder or an S3 prefix: listed, and copied whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import DataError, PipelineError, SettingsError, Unavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

    from pipeline.settings import Settings

_S3 = re.compile(r"^s3://(?P<bucket>[^/]+)/?(?P<prefix>.*)$")
_REFUSED = {
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
}
_MISSING = {"404", "NoSuchBucket", "NoSuchKey", "NotFound"}


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a source.

    Attributes:
        name: without its folder.
        place: its path, or its key in the bucket.
        size: in bytes.
        modified: when it was last written; aware.
    """

    name: str
    place: str
    size: int
    modified: datetime


def copy(source: str, pattern: str, folder: Path, settings: Settings) -> list[Item]:
    """Copy the files directly in a source whose names match into an existing folder.

    Args:
        source: a folder, or `s3://bucket/prefix`, which is taken as a folder: what lies at
            `prefix-2/` is not part of it.
        pattern: for file names, such as `*.jsonl`.

    Raises:
        DataError: no such folder, bucket or prefix, or no file that matches.
        SettingsError: the credentials for S3 are missing or refused.
        Unavailable: S3 does not answer, after retries.
        PipelineError: the disk is full or cannot be written to.
    """
    match = _S3.match(source)
    with _speaking_plainly(source):
        if match is None:
            items = _listed_locally(source, pattern)
            _check(items, source, pattern)
            for item in items:
                shutil.copyfile(item.place, folder / item.name)
            return items
        bucket, prefix = match["bucket"], match["prefix"].strip("/")
        client = _client(settings)
        items = list(_listed_in_s3(client, bucket, f"{prefix}/" if prefix else "", pattern))
        _check(items, source, pattern)
        for item in items:
            client.download_file(bucket, item.place, str(folder / item.name))
            if (folder / item.name).stat().st_size != item.size:
                raise Unavailable(f"{source}: {item.name} changed while it was read; try again")
        return items


def _check(items: Sequence[Item], source: str, pattern: str) -> None:
    if not items:
        raise DataError(f"{source}: no {pattern} directly in it; name the folder that has them")


def _listed_locally(source: str, pattern: str) -> list[Item]:
    if "://" in source:
        raise DataError(f"{source}: data comes from a folder or from s3://BUCKET/PREFIX")
    if Path(source).is_file():
        raise DataError(f"{source}: is a file; name the folder that it lies in")
    if not Path(source).is_dir():
        raise DataError(f"{source}: no such folder")
    found = sorted(path for path in Path(source).glob(pattern) if path.is_file())
    return [
        Item(
            path.name,
            str(path),
            path.stat().st_size,
            datetime.fromtimestamp(path.stat().st_mtime, timezone.utc),
        )
        for path in found
    ]


def _listed_in_s3(client: S3Client, bucket: str, prefix: str, pattern: str) -> Iterator[Item]:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, Delimiter="/"
    )
    for page in pages:
        for one in page.get("Contents", []):
            name = one["Key"].removeprefix(prefix)
            if fnmatch(name, pattern) and "/" not in name:
                yield Item(name, one["Key"], one["Size"], one["LastModified"])


def _client(settings: Settings) -> S3Client:
    import boto3
    from botocore.config import Config

    # A session of its own: the shared one keeps the credentials that it saw first.
    return boto3.session.Session().client(
        "s3",
        config=Config(
            retries={"mode": "standard", "total_max_attempts": settings.http_retries + 1},
            connect_timeout=min(10, settings.http_timeout_seconds),
            read_timeout=settings.http_timeout_seconds,
        ),
    )


@contextmanager
def _speaking_plainly(source: str) -> Iterator[None]:
    """Give what boto3 and the file system raise our own form, with what to do."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
    )

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise SettingsError(
            f"{source}: no credentials for S3; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "and AWS_ENDPOINT_URL_S3 for a server that is not Amazon's"
        ) from error
    except NoRegionError as error:
        raise SettingsError(f"{source}: no region for S3; set AWS_DEFAULT_REGION") from error
    except ClientError as error:
        raise _refusal(source, error) from error
    except BotoCoreError as error:
        # Its text names the address and no secret.
        raise Unavailable(f"{source}: S3 does not answer: {_line(error)}") from error
    except OSError as error:
        where = error.filename2 or error.filename or "this machine"
        raise PipelineError(f"{source}: cannot copy: {where}: {error.strerror or error}") from error


def _refusal(source: str, error: ClientError) -> PipelineError:
    said = error.response.get("Error", {})
    code = str(said.get("Code", ""))
    if code in _MISSING:
        return DataError(f"{source}: no such bucket or file; check the address")
    if code in _REFUSED:
        return SettingsError(
            f"{source}: S3 refuses the credentials ({code}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and what they may read"
        )
    return Unavailable(f"{source}: S3 answered {code}: {_line(said.get('Message', ''))}")


def _line(text: object) -> str:
    return (str(text).strip().splitlines() or [""])[0][:300]
