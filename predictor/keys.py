"""API keys: which callers may ask, where the server has a list of them.

The list holds the SHA-256 of each key and never the key. Keys are drawn at random, 256 bits long,
so that a plain hash is as good as a slow one, which every request would have to wait for.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path

from predictor.errors import StartupError, Unauthenticated
from predictor.logs import OURS

log = logging.getLogger(OURS)

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,62})=([0-9a-f]{64})")
_LOOK_SECONDS = 5.0
"""How often the file is looked at: a Secret that changes reaches the pod without a restart."""
_OPEN = re.compile(
    r"/|/page/.*"
    r"|/metrics"
    r"|/api/(docs|redoc|openapi\.json|assets/.*)"
    r"|/v1/models/[^/:]+"
    r"|/v2/health/(live|ready)"
    r"|/v2/models/[^/]+/ready"
)
_OPEN_CALLS = frozenset({"ServerLive", "ServerReady", "ModelReady"})


def open_to_all(path: str) -> bool:
    """Whether an HTTP address needs no key: probes, metrics, and files without a secret."""
    return _OPEN.fullmatch(path) is not None


def open_call(name: str) -> bool:
    """The same of a gRPC call, by its name."""
    return name in _OPEN_CALLS


class Keys:
    """The callers of a file with lines `NAME=SHA256`; empty ones and `#` comments are passed over.

    A name may stand there twice, while one key replaces another. The file is read again when it
    has changed; one that cannot be read then leaves the keys as they were.

    Args:
        path: the file.

    Raises:
        StartupError: it cannot be read, or names no caller.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._callers = _read(path)
        if not self._callers:
            raise StartupError(f"GLINER_API_KEYS_FILE={str(path)!r}: no caller in it")
        self._again = time.monotonic() + _LOOK_SECONDS

    def caller(self, headers: Mapping[str, str]) -> str:
        """The name of whoever shows a key, in `X-API-Key` or as a bearer's token.

        Args:
            headers: HTTP headers or gRPC metadata, with lower-case names.

        Raises:
            Unauthenticated: there is no key, or one that nobody has.
        """
        shown = headers.get("x-api-key", "").strip()
        if not shown:
            scheme, _, token = headers.get("authorization", "").strip().partition(" ")
            shown = token.strip() if scheme.lower() == "bearer" else ""
        if not shown:
            raise Unauthenticated(
                "an API key is needed: send it as X-API-Key, or as Authorization: Bearer KEY"
            )
        self._refresh()
        digest = hashlib.sha256(shown.encode("utf-8", "surrogateescape")).digest()
        found = ""
        # To the end of the list whatever is found, so that time tells nothing about it.
        for name, known in self._callers:
            if hmac.compare_digest(known, digest):
                found = name
        if not found:
            raise Unauthenticated("this API key is not known here")
        return found

    def _refresh(self) -> None:
        now = time.monotonic()
        if now < self._again:
            return
        self._again = now + _LOOK_SECONDS
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._callers = _read(self._path)
        except StartupError as error:
            log.error("api keys stay as they were", extra={"fields": {"reason": str(error)}})
            return
        names = sorted({name for name, _ in self._callers})
        log.info("api keys read again", extra={"fields": {"callers": names}})

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        # A Secret's file is a link that is turned to another file at once.
        return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path) -> tuple[tuple[str, bytes], ...]:
    where = f"GLINER_API_KEYS_FILE={str(path)!r}"
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise StartupError(f"{where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartupError(f"{where}: it is not a text file") from error
    callers = []
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if not found:  # the line is not shown: it may hold a key
            raise StartupError(f"{where}: line {number} is not NAME=SHA256, in 64 small hex digits")
        callers.append((found[1], bytes.fromhex(found[2])))
    return tuple(callers)
