"""The table of errors is the one that people read."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest

from predictor import errors
from predictor.errors import InvalidRequest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def test_table_is_documented() -> None:
    """docs/errors.md has each kind with both of its statuses, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \|", DOCS.read_text("utf-8"), re.M)

    assert rows == sorted(
        ((one.kind, str(one.http), one.grpc) for one in errors.TABLE), key=lambda row: row[1]
    )


@pytest.mark.parametrize("kind", errors.TABLE)
def test_statuses_exist(kind: type[errors.NerError]) -> None:
    """Each kind has a status that gRPC knows and an HTTP status of an error."""
    assert kind.grpc in grpc.StatusCode.__members__
    assert 400 <= kind.http < 600


def test_message_names_instance_and_field() -> None:
    """A message says which text and which field, as far as either is at fault."""
    error = InvalidRequest("must be at most 1, got 3", field="threshold", instance=4)

    assert str(error) == "instance 4: threshold: must be at most 1, got 3"
    assert str(error.without_index()) == "threshold: must be at most 1, got 3"
    assert str(InvalidRequest("the body is empty")) == "the body is empty"
