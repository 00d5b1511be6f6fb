"""What tests of several parts of the pipeline share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import slack_server
from slack_server import Slack


@pytest.fixture
def slack() -> Iterator[Slack]:
    """A local Slack."""
    with slack_server.running() as started:
        yield started
