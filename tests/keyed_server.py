"""A predictor that asks for an API key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import servers

KEY = "drawn-by-somebody"


@contextmanager
def running(folder: Path) -> Iterator[servers.RunningServer]:
    """A server that one caller, `acme`, may ask."""
    file = folder / "keys"
    file.write_text(f"acme={hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with servers.running(folder, settings={"api_keys_file": file}) as server:
        yield server
