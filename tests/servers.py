"""Real predictor processes for tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90


@dataclass(slots=True)
class RunningServer:
    """One `python -m predictor` that is ready.

    Attributes:
        url: its HTTP address.
        grpc: its gRPC address, `host:port`.
        process: the process.
        log_file: its standard error: JSON lines.
        http: a client bound to the address.
    """

    url: str
    grpc: str
    process: subprocess.Popen[bytes]
    log_file: Path
    http: httpx.Client = field(repr=False)

    def log_lines(self) -> list[dict[str, Any]]:
        """Everything it has logged so far."""
        return [json.loads(line) for line in self.log_file.read_text("utf-8").splitlines()]

    def predict(self, *instances: Any, **parameters: Any) -> list[dict[str, Any]]:
        """The predictions for some instances over V1."""
        answer = self.http.post(
            "/v1/models/gliner:predict",
            json={"instances": list(instances), "parameters": parameters},
        )
        answer.raise_for_status()
        predictions: list[dict[str, Any]] = answer.json()["predictions"]
        return predictions


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def command(http_port: int, grpc_port: int) -> list[str]:
    """What starts a predictor."""
    ports = ["--http_port", str(http_port), "--grpc_port", str(grpc_port)]
    return [sys.executable, "-m", "predictor", *ports]


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """This process's own environment, with these settings of a predictor and no others."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("GLINER_")},
        # No cluster sends callers here.
        "GLINER_LINGER_SECONDS": "0",
        **{f"GLINER_{name.upper()}": str(value) for name, value in settings.items()},
        "HF_HUB_OFFLINE": "1",
    }


@contextmanager
def running(
    folder: Path,
    *arguments: str,
    settings: Mapping[str, object] | None = None,
    port: int | None = None,
) -> Iterator[RunningServer]:
    """Start a server, wait until it is ready, and end it.

    Args:
        folder: where its log goes.
        arguments: more command-line arguments.
        settings: `GLINER_*` settings by their name without the prefix, lower case.
        port: where it listens for HTTP; None takes a free one.

    Raises:
        RuntimeError: it ended or was not ready in time; the text is its log.
    """
    http_port, grpc_port = free_ports(2)
    http_port = port or http_port
    log_file = folder / f"predictor-{http_port}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [*command(http_port, grpc_port), *arguments],
            cwd=ROOT,
            env=environment(settings or {}),
            stderr=log,
        )
    url = f"http://127.0.0.1:{http_port}"
    try:
        with httpx.Client(base_url=url, timeout=120) as http:
            server = RunningServer(url, f"127.0.0.1:{grpc_port}", process, log_file, http)
            _wait_until_ready(server)
            yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(server: RunningServer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if server.http.get("/v2/models/gliner/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"the predictor is not ready:\n{server.log_file.read_text('utf-8')}")
