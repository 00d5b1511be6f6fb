"""A step that fails: tried again where that may help."""

from __future__ import annotations

import pytest

from pipeline.errors import DataError, NotServing, PipelineError, Unavailable
from pipeline.runs import attempt


@pytest.mark.parametrize(
    ("kind", "tries"), [(Unavailable, 3), (NotServing, 1), (DataError, 1)], ids=lambda one: str(one)
)
def test_only_what_may_pass_is_tried_again(
    kind: type[PipelineError], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is away for a moment; not a predictor that somebody has to start."""
    monkeypatch.setattr(attempt, "FIRST_PAUSE_SECONDS", 0.01)
    calls = []

    def fail() -> None:
        calls.append(1)
        raise kind("the reason")

    with pytest.raises(kind):
        attempt.patience(2)(fail)

    assert len(calls) == tries
