"""The demo's folder: emptied when a demo begins, and held by one demo at a time.

What lies in it is deleted without a question, so it must be sure to be a demo's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.errors import PipelineError, SettingsError

DEFAULT = Path(".gliner-kserve/demo")
MARK = ".gliner-demo"
"""The file that says that a folder is a demo's."""
_LOCK = ".gliner-demo.lock"
_WORDS = "`python -m pipeline demo` made this folder, and empties it whenever it starts anew.\n"


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the folder, with nothing in it that an earlier demo left.

    Raises:
        SettingsError: it cannot be made or written, holds what is no demo's, or is another
            demo's that runs. Nothing in it was touched.
        PipelineError: what an earlier demo left cannot be deleted.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        _check(home)
        lock = FileLock(home / _LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise SettingsError(
            f"another demo runs in {home}; name another folder with `--home DIR`"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{error.filename or home}: {error.strerror}; `--home` must be a folder that can be "
            "written"
        ) from error
    try:
        _empty(home)
        yield
    finally:
        lock.release()


def _check(home: Path) -> None:
    """Raise for a folder that holds what no demo has put there."""
    # Demos left no mark once: the folder that only they have by default is theirs without it.
    if (home / MARK).exists() or home.resolve() == DEFAULT.resolve():
        return
    if any(one.name != _LOCK for one in home.iterdir()):
        raise SettingsError(
            f"{home} holds files that are no demo's, and a demo empties its folder; name an empty "
            "or new one with `--home DIR`"
        )


def _empty(home: Path) -> None:
    """Take away what an earlier demo left: the loop would find it again."""
    try:
        # First of all: what is cut off here is a demo's folder still.
        (home / MARK).write_text(_WORDS, encoding="utf-8")
        for left in home.iterdir():
            if left.name in (MARK, _LOCK):
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink()
    except OSError as error:
        raise PipelineError(
            f"cannot empty {home}: {error.filename}: {error.strerror}; delete it, or name another "
            "folder with `--home DIR`"
        ) from error
