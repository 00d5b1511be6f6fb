"""A review from the question to the decision, on a real MLflow server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
import reviewed
import slack_server
from pydantic import SecretStr
from reviewed import Launches
from slack_server import Slack, Trouble

from pipeline import review
from pipeline.errors import PipelineError, Refused, RolloutBusy, Unavailable
from pipeline.registry import CHALLENGER, Registry, Tag
from pipeline.review import poll
from pipeline.review.tags import ReviewTag
from pipeline.settings import Settings

pytestmark = pytest.mark.server


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server.running() as started:
        yield started


@pytest.fixture
def settings(settings: Settings, slack: Slack) -> Settings:
    """Settings that lead to the local Slack as well."""
    update = {"slack_webhook_url": SecretStr(slack.url), "http_retries": 0}
    return settings.model_copy(update=update)


@pytest.fixture
def launches() -> Launches:
    return Launches()


def ask(registry: Registry, number: int) -> str:
    return review.ask(number, registry, registry.run("job-1"))


def asked(registry: Registry, **tags: object) -> int:
    """A version whose review was asked."""
    number = reviewed.register(registry, **tags)
    assert ask(registry, number) == "pending"
    return number


def long_ago(registry: Registry, number: int) -> None:
    """Let its question be two weeks old."""
    then = datetime.now(timezone.utc) - timedelta(days=14)
    registry.tag(reviewed.version(registry, number), {Tag.REVIEW_ASKED_AT: then.isoformat()})


def challenger(registry: Registry) -> int | None:
    found = registry.challenger()
    return found.number if found else None


def test_asking_makes_a_challenger_and_tells_how_to_decide(
    registry: Registry, slack: Slack
) -> None:
    """The version waits, and the message links to where it is approved."""
    number = reviewed.register(registry, f1=0.81, precision=0.9, recall=0.7)

    answer = ask(registry, number)

    tags = reviewed.tags(registry, number)
    assert answer == "pending"
    assert (tags[Tag.STATUS], tags[Tag.REVIEW]) == ("challenger", "pending")
    assert challenger(registry) == number
    assert slack.titles == [f":eyes: {registry.name} version 1 waits for your review"]
    assert f"<{registry.version_url(number)}|Version>" in slack.shown()
    assert "set `review` to `approved` or `rejected`" in slack.shown()
    assert "0.810" in slack.shown()


def test_asking_again_changes_and_tells_nothing(registry: Registry, slack: Slack) -> None:
    """A step that is tried again leaves the clock and the reader alone."""
    number = asked(registry)
    before = reviewed.tags(registry, number)

    answer = ask(registry, number)

    assert answer == "pending"
    assert reviewed.tags(registry, number) == before
    assert len(slack.taken) == 1


def test_an_approval_starts_one_rollout(registry: Registry, launches: Launches) -> None:
    """However often it is noticed."""
    number = asked(registry)
    reviewed.click(registry, number, " Approved ")

    outcomes = [review.decide(number, registry, launches).outcome for _ in range(3)]

    tags = reviewed.tags(registry, number)
    assert outcomes == ["approved", "unchanged", "unchanged"]
    assert launches.started == [(number, "review approved in MLflow")]
    assert tags[ReviewTag.DECISION] == "approved"
    assert "review: approved in MLflow" in dict(reviewed.version(registry, number).events).values()


def test_nothing_moves_before_a_decision(registry: Registry, launches: Launches) -> None:
    """A look at a pending review leaves it pending."""
    number = asked(registry)

    decision = review.decide(number, registry, launches)

    assert (decision.outcome, launches.started) == ("pending", [])


def test_a_rejection_is_recorded_and_told(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The version is out, with the reviewer's reason."""
    number = asked(registry)
    registry.tag(reviewed.version(registry, number), {ReviewTag.REASON: "misses <names> & dates"})
    reviewed.click(registry, number, "rejected")

    outcomes = [review.decide(number, registry, launches).outcome for _ in range(2)]

    assert outcomes == ["rejected", "unchanged"]
    assert reviewed.tags(registry, number)[Tag.STATUS] == "rejected"
    assert challenger(registry) is None
    assert slack.titles[1:] == [f":no_entry: {registry.name} version 1 was rejected in review"]
    assert "Reason: misses &lt;names&gt; &amp; dates" in slack.shown()
    assert launches.started == []


def test_a_rejected_version_is_refused_from_then_on(registry: Registry) -> None:
    """Neither asking again nor asking for none gets it past the reviewer, until the tag goes."""
    number = asked(registry)
    reviewed.click(registry, number, "rejected")

    with pytest.raises(Refused, match="version 1 was rejected in review"):
        ask(registry, number)
    with pytest.raises(Refused, match="remove its tag `review` in MLflow"):
        review.waive(number, registry)

    registry.client.delete_model_version_tag(registry.name, str(number), Tag.REVIEW)
    assert ask(registry, number) == "pending"


def test_an_approved_version_is_not_asked_about_again(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The same version and the same answer, also when the run is quicker than who notices."""
    number = asked(registry)
    reviewed.click(registry, number, "approved")

    answers = [ask(registry, number), ask(registry, number)]

    assert answers == ["approved", "approved"]
    # The run that asked goes on to roll out: nobody else may start one more.
    assert review.decide(number, registry, launches).outcome == "unchanged"
    assert (launches.started, len(slack.taken)) == ([], 1)


def test_a_version_that_was_rolled_back_needs_a_new_approval(
    registry: Registry, launches: Launches
) -> None:
    """The approval was given before it misbehaved."""
    number = asked(registry)
    reviewed.click(registry, number, "approved")
    review.decide(number, registry, launches)
    registry.tag(reviewed.version(registry, number), {Tag.STATUS: "rolled_back"})

    assert ask(registry, number) == "pending"
    assert review.decide(number, registry, launches).outcome == "pending"


def test_a_review_expires_and_is_told(registry: Registry, slack: Slack, launches: Launches) -> None:
    """Nobody decided within a week; the version can be asked about anew."""
    number = asked(registry)
    long_ago(registry, number)

    decision = review.decide(number, registry, launches)

    tags = reviewed.tags(registry, number)
    assert (decision.outcome, launches.started) == ("expired", [])
    assert (tags[Tag.STATUS], tags[Tag.REVIEW]) == ("expired", "expired")
    assert challenger(registry) is None
    assert "nobody decided within 168 hours" in slack.shown()
    assert ask(registry, number) == "pending"


def test_an_approval_that_was_noticed_late_counts(registry: Registry, launches: Launches) -> None:
    """The reviewer was in time; the service was down."""
    number = asked(registry)
    long_ago(registry, number)
    reviewed.click(registry, number, "approved")

    review.decide(number, registry, launches)

    assert launches.numbers == [number]


def test_a_newer_challenger_takes_the_place_of_one_that_waits(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The older review is over and told; approving it has no effect and says why."""
    old = asked(registry)
    new = asked(registry)

    reviewed.click(registry, old, "approved")
    late = [review.decide(old, registry, launches) for _ in range(2)]

    assert challenger(registry) == new
    assert reviewed.tags(registry, old)[Tag.STATUS] == "expired"
    assert [one.outcome for one in late] == ["ignored", "ignored"]
    assert [title.split()[0] for title in slack.titles] == [
        ":eyes:",
        ":hourglass:",
        ":eyes:",
        ":warning:",
    ]
    assert "run the pipeline again to have it asked anew" in slack.shown()
    assert launches.started == []


def test_losing_the_alias_ends_a_review_too(registry: Registry, launches: Launches) -> None:
    """A process that died while it asked about the newer one is made up for."""
    old = asked(registry)
    new = reviewed.register(registry)
    registry.point(CHALLENGER, reviewed.version(registry, new), "by a process that died")
    reviewed.click(registry, old, "approved")

    decision = review.decide(old, registry, launches)

    assert (decision.outcome, decision.reason) == ("expired", "version 2 took its place")
    assert (challenger(registry), launches.started) == (new, [])


@pytest.mark.parametrize(
    ("tags", "why"),
    [
        ({Tag.STATUS: "refused", Tag.GATE: "refused"}, "the gate refused version 1"),
        ({}, "version 1 is not under review"),
    ],
    ids=["refused", "never asked"],
)
def test_approving_what_was_not_asked_about_is_told_once(
    registry: Registry,
    slack: Slack,
    launches: Launches,
    tags: dict[str, str],
    why: str,
) -> None:
    """It has no effect, and the reviewer hears why."""
    number = reviewed.register(registry, **tags)
    reviewed.click(registry, number, "approved")

    decisions = [review.decide(number, registry, launches) for _ in range(2)]

    assert {one.outcome for one in decisions} == {"ignored"}
    assert decisions[0].reason.startswith(why)
    assert slack.titles == [f":warning: The review tag of {registry.name} version 1 has no effect"]
    assert why in slack.shown()
    assert launches.started == []


def test_a_version_that_the_gate_refused_meanwhile_cannot_be_approved(
    registry: Registry, launches: Launches
) -> None:
    """It was measured again while it waited."""
    number = asked(registry)
    registry.tag(reviewed.version(registry, number), {Tag.GATE: "refused"})
    reviewed.click(registry, number, "approved")

    decision = review.decide(number, registry, launches)

    assert (decision.outcome, launches.started) == ("ignored", [])


def test_a_misspelt_word_is_told_and_can_be_corrected(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The review stays open."""
    number = asked(registry)
    reviewed.click(registry, number, "aproved")
    misspelt = review.decide(number, registry, launches)
    reviewed.click(registry, number, "approved")

    corrected = review.decide(number, registry, launches)

    assert (misspelt.outcome, corrected.outcome) == ("ignored", "approved")
    assert "`review` must be approved or rejected; it is 'aproved'" in slack.shown()


def test_changing_ones_mind_after_the_rollout_began_is_told(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """A tag takes nothing back; the message names what does."""
    number = asked(registry)
    reviewed.click(registry, number, "approved")
    review.decide(number, registry, launches)
    reviewed.click(registry, number, "rejected")

    decision = review.decide(number, registry, launches)

    assert decision.outcome == "ignored"
    assert "`python -m pipeline rollback`" in slack.shown()


@pytest.mark.parametrize("error", [RolloutBusy("version 1 is under way"), Unavailable("no answer")])
def test_a_rollout_that_cannot_start_is_started_later(
    registry: Registry, launches: Launches, error: PipelineError
) -> None:
    """Nothing is recorded before it has started."""
    number = asked(registry)
    reviewed.click(registry, number, "approved")
    launches.error = error

    with pytest.raises(type(error)):
        review.decide(number, registry, launches)
    launches.error = None

    assert review.decide(number, registry, launches).outcome == "approved"


def test_a_message_that_slack_did_not_take_is_told_at_the_next_look(
    registry: Registry, slack: Slack, settings: Settings, launches: Launches
) -> None:
    """Slack was down when the review was rejected."""
    number = asked(registry)
    reviewed.click(registry, number, "rejected")
    slack.troubles = [Trouble(500)]

    outcomes = [poll.poll_once(settings, launches) for _ in range(3)]

    assert [[one.outcome for one in looked] for looked in outcomes] == [
        ["rejected"],
        ["unchanged"],
        [],
    ]
    assert len(slack.taken) == 2


def test_the_command_line_decides_as_the_page_does(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """And it knows who; deciding twice says the same."""
    first = asked(registry)
    lines = [review.approve(first, "ada", settings, launches) for _ in range(2)]
    second = asked(registry)
    lines.append(review.reject(second, "ada", "too slow", settings, launches))

    assert lines == ["version 1 is approved", "version 1 is approved", "version 2 is rejected"]
    assert launches.started == [(first, "review approved by ada")]
    history = dict(reviewed.version(registry, second).events).values()
    assert "review: rejected by ada: too slow" in history


def test_the_command_line_refuses_what_has_no_effect(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """With an error, so that scripts notice, and without leaving a tag."""
    number = reviewed.register(registry)

    with pytest.raises(Refused, match="version 1 is not under review"):
        review.approve(number, "ada", settings, launches)
    with pytest.raises(PipelineError, match="has no version 99"):
        review.reject(99, "ada", "", settings, launches)

    assert Tag.REVIEW not in reviewed.tags(registry, number)


def test_many_who_notice_at_once_start_one_rollout(registry: Registry) -> None:
    """Threads of one process, as the service and its polling are."""
    launches = Launches(seconds=0.2)
    number = asked(registry)
    reviewed.click(registry, number, "approved")
    gate = threading.Barrier(4)

    def notice() -> None:
        gate.wait()
        review.decide(number, registry, launches)

    threads = [threading.Thread(target=notice) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert launches.numbers == [number]


NOTICE = """
import sys, time
from pathlib import Path
from pipeline.review import poll
from pipeline.settings import Settings

def launch(number, settings, reason):
    time.sleep(0.3)
    with Path(sys.argv[2]).open("a") as file:
        file.write(f"{number}\\n")

poll.poll_once(Settings.model_validate_json(sys.argv[1]), launch)
"""


def test_processes_that_notice_at_once_start_one_rollout(
    registry: Registry, settings: Settings
) -> None:
    """The service in one process, polling in another."""
    number = asked(registry)
    reviewed.click(registry, number, "approved")
    started = settings.home / "started"
    command = [sys.executable, "-c", NOTICE, settings.model_dump_json(), str(started)]
    env = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

    processes = [subprocess.Popen(command, env=env) for _ in range(2)]

    assert [one.wait(60) for one in processes] == [0, 0]
    assert started.read_text() == f"{number}\n"
