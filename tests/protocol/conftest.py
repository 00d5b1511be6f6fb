"""What V1 finds in the samples: the measure for every other client."""

from __future__ import annotations

from pathlib import Path

import pytest
import wire
from samples import LABELS, TEXTS, THRESHOLD, Found
from servers import RunningServer


@pytest.fixture(scope="session")
def expected(server: RunningServer) -> Found:
    """What V1 finds in the texts."""
    found = server.predict(*TEXTS, labels=LABELS, threshold=THRESHOLD)
    for text, one in zip(TEXTS, found, strict=True):
        wire.check_offsets(text, one["entities"], LABELS)
    assert sum(len(one["entities"]) for one in found) >= 3
    return [one["entities"] for one in found]


@pytest.fixture(scope="session")
def alone(server: RunningServer) -> Found:
    """The same, each text in a request of its own: a batch changes the last digits of scores,
    and with them the order of entities that are as good as each other."""
    return [
        server.predict(text, labels=LABELS, threshold=THRESHOLD)[0]["entities"] for text in TEXTS
    ]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small models with other answers, and with other words that a label may not hold:
    `<<ENT>>` for the first, `<<MARK>>` for the second."""
    import checkpoints  # torch and GLiNER take seconds

    from predictor import bundle

    folder = tmp_path_factory.mktemp("bundles")
    one = checkpoints.write(folder / "one", "bert")
    two = checkpoints.write(folder / "two", "deberta", ent_token="<<MARK>>")
    return (
        bundle.write(str(one), folder / "bundle-one").folder,
        bundle.write(str(two), folder / "bundle-two").folder,
    )
