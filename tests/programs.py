"""Programs that no Python package brings: where one is missing, what needs it is skipped."""

from __future__ import annotations

import os
import shutil

MARIADB = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NO_MARIADB = "MariaDB is not installed"
