"""A stand-in for the predictor: same addresses, no model. The demo's tests start it as a process.

fake_predictor.py PORT ready|breaks|ends-later|slow
"""

from __future__ import annotations

import json
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BEHAVIOUR = sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    """Answers readiness, and finds the first word of every text."""

    def do_GET(self) -> None:
        self._answer(200 if BEHAVIOUR != "slow" else 503, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        [asked] = body["instances"]
        word = asked["text"].split()[0]
        entity = {"text": word, "label": asked["labels"][0], "start": 0, "end": len(word)}
        self._answer(200, {"predictions": [{"entities": [entity | {"score": 0.987}]}]})

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve until SIGTERM, or break in the way that was asked for."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stderr.write('{"level": "INFO", "message": "loading"}\n')
    if BEHAVIOUR == "breaks":
        sys.exit("the model is broken; try another")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    if BEHAVIOUR == "ends-later":
        server.timeout = 0.1
        until = time.monotonic() + 2
        while time.monotonic() < until:
            server.handle_request()
        sys.exit("out of memory")
    server.serve_forever()


main()
