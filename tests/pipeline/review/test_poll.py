"""Polling, where MLflow's webhooks do not reach us."""

from __future__ import annotations

import threading

import pytest
import reviewed
from reviewed import Launches

from pipeline.errors import RolloutBusy, Unavailable
from pipeline.local.process import free_port
from pipeline.registry import Registry
from pipeline.review import poll
from pipeline.settings import Settings

pytestmark = pytest.mark.server


def asked(registry: Registry, word: str) -> int:
    number = reviewed.asked(registry)
    reviewed.click(registry, number, word)
    return number


def test_a_look_acts_on_what_was_decided_and_no_more(
    settings: Settings, registry: Registry
) -> None:
    """Versions without a review, or with one that is over, cost nothing."""
    launches = Launches()
    reviewed.register(registry)
    number = asked(registry, "approved")

    looks = [poll.poll_once(settings, launches) for _ in range(2)]

    assert [[(one.version, one.outcome) for one in look] for look in looks] == [
        [(number, "approved")],
        [],
    ]
    assert launches.numbers == [number]


def test_one_that_cannot_be_acted_on_does_not_stop_the_others(
    settings: Settings, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said, and left for the next look."""
    launches = Launches()
    launches.error = RolloutBusy("version 9 is being rolled out")
    odd = reviewed.register(registry)
    reviewed.click(registry, odd, "approved")
    second = asked(registry, "approved")

    decisions = poll.poll_once(settings, launches)

    assert [(one.version, one.outcome) for one in decisions] == [(odd, "ignored")]
    assert launches.tries == 1
    assert (
        f"version {second}: its review waits for the next look: version 9 is being rolled out\n"
        in capsys.readouterr().out
    )


def test_polling_goes_on_until_it_is_stopped(settings: Settings, registry: Registry) -> None:
    """A decision between two looks is acted on at the next."""
    launches, stop = Launches(), threading.Event()
    thread = threading.Thread(target=poll.poll, args=(settings, 0.1, launches, stop))
    thread.start()
    try:
        asked(registry, "approved")
        started = reviewed.eventually(lambda: launches.started)
    finally:
        stop.set()
        thread.join(20)

    assert started
    assert len(launches.started) == 1


def test_polling_waits_for_an_mlflow_that_is_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One look fails; polling says so and goes on."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = settings.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port()}"})
    stop = threading.Event()

    with pytest.raises(Unavailable):
        poll.poll_once(down, Launches())
    thread = threading.Thread(target=poll.poll, args=(down, 0.05, Launches(), stop))
    thread.start()
    said = ""

    def twice() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return said.count("no look at reviews this time: MLflow at") >= 2

    waited = reviewed.eventually(twice)
    stop.set()
    thread.join(20)
    assert waited
