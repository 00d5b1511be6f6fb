"""Readings from a real Prometheus that scrapes exporters with the predictor's metrics."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pytest
import rollouts
from prometheus_client import CollectorRegistry, Counter, Histogram, Info, start_http_server
from rollouts import Backend, Manner, World

from pipeline.errors import PipelineError, Unavailable
from pipeline.local.process import Process, answers, free_port, running
from pipeline.registry import Registry
from pipeline.rollout import Route, controller
from pipeline.rollout.evidence import Sample
from pipeline.rollout.plan import Plan
from pipeline.rollout.probes import Prober
from pipeline.rollout.prometheus import Counted, Prometheus, PrometheusEvidence
from pipeline.settings import Settings

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed"),
]

OLD, NEW = "a" * 64, "b" * 64


class Exporter:
    """A predictor's metrics without a predictor."""

    def __init__(self, digest: str, port: int = 0) -> None:
        registry = CollectorRegistry()
        self.info = Info("gliner_model", "what serves", registry=registry)
        self.info.info({"digest": digest})
        labels = ["endpoint", "protocol"]
        self._requests = Counter("gliner_requests", "n", [*labels, "status"], registry=registry)
        self._seconds = Histogram(
            "gliner_request_seconds", "s", labels, buckets=(0.05, 0.1, 0.25, 1), registry=registry
        )
        self._server: WSGIServer
        self._server, self._thread = start_http_server(port, "127.0.0.1", registry)
        self.port = self._server.server_port

    def answer(self, count: int, status: str = "200", seconds: float = 0.02) -> None:
        """Count some answers."""
        for _ in range(count):
            self._requests.labels("predict", "v1", status).inc()
            self._seconds.labels("predict", "v1").observe(seconds)

    def look_up(self, count: int) -> None:
        """Count answers that no model gave."""
        self._requests.labels("metrics", "ops", "500").inc(count)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Path]]:
    """A Prometheus that scrapes each second what a file lists."""
    folder = tmp_path_factory.mktemp("prometheus")
    targets = folder / "targets.json"
    targets.write_text("[]")
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "predictors",
                        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
                    }
                ],
            }
        )
    )
    port = free_port()
    process = Process(
        "Prometheus",
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ],
        folder / "prometheus.log",
    )
    process.url = f"http://127.0.0.1:{port}"
    with running(process, answers(f"{process.url}/-/ready")):
        client = Prometheus(process.url, timeout_seconds=10, retries=0)
        yield client, targets
        client.close()


Scraped = Callable[..., Prometheus]


@pytest.fixture
def scraped(server: tuple[Prometheus, Path]) -> Scraped:
    """Has exporters scraped, and returns once they were."""
    client, targets = server

    def scrape(*exporters: Exporter) -> Prometheus:
        hosts = [f"127.0.0.1:{one.port}" for one in exporters]
        targets.write_text(json.dumps([{"targets": hosts}]))
        until(
            lambda: set(hosts) <= {one["instance"] for one, _ in client.query("gliner_model_info")}
        )
        return client

    return scrape


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "Prometheus does not come to it"
        time.sleep(0.2)


def settled(counted: Counted, requests: int) -> Sample:
    """What is counted once Prometheus has seen as many requests."""
    until(lambda: counted.sample().requests >= requests)
    return counted.sample()


def test_real_traffic_by_digest(scraped: Scraped) -> None:
    """Each version's requests count for it alone, from the moment on that was asked about."""
    old, new, more = Exporter(OLD), Exporter(NEW), Exporter(NEW)
    new.answer(7, "500", 0.9)
    client = scraped(old, new, more)
    until(lambda: Counted(client, NEW)._requests != {})
    counted, other = Counted(client, NEW), Counted(client, OLD)
    nothing = counted.sample()

    old.answer(40, seconds=0.2)
    new.answer(18, seconds=0.07)
    more.answer(20, seconds=0.07)
    new.answer(2, "503", 0.07)  # a status that was never seen before
    new.answer(5, "400", 0.07)
    new.answer(3, "429", 0.07)
    new.look_up(9)

    found = settled(counted, 40)
    assert nothing == Sample()
    assert (found.requests, found.errors, found.throttled) == (40, 2, 3)
    assert found.detail == "HTTP 503"
    assert found.p95_ms is not None
    assert 50 < found.p95_ms <= 100
    reference = settled(other, 40)
    assert (reference.requests, reference.errors) == (40, 0)
    assert reference.p95_ms is not None
    assert 100 < reference.p95_ms <= 250
    for one in (old, new, more):
        one.stop()


def test_a_new_instance_counts_from_zero(scraped: Scraped) -> None:
    """A pod that starts within the step has all its requests counted, also those before the
    first scrape; and one that has gone keeps them."""
    client = scraped(Exporter(OLD))
    counted = Counted(client, NEW)
    pod = Exporter(NEW)
    pod.answer(6)
    pod.answer(1, "500")

    scraped(pod)
    before = settled(counted, 7)
    scraped(Exporter(OLD))
    until(lambda: not client.query(f'gliner_model_info{{digest="{NEW}"}}'))

    assert (before.requests, before.errors) == (7, 1)
    assert counted.sample() == before
    pod.stop()


def test_a_restarted_instance_loses_nothing_new(scraped: Scraped) -> None:
    """A counter that went down began anew."""
    pod = Exporter(NEW)
    pod.answer(50)
    client = scraped(pod)
    counted = Counted(client, NEW)
    until(lambda: bool(Counted(client, NEW)._requests))
    counted.begin()
    pod.stop()

    again = Exporter(NEW, pod.port)
    again.answer(4)

    assert settled(counted, 4).requests == 4
    again.stop()


def test_too_little_traffic_is_topped_up(scraped: Scraped) -> None:
    """Probes fill the gap once, come back through Prometheus, and those that no predictor saw
    count as well."""
    old, new = Exporter(OLD), Exporter(NEW)
    client = scraped(old, new)
    with rollouts.running(World(stable=OLD, canary=NEW)) as world:
        prober = Prober([{"text": "", "labels": []}], NEW, OLD, 5)
        evidence = PrometheusEvidence(client, NEW, OLD, prober)
        evidence.begin(Route(f"{world.url}/candidate"), Route(f"{world.url}/stable"))

        evidence.read(0)
        untouched = world.manner(NEW).asked
        evidence.read(6)
        evidence.read(6)  # the scrape has not seen them yet
        sent = world.manner(NEW).asked
        new.answer(6)  # as the predictor would count them
        until(lambda: evidence.read(0).candidate.requests == 6)
        world.manners[NEW] = Manner(status=lambda n: 503, named="")  # an ingress without a pod
        evidence.read(8)

        reading = evidence.read(0)
        assert (untouched, sent) == (0, 6)
        assert (reading.candidate.requests, reading.candidate.errors) == (8, 2)
        assert reading.candidate.detail == "HTTP 503"
        prober.close()
    old.stop()
    new.stop()


def test_a_rollout_judges_real_traffic(
    scraped: Scraped,
    server: tuple[Prometheus, Path],
    settings: Settings,
    tmp_path: Path,
) -> None:
    """Callers' errors take the candidate back, though all golden answers and probes are good."""
    old, new = Exporter(OLD), Exporter(NEW)
    scraped(old, new)
    ended = threading.Event()

    def traffic() -> None:
        while not ended.wait(0.1):
            old.answer(2)
            new.answer(1)
            new.answer(1, "500")

    callers = threading.Thread(target=traffic, daemon=True)
    callers.start()
    watched = settings.model_copy(update={"prometheus_url": server[0].url})
    plan = Plan(min_requests=10, hold_seconds=2, max_seconds=60)
    with rollouts.running(World()) as world:
        rollouts.first_champion(watched, tmp_path / "golden", world, OLD)
        rollouts.register(watched, tmp_path / "golden", NEW)

        outcome = controller.roll_out(2, Registry(watched), Backend(world), plan)

        assert outcome.state == "rolled_back"
        assert re.search(r"\d+ of \d+ requests failed \(HTTP 500\), allowed", outcome.reason)
        assert "the champion fails 0.0%" in outcome.reason
        assert world.stable == OLD
        assert world.manner(NEW).asked == 2  # the golden requests: callers brought the others
    ended.set()
    callers.join()
    old.stop()
    new.stop()


def test_a_rollout_that_could_not_be_judged_is_not_begun(
    settings: Settings, tmp_path: Path
) -> None:
    """Where Prometheus is configured and down, nothing moves."""
    blind = settings.model_copy(update={"prometheus_url": "http://127.0.0.1:9"})
    with rollouts.running(World()) as world:
        rollouts.first_champion(blind, tmp_path / "golden", world, OLD)
        rollouts.register(blind, tmp_path / "golden", NEW)

        with pytest.raises(Unavailable):
            controller.roll_out(2, Registry(blind), Backend(world), Plan())

        assert world.calls == []


def test_nan_and_nothing_are_no_numbers(server: tuple[Prometheus, Path]) -> None:
    """A quotient of zeros is left out, as is what does not exist."""
    client, _ = server

    assert client.query("vector(0) / vector(0)") == []
    assert client.query("no_such_metric") == []
    assert Counted(client, "f" * 64).sample() == Sample()


def test_a_refused_query_says_why(server: tuple[Prometheus, Path]) -> None:
    """PromQL that Prometheus does not take is our mistake, not an outage."""
    client, _ = server

    with pytest.raises(PipelineError, match=r"refused: bad_data: .*parse error"):
        client.query("sum(")


def test_no_prometheus() -> None:
    """A server that is not there is unavailable."""
    client = Prometheus("http://127.0.0.1:9", timeout_seconds=1, retries=1)

    with pytest.raises(Unavailable, match="does not answer: ConnectError"):
        client.query("up")
    client.close()
