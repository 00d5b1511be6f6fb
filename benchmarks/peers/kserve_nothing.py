"""KServe with a model that does nothing: what a request costs before there is a model.

`python -m benchmarks.peers.kserve_nothing PORT` gives every question the same answer.
"""

from __future__ import annotations

import sys
from typing import Any

from kserve import Model, ModelServer

_ANSWER: dict[str, Any] = {"predictions": [{"entities": []}]}


class Nothing(Model):  # type: ignore[misc]  # has no types
    """Ready, and of one answer."""

    def __init__(self) -> None:
        super().__init__("nothing")
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        return _ANSWER


def main() -> None:
    """Serve until the process is ended."""
    ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([Nothing()])


if __name__ == "__main__":
    main()
