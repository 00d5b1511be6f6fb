"""Installs a lock with uv, from where pip would: `python uv_install.py UV PYTHON LOCK`.

uv is the same in a tenth of the time, but reads none of pip's files and variables, where machines
say which index is theirs. So it is told what pip is told. Where that is something that uv has no
word for, nothing is done and a line says so: then pip has to do it.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterable

OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
    "no-binary": "--no-binary",
    "only-binary": "--only-binary",
}
"""What may have several values, and uv's option for each one."""
VARIABLES = {
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
"""What has one value, and uv's variable for it."""
HARMLESS = {
    *("cache-dir", "compile", "config-file", "disable-pip-version-check", "log", "no-cache-dir"),
    *("no-color", "no-input", "no-warn-script-location", "prefer-binary", "progress-bar", "quiet"),
    *("require-virtualenv", "retries", "root-user-action", "verbose"),
}
"""What changes nothing that is installed, where every version is pinned."""
ORDER = ("global", "install", ":env:")
"""Sections of pip's settings that count for an installation, the last of them most."""


class Unknown(Exception):
    """Pip is told something that uv has no word for."""


def settings(listed: Iterable[str]) -> dict[str, str]:
    """Read what `pip config list` prints."""
    found: dict[str, dict[str, str]] = {section: {} for section in ORDER}
    for line in listed:
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in found:
            found[section][name] = str(ast.literal_eval(value))
    return {name: value for section in ORDER for name, value in found[section].items()}


def translated(told: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Pip's settings as options and variables of uv.

    Raises:
        Unknown: one of them is neither known nor without consequence.
    """
    options, variables = [], {}
    for name, value in told.items():
        if name in OPTIONS:
            options += [f"{OPTIONS[name]}={one}" for one in value.split()]
        elif name == "no-index":
            options += ["--no-index"] if value.lower() in ("1", "true", "yes", "on") else []
        elif name in VARIABLES:
            variables[VARIABLES[name]] = value
        elif name not in HARMLESS:
            raise Unknown(name)
    return options, variables


def main(uv: str, python: str, lock: str) -> int:
    """Install; gives uv's status."""
    pip = [python, "-m", "pip", "config", "list"]
    listed = subprocess.run(pip, check=True, capture_output=True, text=True).stdout
    try:
        options, variables = translated(settings(listed.splitlines()))
    except Unknown as setting:
        sys.exit(f"pip is set up with {setting}, which uv does not know")
    # As pip does: the best of all indexes, not all from the first that knows the name.
    options.append("--index-strategy=unsafe-best-match")
    command = [uv, "pip", "install", "--compile-bytecode", f"--python={python}", *options]
    return subprocess.run(
        [*command, "--requirements", lock], check=False, env={**os.environ, **variables}
    ).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
