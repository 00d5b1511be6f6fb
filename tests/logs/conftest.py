"""Lines of a real predictor."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import servers
import wire

TRACE = "0af7651916cd43dd8448eb211c80319c"  # pragma: allowlist secret
STEP = "error 3: s3://data/eval: no rows"


@dataclass(frozen=True)
class Written:
    """What a predictor wrote.

    Attributes:
        lines: JSON, one object a line.
        crash: what a predictor wrote that never came to serve.
        refused, traced: ids of requests that were refused, and that had a trace.
    """

    lines: tuple[str, ...]
    crash: tuple[str, ...]
    refused: str
    traced: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The lines taken apart."""
        return [json.loads(line) for line in self.lines]

    @property
    def everything(self) -> list[str]:
        """All of it, with a line of a pipeline's step and one that is JSON but no object."""
        return [*self.lines, *self.crash, STEP, "42"]


@pytest.fixture(scope="session")
def written(server: servers.RunningServer) -> Written:
    """The log of a predictor that answered, refused and was asked over gRPC."""
    path, body = (
        "/v1/models/gliner:predict",
        {"instances": ["Ada"], "parameters": {"labels": ["a"]}},
    )
    headers = {"x-request-id": "refused-1"}
    assert server.http.post(path, content="{", headers=headers).status_code == 400
    headers = {"x-request-id": "traced-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    assert server.http.post(path, json=body, headers=headers).status_code == 200
    assert server.http.get("/nowhere").status_code == 404
    assert wire.call(server, wire.message(["Ada"], parameters={"labels": '["a"]'})).status == "OK"
    asked = [sys.executable, "-m", "predictor", "--model", "/nowhere/at/all"]
    died = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    assert died.returncode
    lines = server.log_file.read_text("utf-8").splitlines()
    return Written(tuple(lines), tuple(died.stderr.splitlines()), "refused-1", "traced-1")
