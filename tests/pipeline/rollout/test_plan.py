"""What a plan accepts, and what it makes of a reading."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import SettingsError
from pipeline.rollout.evidence import Reading, Sample
from pipeline.rollout.plan import Plan


@pytest.mark.parametrize("steps", ["10,50,100", "[10, 50, 100]", [10, 50, 100], ["10", 50, 100]])
def test_steps_as_people_give_them(steps: Any) -> None:
    """Kubeflow hands over a list, a shell a text."""
    assert Plan.parse(steps=steps).steps == (10, 50, 100)


def test_what_is_not_given_keeps_its_default() -> None:
    """None is nothing given."""
    assert Plan.parse(steps=None, strategy=None) == Plan()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "10,50"}, "rollout steps: must end at 100, such as 10, 50, 100; got 10, 50"),
        ({"steps": []}, "rollout steps: must end at 100, such as 10, 50, 100; got nothing"),
        (
            {"steps": "50,10,100"},
            "rollout steps: must rise from above 0, such as 10, 50, 100; got 50, 10, 100",
        ),
        (
            {"steps": "0,100"},
            "rollout steps: must rise from above 0, such as 10, 50, 100; got 0, 100",
        ),
        ({"steps": "ten"}, "rollout steps: Input should be a valid integer"),
        (
            {"strategy": "big-bang"},
            "rollout strategy: Input should be 'canary' or 'blue_green', got \"big-bang\"",
        ),
        (
            {"min_requests": 0},
            "rollout min_requests: Input should be greater than or equal to 1, got 0",
        ),
        (
            {"hold_seconds": 60, "max_seconds": 60},
            "rollout plan: max_seconds (60) must be more than hold_seconds (60), "
            "or no step can pass",
        ),
        ({"hold": 1}, "rollout hold: Extra inputs are not permitted, got 1"),
    ],
)
def test_mistakes_are_named(values: dict[str, Any], message: str) -> None:
    """The message names the field, the value and what would be right."""
    with pytest.raises(SettingsError) as caught:
        Plan.parse(**values)

    assert str(caught.value).startswith(message)


def test_shares_of_each_strategy() -> None:
    """Blue/green is judged without traffic, and then has all of it."""
    assert Plan().shares == (10, 50, 100)
    assert Plan(strategy="blue_green").shares == (0, 100)


@pytest.mark.parametrize(
    ("requests", "errors", "fails"),
    [(10, 0, False), (10, 1, False), (10, 2, True), (150, 2, True), (200, 2, False)],
)
def test_errors_are_held_against_the_whole_step(requests: int, errors: int, fails: bool) -> None:
    """With one in a hundred allowed, early errors count against the hundred that are asked for."""
    plan = Plan(min_requests=100, max_error_rate=0.01)
    reading = Reading(Sample(requests, errors, detail="HTTP 500"), Sample(100))

    assert bool(plan.errors(reading)) is fails


def test_errors_are_told_with_numbers() -> None:
    """The reason has all that a reviewer asks for."""
    reading = Reading(Sample(50, 3, detail="HTTP 500"), Sample(200, 1))

    assert Plan().errors(reading) == (
        "3 of 50 requests failed (HTTP 500), allowed are 1.0%; the champion fails 0.5%"
    )


@pytest.mark.parametrize(
    ("candidate", "champion", "fails"),
    [
        (160.0, 100.0, True),
        (150.0, 100.0, False),
        (99.0, 10.0, False),  # below the floor
        (None, 100.0, False),
        (160.0, None, False),
    ],
)
def test_latency_against_the_champion(
    candidate: float | None, champion: float | None, fails: bool
) -> None:
    """Slower than the ratio allows fails, unless it is quick anyway or nothing is known."""
    plan = Plan(max_latency_ratio=1.5, latency_floor_ms=100)
    reading = Reading(Sample(50, p95_ms=candidate), Sample(50, p95_ms=champion))

    assert bool(plan.latency(reading)) is fails
    assert plan.latency(Reading(reading.candidate, None)) == ""
