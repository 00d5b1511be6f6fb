"""What a look at a review makes of the reviewer's word, on a real MLflow server."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import reviewed
from reviewed import Launches
from slack_server import Slack, Trouble

from pipeline import review
from pipeline.errors import PipelineError, RolloutBusy, Unavailable
from pipeline.registry import Registry, Tag
from pipeline.review import poll
from pipeline.review.tags import ReviewTag
from pipeline.settings import Settings

pytestmark = pytest.mark.server


def long_ago(registry: Registry, number: int) -> None:
    """Let its question be two weeks old."""
    registry.tag(reviewed.version(registry, number), {Tag.REVIEW_ASKED_AT: ago(days=14)})


def ago(**span: float) -> str:
    """A time in the past, as a tag has it."""
    return (datetime.now(timezone.utc) - timedelta(**span)).isoformat()


def test_an_approval_starts_one_rollout(registry: Registry, launches: Launches) -> None:
    """However often it is noticed."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, " Approved ")

    outcomes = [review.decide(number, registry, launches).outcome for _ in range(3)]

    tags = reviewed.tags(registry, number)
    assert outcomes == ["approved", "unchanged", "unchanged"]
    assert launches.started == [(number, "review approved in MLflow")]
    assert tags[ReviewTag.DECISION] == "approved"
    assert "review: approved in MLflow" in dict(reviewed.version(registry, number).events).values()


def test_nothing_moves_before_a_decision(registry: Registry, launches: Launches) -> None:
    """A look at a pending review leaves it pending."""
    number = reviewed.asked(registry)

    decision = review.decide(number, registry, launches)

    assert (decision.outcome, launches.started) == ("pending", [])


def test_a_rejection_is_recorded_and_told(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The version is out, with the reviewer's reason."""
    number = reviewed.asked(registry)
    registry.tag(reviewed.version(registry, number), {ReviewTag.REASON: "misses <names> & dates"})
    reviewed.click(registry, number, "rejected")

    outcomes = [review.decide(number, registry, launches).outcome for _ in range(2)]

    assert outcomes == ["rejected", "unchanged"]
    assert reviewed.tags(registry, number)[Tag.STATUS] == "rejected"
    assert reviewed.challenger(registry) is None
    assert slack.titles[1:] == [f":no_entry: {registry.name} version 1 was rejected in review"]
    assert "Reason: misses &lt;names&gt; &amp; dates" in slack.shown()
    assert launches.started == []


def test_a_review_expires_and_is_told(registry: Registry, slack: Slack, launches: Launches) -> None:
    """Nobody decided within a week; the version can be asked about anew."""
    number = reviewed.asked(registry)
    long_ago(registry, number)

    decision = review.decide(number, registry, launches)

    tags = reviewed.tags(registry, number)
    assert (decision.outcome, launches.started) == ("expired", [])
    assert (tags[Tag.STATUS], tags[Tag.REVIEW]) == ("expired", "expired")
    assert reviewed.challenger(registry) is None
    assert "nobody decided within 168 hours" in slack.shown()
    assert reviewed.ask(registry, number) == "pending"


def test_an_approval_that_was_noticed_late_counts(registry: Registry, launches: Launches) -> None:
    """The reviewer was in time; the service was down."""
    number = reviewed.asked(registry)
    long_ago(registry, number)
    reviewed.click(registry, number, "approved")

    review.decide(number, registry, launches)

    assert launches.numbers == [number]


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
    number = reviewed.asked(registry)
    registry.tag(reviewed.version(registry, number), {Tag.GATE: "refused"})
    reviewed.click(registry, number, "approved")

    decision = review.decide(number, registry, launches)

    assert (decision.outcome, launches.started) == ("ignored", [])


def test_a_misspelt_word_is_told_and_can_be_corrected(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The review stays open."""
    number = reviewed.asked(registry)
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
    number = reviewed.asked(registry)
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
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")
    launches.error = error

    with pytest.raises(type(error)):
        review.decide(number, registry, launches)
    launches.error = None

    assert review.decide(number, registry, launches).outcome == "approved"


@pytest.mark.parametrize(
    ("decided", "launched", "tags", "again"),
    [
        (11, 11, {}, True),
        (11, None, {}, True),  # the run that asked noticed the approval, and failed
        (5, 5, {}, False),
        (60, 20, {}, False),
        (60, 31, {}, True),
        (25 * 60, 24 * 60, {}, False),
        (11, 11, {Tag.ROLLOUT: "running"}, False),
        (11, 11, {Tag.STATUS: "champion"}, False),
        (11, 11, {Tag.STATUS: "rolled_back"}, False),
        (11, 11, {Tag.GATE: "refused"}, False),
    ],
    ids=[
        *("failed", "failed in its run", "may begin yet", "less often", "after a longer pause"),
        *("not for ever", "under way", "serves", "rolled back", "refused since"),
    ],
)
def test_a_rollout_that_failed_after_its_start_is_started_again(
    registry: Registry,
    settings: Settings,
    launches: Launches,
    decided: float,
    launched: float | None,
    tags: dict[str, str],
    again: bool,
) -> None:
    """Another one was under way, or a server was down: polling finds it, once for each pause."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")
    review.decide(number, registry, launches)
    since = "" if launched is None else ago(minutes=launched)
    times = {ReviewTag.DECIDED_AT: ago(minutes=decided), ReviewTag.LAUNCHED_AT: since}
    registry.tag(reviewed.version(registry, number), {**times, **tags})

    for _ in range(2):
        poll.poll_once(settings, launches)

    assert launches.numbers == [number] * (2 if again else 1)


def test_a_message_that_slack_did_not_take_is_told_at_the_next_look(
    registry: Registry, slack: Slack, settings: Settings, launches: Launches
) -> None:
    """Slack was down when the review was rejected."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "rejected")
    slack.troubles = [Trouble(500)]

    outcomes = [poll.poll_once(settings, launches) for _ in range(3)]

    assert [[one.outcome for one in looked] for looked in outcomes] == [
        ["rejected"],
        ["unchanged"],
        [],
    ]
    assert len(slack.taken) == 2
