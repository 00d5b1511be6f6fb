"""`doctor` on the artifacts: where MLflow puts them, and whether we can write and KServe read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from pipeline.doctor.finding import Finding, ok, unset, wrong
from pipeline.registry import Registry, faults
from pipeline.settings import Settings

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError
    from mypy_boto3_s3 import S3Client

AREA = "artifacts"
_DIRECT = (
    "start MLflow with --no-serve-artifacts --default-artifact-root s3://BUCKET/PREFIX; an "
    "experiment keeps the place it was made with, so name a new one in PIPELINE_EXPERIMENT"
)


def check(settings: Settings) -> Iterator[Finding]:
    """The root of the experiment's artifacts.

    Raises:
        PipelineError: MLflow does not say where it is.
    """
    root = _root(settings)
    where = urlsplit(root)
    cluster = settings.rollout == "kserve"
    if where.scheme == "s3":
        yield from _bucket(where.netloc, where.path.strip("/"), settings)
    elif where.scheme == "mlflow-artifacts":
        seen = f"{root} goes through MLflow's server"
        if cluster:
            yield wrong(AREA, f"{seen}, which KServe cannot read", _DIRECT)
        else:
            yield ok(AREA, f"{seen}; KServe could not read it")
    elif where.scheme in ("", "file"):
        folder = Path(unquote(where.path))
        if cluster:
            yield wrong(AREA, f"{folder} is a folder, which KServe cannot read", _DIRECT)
        elif not os.access(_existing(folder), os.W_OK):
            yield wrong(
                AREA,
                f"{folder} cannot be written from here",
                "run the steps on MLflow's machine, or give MLflow an s3:// root",
            )
        else:
            yield ok(AREA, f"{folder} on this machine; a cluster needs s3://")
    else:
        yield unset(AREA, f"{root}: only s3:// and folders are looked at")


def _root(settings: Settings) -> str:
    client = Registry(settings).client
    with faults.translated(f"MLflow at {settings.tracking_uri}"):
        found = client.get_experiment_by_name(settings.experiment)
        # Before the first run: what new experiments get is seen at MLflow's own first one.
        return str((found or client.get_experiment("0")).artifact_location)


def _existing(folder: Path) -> Path:
    return next((one for one in (folder, *folder.parents) if one.exists()), folder)


def _bucket(bucket: str, prefix: str, settings: Settings) -> Iterator[Finding]:
    from botocore.exceptions import BotoCoreError, ClientError

    ours, boto = (os.environ.get(f"{name}") for name in _ENDPOINTS)
    if ours and boto and ours.rstrip("/") != boto.rstrip("/"):
        yield wrong(
            AREA,
            f"{_ENDPOINTS[0]} and {_ENDPOINTS[1]} name different servers",
            "set both to the same address: MLflow reads one, data comes through the other",
        )
    client = _client(ours, settings)
    key = f"{prefix}/doctor-{uuid4().hex}".lstrip("/")
    asked = f"look at bucket {bucket}"
    try:
        # Not HEAD: its answer has no body, and so no reason.
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
        asked = f"write to s3://{bucket}/{prefix}"
        client.put_object(Bucket=bucket, Key=key, Body=b"doctor")
        asked = f"read from s3://{bucket}/{prefix}"
        same = client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"doctor"
        asked = f"take back from s3://{bucket}/{prefix}"
        client.delete_object(Bucket=bucket, Key=key)
    except (BotoCoreError, ClientError) as error:
        yield wrong(AREA, f"cannot {asked}: {_reason(error)}", _remedy(error, bucket))
        return
    if not same:
        yield wrong(AREA, f"s3://{bucket}/{prefix} gives back other bytes", "look at the S3 server")
        return
    yield ok(AREA, f"s3://{bucket}/{prefix} can be written, read and deleted from")


_ENDPOINTS = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def _client(endpoint: str | None, settings: Settings) -> S3Client:
    from boto3.session import Session
    from botocore.config import Config

    # boto3's own session would keep keys that the environment has no more.
    return Session().client(
        "s3",
        endpoint_url=endpoint or None,
        config=Config(
            retries={"mode": "standard", "total_max_attempts": settings.http_retries + 1},
            connect_timeout=settings.http_timeout_seconds,
            read_timeout=settings.http_timeout_seconds,
        ),
    )


def _reason(error: BotoCoreError | ClientError) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _remedy(error: BotoCoreError | ClientError, bucket: str) -> str:
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    if code in ("404", "NoSuchBucket"):
        return f"make the bucket {bucket}"
    if code == "RequestTimeTooSkewed":
        return "set this machine's clock with NTP"
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch") or "Credentials" in str(error):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a pair that the server knows"
    if code:
        return (
            f"check the keys, and let them have s3:ListBucket, s3:GetObject, s3:PutObject and "
            f"s3:DeleteObject on {bucket}"
        )
    return "set MLFLOW_S3_ENDPOINT_URL and AWS_ENDPOINT_URL_S3 to the S3 server's address"
