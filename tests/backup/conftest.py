"""What each test of backups destroys is its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import backup_site
import programs
import pytest
from backup_site import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An MLflow with nothing in it, on a MariaDB and an S3 server of its own."""
    if not programs.MARIADB:
        pytest.skip(programs.NO_MARIADB)
    with backup_site.running(tmp_path) as started:
        yield started
