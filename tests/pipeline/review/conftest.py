"""What tests about reviews share."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from reviewed import Launches
from slack_server import Slack

from pipeline.settings import Settings


@pytest.fixture
def settings(settings: Settings, slack: Slack) -> Settings:
    """Settings that lead to the local Slack as well."""
    update = {"slack_webhook_url": SecretStr(slack.url), "http_retries": 0}
    return settings.model_copy(update=update)


@pytest.fixture
def launches() -> Launches:
    return Launches()
