"""Locks of this machine, by what they guard: a model in an MLflow.

They lie in one folder of the user's, from wherever and with whatever settings a run is started.
It is not `TMPDIR`, which a run sets for its steps. Other users have a folder, and locks, of their
own.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from pipeline.errors import PipelineError, RolloutBusy, Unavailable

if TYPE_CHECKING:
    from pipeline.settings import Settings

FOLDER = Path(f"/tmp/gliner-kserve-{os.getuid()}")  # noqa: S108 - its owner is looked at


@contextmanager
def held(
    name: str, settings: Settings, busy: str, *, owner: str = "", seconds: float = 0
) -> Iterator[None]:
    """Hold a lock; the system takes it from a process that dies.

    Args:
        name: what may be done by one process at a time.
        busy: what is told where another has it, with `{owner}` for who that is.
        owner: who this is, for others to read.
        seconds: how long another's end is waited for.

    Raises:
        RolloutBusy: another process has it.
        PipelineError: the folder of locks is somebody else's.
        Unavailable: the lock file cannot be written.
    """
    file = FOLDER / f"{name}-{key(settings)}.lock"
    # Beside the lock file, which is the lock's own.
    who = file.with_suffix(".owner")
    lock = FileLock(file)
    try:
        _prepare()
        lock.acquire(timeout=seconds)
    except Timeout:
        raise RolloutBusy(busy.format(owner=_read(who) or "another process")) from None
    except OSError as error:
        raise Unavailable(
            f"{error.filename or file}: {error.strerror}; {FOLDER} must be a folder of yours, for "
            "locks"
        ) from error
    try:
        if owner:
            with suppress(OSError):  # held all the same where the disk is full
                who.write_text(owner, encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            who.unlink()
        lock.release()


def key(settings: Settings) -> str:
    """What is guarded, as part of a file's name; this machine has one name."""
    server = urlsplit(settings.tracking_uri)
    host = re.sub(r"^(localhost|\[::1\])(?=:|$)", "127.0.0.1", server.netloc.rpartition("@")[2])
    guarded = f"{host}{server.path.rstrip('/')} {settings.model_name}"
    return hashlib.sha256(guarded.encode()).hexdigest()[:16]


def _prepare() -> None:
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    if FOLDER.lstat().st_uid != os.getuid():
        raise PipelineError(
            f"{FOLDER} is another user's, and your locks lie there; have it removed"
        )


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_text("utf-8")
    return ""
