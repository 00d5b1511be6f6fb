"""Delivery, against a local Slack that can be slow, busy, broken or gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest
import slack_server
from slack_server import SECRET, Slack, Trouble

from pipeline import slack
from pipeline.settings import Settings
from pipeline.slack.messages import Facts, failed

MESSAGE = failed(Facts("gliner-ner", 3), "train", "the disk is full")


@pytest.fixture
def server() -> Iterator[Slack]:
    with slack_server.running() as started:
        yield started


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of slack_sdk's backoff, without their length."""
    from slack_sdk.http_retry.builtin_interval_calculators import BackoffRetryIntervalCalculator

    monkeypatch.setattr(
        BackoffRetryIntervalCalculator, "calculate_sleep_duration", lambda self, attempt: 0.01
    )


def settings(url: str, **more: float) -> Settings:
    return Settings.model_validate(
        {"slack_webhook_url": url, "http_retries": 2, "http_timeout_seconds": 1.0, **more}
    )


def test_a_message_arrives(server: Slack) -> None:
    """Slack takes what is sent, as it is sent."""
    told = slack.send(MESSAGE, settings(server.url))

    assert told
    assert server.taken == [MESSAGE.payload()]


def test_a_rate_limit_is_waited_for(server: Slack) -> None:
    """The next attempt comes after as many seconds as Slack asked for."""
    server.troubles = [Trouble(429, (("Retry-After", "1"),))]

    told = slack.send(MESSAGE, settings(server.url))

    first, second = server.asked_at
    assert told
    assert second - first >= 1.0


@pytest.mark.parametrize("pause", ["3600", "Wed, 21 Oct 2026 07:28:00 GMT", "-5"])
def test_a_rate_limit_that_is_too_long_is_not_waited_for(
    server: Slack, pause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run does not wait an hour for its messenger."""
    server.troubles = [Trouble(429, (("Retry-After", pause),))]
    begun = time.monotonic()

    told = slack.send(MESSAGE, settings(server.url))

    assert not told
    assert time.monotonic() - begun < 1
    assert (
        capsys.readouterr().out == "Slack was not told of failed: it answered 429, rate_limited\n"
    )


@pytest.mark.parametrize("how", [500, 502, 503, "close"])
def test_a_passing_trouble_is_tried_again(server: Slack, how: int | str) -> None:
    """Server errors and lost connections cost an attempt and not the message."""
    server.troubles = [Trouble(how), Trouble(how)]

    told = slack.send(MESSAGE, settings(server.url))

    assert told
    assert len(server.asked_at) == 3


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (500, "it answered 500"),
        ("close", "RemoteDisconnected"),
        ("hang", "it did not answer in time"),
    ],
)
def test_a_slack_that_stays_down_is_one_line(
    server: Slack, how: int | str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is raised, and the attempts are counted."""
    server.troubles = [Trouble(how, body="<html>oops</html>")] * 9

    told = slack.send(MESSAGE, settings(server.url, http_timeout_seconds=0.2))

    assert not told
    assert len(server.asked_at) == 3
    assert capsys.readouterr().out == f"Slack was not told of failed: {said}\n"


def test_a_refused_message_is_not_sent_again(
    server: Slack, capsys: pytest.CaptureFixture[str]
) -> None:
    """What Slack says about it is one of its own words."""
    told = slack.send(MESSAGE, settings(server.url + "x"))

    assert not told
    assert len(server.asked_at) == 1
    assert capsys.readouterr().out == "Slack was not told of failed: it answered 404, no_team\n"


@pytest.mark.parametrize("trouble", [None, 429, 500, "close", "hang", "gone", "odd", "no address"])
def test_the_address_shows_nowhere(
    server: Slack,
    trouble: int | str | None,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Neither our lines nor any logger at DEBUG give the secret away, whatever goes wrong."""
    url = {
        "gone": f"http://127.0.0.1:9/services/{SECRET}",
        "odd": f"{server.url}\x7f",
        "no address": f"services/{SECRET}",
    }.get(str(trouble), server.url)
    server.troubles = [Trouble(trouble)] * 9 if trouble in (429, 500, "close", "hang") else []
    caplog.set_level(logging.DEBUG)
    for name in ("slack_sdk", "slack_sdk.webhook", "slack_sdk.webhook.client", "urllib3"):
        caplog.set_level(logging.DEBUG, logger=name)
    asked = settings(url, http_timeout_seconds=0.2)

    told = slack.send(MESSAGE, asked)

    seen = caplog.text + "".join(capsys.readouterr()) + repr(asked) + asked.model_dump_json()
    assert told is (trouble is None)
    assert "hush" not in seen
    assert SECRET not in seen


def test_without_an_address_it_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Who runs without Slack is not reminded at every step."""
    slack._say_unconfigured.cache_clear()

    told = [slack.send(MESSAGE, settings("")) for _ in range(3)]

    assert told == [False] * 3
    assert capsys.readouterr().out == (
        "Slack is not configured: PIPELINE_SLACK_WEBHOOK_URL is empty\n"
    )
