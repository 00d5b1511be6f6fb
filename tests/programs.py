"""Programs that no Python package brings: where one is missing, what needs it is skipped."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

MARIADB = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NO_MARIADB = "MariaDB is not installed"

# In .venv where scripts/helm.sh has put it.
HELM = shutil.which("helm") or shutil.which("helm", path=str(Path(sys.executable).parent))
NO_HELM = "Helm is not installed"

PROMTOOL = shutil.which("promtool")
NO_PROMTOOL = "promtool, which comes with Prometheus, is not installed"
PROMETHEUS = shutil.which("prometheus")

# Debian's name comes first: others call it as its project does.
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
AMTOOL = shutil.which("amtool")
NO_ALERTMANAGER = "Alertmanager with its amtool is not installed"
