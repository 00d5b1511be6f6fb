"""Checkpoints of a training that outlive its pod: kept whole, found again by what is trained."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.registry import faults
from pipeline.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STATE = "trainer_state.json"
_MARKER = re.compile(r"^(\d+)-[0-9a-f]{8}\.json$")


class Checkpoints:
    """The checkpoints of one training, in a folder or below an S3 prefix.

    A checkpoint counts from the moment that its marker is there, which names every file with
    its digest and is written last: half an upload is never used. Each upload has a folder of
    its own, so two trainings of the same thing do not disturb each other.

    Args:
        key: what is trained: the same base, data and parameters have the same.
    """

    def __init__(self, key: str, settings: Settings) -> None:
        self.place = settings.checkpoints or str(settings.home / "checkpoints")
        self._shelf = _shelf(self.place, key, settings)
        self._kept: dict[str, str] = {}

    def keep(self, checkpoint: Path, best: str) -> None:
        """Store a checkpoint, and let go of all but it and the best one.

        Args:
            checkpoint: the trainer's folder, `checkpoint-<step>`.
            best: the name of the best checkpoint's folder so far; empty when there is none.

        Raises:
            Unavailable, PipelineError: it could not be stored; what was stored is as before.
        """
        step = int(checkpoint.name.rpartition("-")[2])
        name = f"{step}-{uuid.uuid4().hex[:8]}"
        with faults.translated(f"the checkpoints at {self.place}"):
            files = {}
            for file in sorted(one for one in checkpoint.iterdir() if one.is_file()):
                self._shelf.put(file, f"{name}/{file.name}")
                files[file.name] = _digest(file)
            marker = checkpoint / "marker.json"
            marker.write_text(json.dumps(files), encoding="utf-8")
            self._shelf.put(marker, f"{name}.json")
            self._kept[checkpoint.name] = name
            wanted = {self._kept.get(one, "") for one in (checkpoint.name, best)}
            for at, old in self._markers():
                if old not in wanted and at <= step:
                    self._remove(old)

    def restore(self, folder: Path) -> Path | None:
        """Fetch the last whole checkpoint, and the best one beside it, into a folder.

        Returns:
            The checkpoint's folder; None when there is none.
        """
        with faults.translated(f"the checkpoints at {self.place}"):
            for step, name in self._markers():
                last = self._fetch(step, name, folder)
                if last is not None and self._with_best(last):
                    return last
        return None

    def clear(self) -> None:
        """Let go of all: what was trained is safe elsewhere."""
        with faults.translated(f"the checkpoints at {self.place}"):
            for _, name in self._markers():
                self._remove(name)

    def _with_best(self, last: Path) -> bool:
        """Bring the best checkpoint that `last` refers to, and let it refer to where it is now."""
        state = json.loads((last / STATE).read_text(encoding="utf-8"))
        best = Path(state.get("best_model_checkpoint") or "").name
        if not best:
            return True
        if best != last.name and not any(
            self._fetch(step, name, last.parent) is not None
            for step, name in self._markers()
            if f"checkpoint-{step}" == best
        ):
            return False
        state["best_model_checkpoint"] = str(last.parent / best)
        (last / STATE).write_text(json.dumps(state), encoding="utf-8")
        return True

    def _fetch(self, step: int, name: str, folder: Path) -> Path | None:
        """One checkpoint's files; None when any is missing or not what was stored."""
        target = folder / f"checkpoint-{step}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        marker = target / "marker.json"
        if not self._shelf.get(f"{name}.json", marker):
            return None
        for file, digest in json.loads(marker.read_text(encoding="utf-8")).items():
            there = self._shelf.get(f"{name}/{file}", target / file)
            if not there or _digest(target / file) != digest:
                shutil.rmtree(target)
                return None
        self._kept[target.name] = name
        return target

    def _markers(self) -> list[tuple[int, str]]:
        """Step and name of each whole checkpoint, the last first."""
        found = [(_MARKER.match(one), one) for one in self._shelf.names()]
        steps = [(int(match[1]), one.removesuffix(".json")) for match, one in found if match]
        return sorted(steps, reverse=True)

    def _remove(self, name: str) -> None:
        # The marker first: what loses a file must not count any more.
        self._shelf.remove(f"{name}.json")
        self._shelf.remove(f"{name}/")


class _Shelf(Protocol):
    """Named files, in a folder or a bucket. A file is there whole or not at all."""

    def put(self, file: Path, name: str) -> None: ...

    def get(self, name: str, file: Path) -> bool: ...

    def names(self) -> list[str]:
        """The names of the files that are in no folder."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file, or with a slash at the end a folder."""
        ...


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: Path, name: str) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(file, part)
        part.replace(target)

    def get(self, name: str, file: Path) -> bool:
        if not (self._folder / name).is_file():
            return False
        shutil.copyfile(self._folder / name, file)
        return True

    def names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return [one.name for one in self._folder.iterdir() if one.is_file()]

    def remove(self, name: str) -> None:
        if name.endswith("/"):
            shutil.rmtree(self._folder / name, ignore_errors=True)
        else:
            (self._folder / name).unlink(missing_ok=True)


class _Bucket:
    def __init__(self, client: S3Client, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def put(self, file: Path, name: str) -> None:
        self._client.upload_file(str(file), self._bucket, f"{self._prefix}{name}")

    def get(self, name: str, file: Path) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._client.download_file(self._bucket, f"{self._prefix}{name}", str(file))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                return False
            raise
        return True

    def names(self) -> list[str]:
        keys = self._keys(self._prefix, "/")
        return [one.removeprefix(self._prefix) for one in keys]

    def remove(self, name: str) -> None:
        full = f"{self._prefix}{name}"
        for key in self._keys(full) if name.endswith("/") else [full]:
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _keys(self, prefix: str, delimiter: str = "") -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, Delimiter=delimiter
        )
        return [one["Key"] for page in pages for one in page.get("Contents", [])]


def _shelf(place: str, key: str, settings: Settings) -> _Shelf:
    if not place.startswith("s3://"):
        return _Folder(Path(place).expanduser() / key)
    import boto3
    from botocore.config import Config

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    waits = Config(
        retries={"mode": "standard", "total_max_attempts": settings.http_retries + 1},
        read_timeout=settings.http_timeout_seconds,
    )
    prefix = f"{prefix.strip('/')}/{key}/".lstrip("/")
    return _Bucket(boto3.client("s3", config=waits), bucket, prefix)


def _digest(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            total.update(chunk)
    return total.hexdigest()
