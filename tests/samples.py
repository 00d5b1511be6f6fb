"""Texts that every client is asked about, and how what they get is compared."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import pytest

TEXTS = (
    "Ada Lovelace was born in London and moved to Paris.",
    "Zürich 🙂 und Köln: Grace Hopper traf Alan Turing.",
    "",
)
LABELS = ["person", "location"]
THRESHOLD = 0.001
"""Finds something with any model."""
PARAMETERS = {"labels": json.dumps(LABELS), "threshold": THRESHOLD}

Found = list[list[dict[str, Any]]]


def assert_same(found: Found, expected: Found) -> None:
    """The same entities; scores within what FP32 and the size of a batch change."""
    assert [len(one) for one in found] == [len(one) for one in expected]
    for have, want in zip(chain(*found), chain(*expected), strict=True):
        assert have["score"] == pytest.approx(want["score"], abs=1e-4)
        assert {**have, "score": 0} == {**want, "score": 0}
