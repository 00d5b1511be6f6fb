"""What a real Alertmanager says to Slack, PagerDuty and a mail server, each a local one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import alertmanagers
import http_server
import mail_server
import programs
import pytest
import slack_server
from followed import until

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not programs.ALERTMANAGER, reason=programs.NO_ALERTMANAGER),
]

DOWN = {"alertname": "GlinerDown", "service": "gliner", "severity": "critical"}


@pytest.fixture
def slack() -> Iterator[slack_server.Slack]:
    with slack_server.running() as started:
        yield started


@contextmanager
def pagerduty() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A local PagerDuty: its address, and the events that it took."""
    events: list[dict[str, Any]] = []

    class Handler(http_server.Handler):
        def serve(self) -> None:
            events.append(json.loads(self.body()))
            self.send(202, {"status": "success"})

    with http_server.serving(Handler) as url:
        yield f"{url}/v2/enqueue", events


def test_messages_in_slack(slack: slack_server.Slack, tmp_path: Path) -> None:
    """Words, links and who is called; the same when it is over. PagerDuty, which is not set up
    here, keeps nothing from Slack."""
    file = alertmanagers.on_this_machine(tmp_path, 600, slack.url)
    pod = {**DOWN, "instance": "a:8080"}
    with alertmanagers.serving(tmp_path, file) as manager:
        manager.tell(pod)
        alertmanagers.until(slack.taken, 1)
        manager.tell(pod, ended=True)
        alertmanagers.until(slack.taken, 2)
    log = (tmp_path / "alertmanager.log").read_text("utf-8")

    assert slack.titles == ["1 firing: GlinerDown", "Over: GlinerDown"]
    fired, over = slack.shown(0), slack.shown(1)
    assert fired.startswith("<!here>\n")
    assert "*[critical]* It is so\nSomething is &lt; something &amp; more.\nSince 20" in fired
    assert "<https://docs.example/alerts.md#one|What to do>" in fired
    assert "<https://grafana.example/d/gliner-service|Dashboard>" in fired
    assert "Over since 20" in over
    assert "<!here>" not in over
    assert "pagerduty-routing-key: no such file" in log


def test_a_long_list_is_cut(slack: slack_server.Slack, tmp_path: Path) -> None:
    """Forty pods at once are one message, which names five."""
    file = alertmanagers.on_this_machine(tmp_path, 30, slack.url)
    with alertmanagers.serving(tmp_path, file) as manager:
        manager.tell(*({**DOWN, "instance": f"{n}:8080"} for n in range(40)))
        alertmanagers.until(slack.taken, 1)

    assert slack.titles == ["40 firing: GlinerDown"]
    assert slack.shown().count("What to do") == 5
    assert "… and more." in slack.shown()


def test_messages_elsewhere(slack: slack_server.Slack, tmp_path: Path) -> None:
    """PagerDuty rings and is told that it is over, the mailbox of those on call has both as well;
    after four hours those behind the team hear of it. Secrets come out of their files."""
    with mail_server.running() as mail, pagerduty() as (url, events):
        file = alertmanagers.on_this_machine(
            tmp_path, 7_200, slack.url, mail=mail.address, pagerduty=url
        )
        with alertmanagers.serving(tmp_path, file) as manager:
            manager.tell(DOWN)
            alertmanagers.until(events, 1)
            lead = "lead@gliner-kserve.example"
            until(lambda: bool(mail.to(lead)))
            manager.tell(DOWN, ended=True)
            until(lambda: events[-1]["event_action"] == "resolve")
            until(lambda: "Over: GlinerDown" in [one["Subject"] for one in mail.to("on-call@")])

    first, last = events[0], events[-1]
    assert (first["event_action"], first["routing_key"]) == ("trigger", "hush" * 8)
    assert first["dedup_key"] == last["dedup_key"]
    assert first["payload"]["severity"] == "critical"
    assert 0 < len(first["payload"]["summary"]) <= 1_024
    assert first["payload"]["summary"] == "1 firing: GlinerDown"
    assert "[critical] It is so" in first["payload"]["custom_details"]["text"]
    assert [one["href"] for one in first["links"]] == [
        "https://docs.example/alerts.md#one",
        "https://grafana.example/d/gliner-service",
    ]
    assert set(mail.logins) == {("alertmanager@gliner-kserve.example", "hush")}
    letter = mail.to("on-call@")[0]
    assert letter["Subject"] == "1 firing: GlinerDown"
    [part] = [one for one in letter.walk() if one.get_content_type() == "text/plain"]
    text = part.get_content()
    assert "Something is < something & more." in text
    assert "What to do: https://docs.example/alerts.md#one" in text
    assert not [one for one in letter.walk() if one.get_content_type() == "text/html"]
