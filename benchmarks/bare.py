"""Our engine without a server: `python -m benchmarks.bare BUNDLE`.

Reads a text and its labels as JSON from each line, writes how many seconds the engine took from
words to scores.
"""

from __future__ import annotations

import json
import sys
import time

from predictor import bundle, engines
from predictor.engines import Window


def main() -> None:
    """Answer until the input ends."""
    found = bundle.locate(sys.argv[1])
    engine = engines.load(found, "cpu", found.manifest.precision)
    for line in sys.stdin:
        text, labels = json.loads(line)
        started = time.perf_counter()
        engine.score([Window(tuple(word for word, _, _ in engine.split(text)), tuple(labels))])
        sys.stdout.write(f"{time.perf_counter() - started}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
