"""Probes against a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import rollouts
from rollouts import Manner, World

from pipeline.errors import RolloutFailed
from pipeline.rollout import Route
from pipeline.rollout.probes import ProbeEvidence, Prober, quantile

OLD, NEW = "a" * 64, "b" * 64
TEXT = {"text": "Nobody was.", "labels": ["person"]}


@pytest.fixture
def world() -> Iterator[World]:
    """A champion and a candidate that serve."""
    with rollouts.running(World(stable=OLD, canary=NEW, percent=10)) as started:
        yield started


@pytest.fixture
def prober(world: World) -> Iterator[Prober]:
    """Sends to both of them."""
    prober = Prober([TEXT], NEW, OLD, timeout_seconds=0.5)
    prober.begin(Route(f"{world.url}/candidate"), Route(f"{world.url}/stable"))
    yield prober
    prober.close()


def test_both_get_the_same_number(prober: Prober, world: World) -> None:
    """Each has answered as often as was asked, and was measured."""
    reading = ProbeEvidence(prober).read(5)

    assert (reading.candidate.requests, reading.candidate.errors) == (5, 0)
    assert reading.champion is not None
    assert reading.champion.requests == 5
    assert reading.candidate.p95_ms is not None
    assert (world.manner(NEW).asked, world.manner(OLD).asked) == (5, 5)


@pytest.mark.parametrize(
    ("manner", "detail"),
    [
        (Manner(status=lambda n: 500), "HTTP 500"),
        (Manner(status=lambda n: 404), "HTTP 404"),
        (Manner(seconds=1), "ReadTimeout"),
    ],
    ids=["500", "404", "timeout"],
)
def test_what_counts_as_an_error(manner: Manner, detail: str, prober: Prober, world: World) -> None:
    """A probe is a good request: whatever is not its answer is an error, and has no latency."""
    world.manners[NEW] = manner

    prober.send(2)

    sample = prober.candidate.sample()
    assert (sample.requests, sample.errors, sample.detail) == (2, 2, detail)
    assert sample.p95_ms is None


def test_no_connection_is_an_error(prober: Prober) -> None:
    """A candidate that is gone fails its requests."""
    prober.begin(Route("http://127.0.0.1:9"), None)

    prober.send(1)

    assert prober.candidate.sample().errors == 1
    assert prober.candidate.unseen() == 1


def test_too_much_load_is_nobodys_error(prober: Prober, world: World) -> None:
    """On 429 the probes back off; what was throttled counts neither as request nor as error."""
    world.manners[NEW] = Manner(status=lambda n: 429)

    prober.send(50)

    sample = prober.candidate.sample()
    assert (sample.requests, sample.errors) == (0, 0)
    assert 0 < sample.throttled < 50


def test_another_version_on_the_route(prober: Prober, world: World) -> None:
    """Numbers of another version would prove nothing."""
    world.manners[NEW] = Manner(named="c" * 64)

    with pytest.raises(RolloutFailed, match="the route led to cccccccccccc, not to bbbbbbbbbbbb"):
        prober.send(1)


def test_a_step_counts_the_candidate_anew(prober: Prober, world: World) -> None:
    """The champion's numbers go on: at 100 % it may be out of reach."""
    prober.send(3)

    prober.begin(Route(f"{world.url}/candidate"), None)
    prober.send(2)

    assert prober.candidate.sample().requests == 2
    assert prober.champion is not None
    assert prober.champion.sample().requests == 3


def test_quantile() -> None:
    """The smallest value that is not exceeded by the share."""
    assert quantile([5.0, 1.0, 4.0, 2.0, 3.0], 0.5) == 3.0
    assert quantile([1.0], 0.95) == 1.0
    assert quantile(list(map(float, range(1, 101))), 0.95) == 95.0
