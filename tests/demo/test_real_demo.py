"""The demo with the real server: what `make demo` runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import servers

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]


def demo(*options: str) -> subprocess.Popen[str]:
    http_port, grpc_port = servers.free_ports(2)
    ports = ["--http_port", str(http_port), "--grpc_port", str(grpc_port)]
    return subprocess.Popen(
        [sys.executable, "-m", "predictor.demo", *ports, *options],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_once_shows_entities() -> None:
    """`make demo ONCE=1` finds the obvious entities with the embedded model and exits with 0."""
    process = demo("--once")
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors
    for entity, label in (
        ("Marie Curie", "person"),
        ("Warsaw", "location"),
        ("Microsoft", "company"),
        ("Nairobi", "location"),
    ):
        assert re.search(rf"^{entity} +{label} +[01]\.\d\d *$", output, re.MULTILINE), output


def test_interrupt_drains_and_exits_with_0() -> None:
    """Ctrl-C ends a demo that is up; the page answered until then and does not afterwards."""
    process = demo()
    assert process.stdout is not None
    shown = ""
    for line in process.stdout:
        shown += line
        if "Ctrl-C" in line:
            break
    found = re.search(r"^Page +(\S+)$", shown, re.MULTILINE)
    assert found, shown
    page = found[1]
    assert "<html" in httpx.get(page, headers={"accept": "text/html"}).text.lower()

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert errors == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(page)


def test_unknown_model_is_one_clear_line(tmp_path: Path) -> None:
    """A model that cannot be loaded is named in the first line; no traceback is shown."""
    process = demo("--once", "--model", str(tmp_path / "nowhere"))
    _, errors = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "nowhere" in errors.splitlines()[0]
    assert "Traceback" not in errors
