"""A review from the question to the rollout that it starts, on a real MLflow server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import reviewed
from reviewed import Launches
from slack_server import Slack

from pipeline import review
from pipeline.errors import PipelineError, Refused
from pipeline.registry import CHALLENGER, CHAMPION, Registry, Tag
from pipeline.review import answers
from pipeline.review.tags import ReviewTag
from pipeline.settings import Settings

pytestmark = pytest.mark.server


def test_asking_makes_a_challenger_and_tells_how_to_decide(
    registry: Registry, slack: Slack
) -> None:
    """The version waits, and the message links to where it is approved."""
    number = reviewed.register(registry, f1=0.81, precision=0.9, recall=0.7)

    answer = reviewed.ask(registry, number)

    tags = reviewed.tags(registry, number)
    assert answer == "pending"
    assert (tags[Tag.STATUS], tags[Tag.REVIEW]) == ("challenger", "pending")
    assert reviewed.challenger(registry) == number
    assert slack.titles == [f":eyes: {registry.name} version 1 waits for your review"]
    assert f"<{registry.version_url(number)}|Version>" in slack.shown()
    assert "set `review` to `approved` or `rejected`" in slack.shown()
    assert "0.810" in slack.shown()


def test_asking_again_changes_and_tells_nothing(registry: Registry, slack: Slack) -> None:
    """A step that is tried again leaves the clock and the reader alone."""
    number = reviewed.asked(registry)
    before = reviewed.tags(registry, number)

    answer = reviewed.ask(registry, number)

    assert answer == "pending"
    assert reviewed.tags(registry, number) == before
    assert len(slack.taken) == 1


def test_a_rejected_version_is_refused_from_then_on(registry: Registry) -> None:
    """Neither asking again nor asking for none gets it past the reviewer, until the tag goes."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "rejected")

    with pytest.raises(Refused, match="version 1 was rejected in review"):
        reviewed.ask(registry, number)
    with pytest.raises(Refused, match="remove its tag `review` in MLflow"):
        review.waive(number, registry)

    registry.client.delete_model_version_tag(registry.name, str(number), Tag.REVIEW)
    assert reviewed.ask(registry, number) == "pending"


def test_an_approved_version_is_not_asked_about_again(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The same version and the same answer, also when the run is quicker than who notices."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")

    answers = [reviewed.ask(registry, number), reviewed.ask(registry, number)]

    assert answers == ["approved", "approved"]
    # The run that asked goes on to roll out: nobody else may start one more.
    assert review.decide(number, registry, launches).outcome == "unchanged"
    assert (launches.started, len(slack.taken)) == ([], 1)


def test_a_version_that_was_rolled_back_needs_a_new_approval(
    registry: Registry, launches: Launches
) -> None:
    """The approval was given before it misbehaved."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")
    review.decide(number, registry, launches)
    registry.tag(reviewed.version(registry, number), {Tag.STATUS: "rolled_back"})

    assert reviewed.ask(registry, number) == "pending"
    assert review.decide(number, registry, launches).outcome == "pending"


@pytest.mark.parametrize("decided", ["approved", "not_required"])
def test_what_a_person_rolled_back_stays_so_until_it_is_approved(
    registry: Registry, settings: Settings, launches: Launches, decided: str
) -> None:
    """Not even a run without reviews brings it back, whatever its gate said meanwhile."""
    number = taken_back(registry, decided)

    for status in ("rolled_back", "refused", "candidate"):
        registry.tag(reviewed.version(registry, number), {Tag.STATUS: status})
        with pytest.raises(Refused, match=r"rolled back by ada \(slow\) .* approve 1` brings it"):
            review.waive(number, registry)
    line = answers.approve(number, "bob", settings, launches)

    review.waive(number, registry)
    assert (line, launches.numbers) == ("version 1 is approved", [number])
    assert reviewed.challenger(registry) == number
    assert reviewed.ask(registry, number) == "approved"


def test_what_serves_is_not_held(registry: Registry) -> None:
    """A rollback that was killed before it began has changed nothing."""
    number = taken_back(registry, "not_required")
    registry.point(CHAMPION, reviewed.version(registry, number), "still")

    review.waive(number, registry)
    registry.tag(reviewed.version(registry, number), {Tag.ROLLOUT: "rolling_back"})
    with pytest.raises(Refused, match="rolled back by ada"):
        review.waive(number, registry)


def test_what_a_person_rolled_back_can_be_asked_about(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """A review that nobody decides leaves it where it is; one that was asked can be approved."""
    number = taken_back(registry, "not_required")
    assert reviewed.ask(registry, number) == "pending"
    reviewed.click(registry, number, "expired")
    expired = review.decide(number, registry, launches)

    with pytest.raises(Refused, match="rolled back by ada"):
        review.waive(number, registry)
    assert reviewed.ask(registry, number) == "pending"
    reviewed.click(registry, number, "approved")
    approved = review.decide(number, registry, launches)

    assert (expired.outcome, approved.outcome) == ("expired", "approved")
    assert launches.numbers == [number]
    review.waive(number, registry)


def test_approving_brings_nothing_back_that_was_refused(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """The gate's word and a reviewer's are about more than the rollback, and no tag is left."""
    number = taken_back(registry, "not_required")
    registry.tag(reviewed.version(registry, number), {Tag.GATE: "refused"})
    before = reviewed.tags(registry, number)

    with pytest.raises(Refused, match="the gate refused version 1"):
        answers.approve(number, "bob", settings, launches)
    with pytest.raises(Refused, match="the gate refused version 1"):
        answers.reject(number, "bob", "", settings, launches)

    assert (reviewed.tags(registry, number), launches.started) == (before, [])


def test_a_tag_for_what_a_person_rolled_back_names_the_command(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """Nobody was asked: the tag alone has no effect, and the reviewer hears what has."""
    number = taken_back(registry, "not_required")
    reviewed.click(registry, number, "approved")

    decision = review.decide(number, registry, launches)

    assert (decision.outcome, launches.started) == ("ignored", [])
    assert "`python -m pipeline approve 1` brings it back" in slack.shown()


def taken_back(registry: Registry, decided: str) -> int:
    """A version that was rolled out after this decision, and that a person rolled back."""
    tags = {
        Tag.STATUS: "rolled_back",
        Tag.ROLLED_BACK_BY: "ada",
        Tag.ROLLOUT_REASON: "slow",
        Tag.REVIEW: decided,
        ReviewTag.DECISION: decided,
    }
    return reviewed.register(registry, **tags)


def test_a_newer_challenger_takes_the_place_of_one_that_waits(
    registry: Registry, slack: Slack, launches: Launches
) -> None:
    """The older review is over and told; approving it has no effect and says why."""
    old = reviewed.asked(registry)
    new = reviewed.asked(registry)

    reviewed.click(registry, old, "approved")
    late = [review.decide(old, registry, launches) for _ in range(2)]

    assert reviewed.challenger(registry) == new
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
    old = reviewed.asked(registry)
    new = reviewed.register(registry)
    registry.point(CHALLENGER, reviewed.version(registry, new), "by a process that died")
    reviewed.click(registry, old, "approved")

    decision = review.decide(old, registry, launches)

    assert (decision.outcome, decision.reason) == ("expired", "version 2 took its place")
    assert (reviewed.challenger(registry), launches.started) == (new, [])


def test_the_command_line_decides_as_the_page_does(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """And it knows who; deciding twice says the same, and asks for the rollout again, which
    starts none where one runs or has ended well."""
    first = reviewed.asked(registry)
    lines = [answers.approve(first, "ada", settings, launches) for _ in range(2)]
    second = reviewed.asked(registry)
    lines.append(answers.reject(second, "ada", "too slow", settings, launches))

    assert lines == ["version 1 is approved", "version 1 is approved", "version 2 is rejected"]
    assert launches.started == [
        (first, "review approved by ada"),
        (first, "approved by ada before"),
    ]
    history = dict(reviewed.version(registry, second).events).values()
    assert "review: rejected by ada: too slow" in history


def test_approving_again_starts_a_rollout_that_failed(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """Until the version serves, was taken back, or lost its place: then the line says so."""
    number = reviewed.asked(registry)
    answers.approve(number, "ada", settings, launches)

    answers.approve(number, "ada", settings, launches)
    failed = len(launches.started)
    registry.tag(reviewed.version(registry, number), {Tag.STATUS: "champion"})
    served = answers.approve(number, "ada", settings, launches)
    registry.tag(reviewed.version(registry, number), {Tag.STATUS: "rolled_back"})
    with pytest.raises(Refused, match="version 1 was approved and rolled back since"):
        answers.approve(number, "ada", settings, launches)
    registry.tag(reviewed.version(registry, number), {Tag.STATUS: "challenger"})
    reviewed.asked(registry)
    with pytest.raises(Refused, match="not the challenger any more: version 2 took its place"):
        answers.approve(number, "ada", settings, launches)

    assert (failed, served) == (2, "version 1 is approved")
    assert len(launches.started) == failed


def test_the_command_line_refuses_what_has_no_effect(
    registry: Registry, settings: Settings, launches: Launches
) -> None:
    """With an error, so that scripts notice, and without leaving a tag."""
    number = reviewed.register(registry)

    with pytest.raises(Refused, match="version 1 is not under review"):
        answers.approve(number, "ada", settings, launches)
    with pytest.raises(PipelineError, match="has no version 99"):
        answers.reject(99, "ada", "", settings, launches)

    assert Tag.REVIEW not in reviewed.tags(registry, number)


def test_many_who_notice_at_once_start_one_rollout(registry: Registry) -> None:
    """Threads of one process, as the service and its polling are."""
    launches = Launches(seconds=0.2)
    number = reviewed.asked(registry)
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
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    """The service in one process and folder, polling in another."""
    number = reviewed.asked(registry)
    reviewed.click(registry, number, "approved")
    started = tmp_path / "started"
    homes = [settings.model_copy(update={"home": tmp_path / name}) for name in ("one", "two")]
    env = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", NOTICE, home.model_dump_json(), str(started)], env=env
        )
        for home in homes
    ]

    assert [one.wait(60) for one in processes] == [0, 0]
    assert started.read_text() == f"{number}\n"
