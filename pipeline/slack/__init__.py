"""Delivery to Slack's incoming webhook.

Slack's address is a secret: who has it can write. It appears in no log, error or answer of
this module, and slack_sdk, which would log it at level DEBUG, gets a logger that is silent.
A message may arrive twice when an answer is lost on its way; it is never lost in silence.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.error import URLError

from pipeline.progress import say

if TYPE_CHECKING:
    from slack_sdk.webhook import WebhookClient

    from pipeline.settings import Settings
    from pipeline.slack.messages import Message

TOTAL_SECONDS = 60.0
"""No retry begins that could not end before."""
ANSWER_SECONDS = 10.0
_CODE = re.compile(r"[a-z_]{1,60}")


def send(message: Message, settings: Settings) -> bool:
    """Deliver a message. Never raises; says in one line why it could not be delivered.

    Returns:
        Whether Slack took it.
    """
    from slack_sdk.errors import SlackClientError

    url = settings.slack_webhook_url.get_secret_value()
    if not url:
        _say_unconfigured()
        return False
    if not re.fullmatch(r"https?://[\x21-\x7e]+", url):
        say("Slack was not told: PIPELINE_SLACK_WEBHOOK_URL is no http or https address")
        return False
    try:
        answer = _client(url, settings).send_dict(message.payload())
    # What these say may hold the address. LookupError: an answer in a character set of its own.
    except (OSError, http.client.HTTPException, ValueError, LookupError, SlackClientError) as error:
        say(f"Slack was not told of {message.kind}: {_reason(error)}")
        return False
    if answer.status_code != 200:
        body = (answer.body or "").strip()
        code = f", {body}" if _CODE.fullmatch(body) else ""
        say(f"Slack was not told of {message.kind}: it answered {answer.status_code}{code}")
        return False
    return True


@cache
def _say_unconfigured() -> None:
    say("Slack is not configured: PIPELINE_SLACK_WEBHOOK_URL is empty")


def _client(url: str, settings: Settings) -> WebhookClient:
    from slack_sdk.webhook import WebhookClient

    silent = logging.Logger("slack")  # known to nobody who could turn it on
    silent.disabled = True
    seconds = min(ANSWER_SECONDS, settings.http_timeout_seconds)
    client = WebhookClient(
        url, logger=silent, retry_handlers=_handlers(settings.http_retries, seconds)
    )
    client.timeout = seconds  # type: ignore[assignment] # urllib takes fractions as well
    return client


def _handlers(most: int, answer_seconds: float) -> list[Any]:
    """slack_sdk's retry handlers, held to one deadline."""
    from slack_sdk.http_retry.builtin_handlers import (
        ConnectionErrorRetryHandler,
        RateLimitErrorRetryHandler,
        ServerErrorRetryHandler,
    )

    until = time.monotonic() + TOTAL_SECONDS - answer_seconds

    def time_left(pause: float) -> bool:
        return time.monotonic() + pause <= until

    class RateLimited(RateLimitErrorRetryHandler):
        def _can_retry(self, *, response: Any = None, **given: Any) -> bool:
            if not super()._can_retry(response=response, **given):
                return False
            headers = {name.lower(): values for name, values in response.headers.items()}
            pause = headers.get("retry-after", ["1"])[0]
            # One more second: the handler adds a random part of one.
            return pause.isdigit() and time_left(int(pause) + 1)

    class ServerTroubled(ServerErrorRetryHandler):
        def _can_retry(self, *, state: Any, response: Any = None, **given: Any) -> bool:
            return (
                response is not None
                and response.status_code >= 500
                and time_left(2 ** (state.current_attempt + 1))
            )

    class Unreached(ConnectionErrorRetryHandler):
        def _can_retry(self, *, state: Any, **given: Any) -> bool:
            return super()._can_retry(state=state, **given) and time_left(
                2 ** (state.current_attempt + 1)
            )

    broken = [URLError, ConnectionError, TimeoutError, http.client.HTTPException]
    return [RateLimited(most), ServerTroubled(most), Unreached(most, error_types=broken)]


def _reason(error: Exception) -> str:
    """What went wrong, without the text of the error, which may hold the address."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return "it did not answer in time"
    if isinstance(cause, OSError) and cause.errno and type(cause).__module__ == "builtins":
        return os.strerror(cause.errno)
    return type(cause).__name__
