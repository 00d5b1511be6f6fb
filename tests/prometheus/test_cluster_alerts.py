"""From a real fault to a message, for the alerts that read the metrics of a cluster's exporters.

No cluster can run here. What is real: the processes, which the kernel ends and holds back where a
test may make a cgroup (`tests/limits.py`), the certificates, the requests and their answers, and
the code that makes a schedule. What stands in: `tests/pods.py` for Kubernetes, `tests/gateway.py`
for Istio, `tests/kubeflow_api.py` for Kubeflow, and `tests/cluster_exporter.py` for all exporters.

The faults are caused side by side, and each ends as its runbook says. An hour is twenty seconds.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from threading import Barrier, Event

import alerting_site
import cluster_exporter
import gateway
import httpx
import kubeflow_api
import pods
import programs
import pytest
from alerting_site import Site
from callers import asking
from certificates import Certificate
from cluster_exporter import Cluster
from followed import until
from pods import Pod
from scheduled_workflows import Controller
from servers import RunningServer

from pipeline.runs import recurring
from pipeline.settings import Settings

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (programs.ALERTMANAGER and programs.PROMETHEUS), reason=programs.NO_ALERTMANAGER
    ),
]

FACTOR = 180
HOUR = 3600 / FACTOR
"""In which a critical alert is told again."""
DOCS = "https://gliner-kserve.example/docs/alerts.md"
BOARDS = "https://gliner-kserve.example/grafana/d/"
TEXT = "Ada Lovelace was born in London."
WORKLOADS = CHAMPION, CANARY = [f"gliner-predictor-0000{number}-deployment" for number in (1, 2)]
# No larger than the predictor takes by default, and of texts that are an object each.
LARGE = b'{"instances": [' + b'"ab",' * 3_300_000 + b'"ab"]}'
SECONDS = 120
"""As long as a machine that is busy with other things may take for anything."""


@dataclass(frozen=True)
class Place:
    """The cluster, and what watches it.

    Attributes:
        champion: the address of a pod that nothing happens to.
        pod: another one, to which things do.
        folder: for logs and files.
    """

    cluster: Cluster
    site: Site
    champion: str
    pod: Pod
    settings: Settings
    folder: Path


@dataclass(frozen=True)
class Told:
    """What was told of one alert.

    Attributes:
        before: messages about it before its fault.
        fired, over: what the messages showed.
        lasted: seconds from the fault to the end of the alert.
    """

    before: list[str]
    fired: str
    over: str
    lasted: float


Story = dict[str, Told]
"""By the title of an alert, which has its namespace where there is one."""


def tried(site: Site, title: str, cause: Callable[[], object], end: Callable[[], object]) -> Told:
    """Cause a fault and wait to be told; end it and wait to be told."""
    titles = [f"1 firing: {title}", f"Over: {title}"]
    before = [one for one in site.slack.titles if one in titles]
    began = time.monotonic()
    for one, act in zip(titles, (cause, end), strict=True):
        act()
        site.told(one, SECONDS)
    shown = [site.shown(one) for one in titles]
    return Told(before, *shown, lasted=time.monotonic() - began)


def side_by_side(
    site: Site, faults: Mapping[str, tuple[Callable[[], object], Callable[[], object]]]
) -> Story:
    """Try several at once."""
    with ThreadPoolExecutor(len(faults)) as pool:
        found = {title: pool.submit(tried, site, title, *acts) for title, acts in faults.items()}
    return {title: one.result() for title, one in found.items()}


def post(pod: Pod, body: bytes) -> int:
    """The status of a request to a pod."""
    url = f"{pod.url}/v1/models/gliner:predict"
    return httpx.post(url, content=body, timeout=60, trust_env=False).status_code


def limited(place: Place) -> Story:
    """Too little memory, until the limit is raised by a quarter, and too little CPU, until there is
    more. Then bodies that do not fit in, until smaller ones are all that is taken."""
    pod = place.pod
    until(pod.ready, SECONDS)

    def too_much() -> None:
        with ThreadPoolExecutor(4) as pool:
            for one in [pool.submit(post, pod, LARGE) for _ in range(20)]:
                one.exception()  # refused, lost on the way, or nobody is there any more

    def refused() -> None:
        until(pod.ready, SECONDS)
        assert [post(pod, LARGE) for _ in range(3)] == [413] * 3

    with asking(pod.url, 2, TEXT, 0.01) as seen:
        # A process grows as it begins to answer.
        until(lambda: seen[200] > 50, SECONDS)
        tight = int(pod.limits.working_set() / 0.93)
        story = side_by_side(
            place.site,
            {
                "GlinerMemoryHigh (gliner)": (
                    partial(pod.limits.allow_memory, tight),
                    partial(pod.limits.allow_memory, tight * 5 // 4),
                ),
                "GlinerThrottled (gliner)": (
                    partial(pod.limits.allow_cpu, 0.1),
                    partial(pod.limits.allow_cpu, 2 * (os.cpu_count() or 1)),
                ),
            },
        )
    # What the next container has.
    pod.settings["max_body_bytes"] = 100_000
    return {
        **story,
        **side_by_side(place.site, {"GlinerOutOfMemory (gliner)": (too_much, refused)}),
    }


def canary(place: Place) -> Story:
    """A canary that does not come up: its setting is out of bounds, until it is not."""
    entrance = place.cluster.gateway
    pod = Pod(f"{CANARY}-7c9d-p4k2s", place.folder, threshold=7)

    def deploy() -> None:
        stack.enter_context(pods.running(pod))
        place.cluster.pods.append(pod)
        stack.callback(place.cluster.pods.remove, pod)
        entrance.shares = {CHAMPION: (place.champion, 20), CANARY: (pod.url, 80)}

    # Both alerts are about the one fault.
    deployed, mended = (Barrier(2, act, timeout=SECONDS) for act in (deploy, pod.anew))
    entrance.shares = {CHAMPION: (place.champion, 100)}
    with ExitStack() as stack, asking(entrance.url, 4, TEXT, 0.05) as seen:
        until(lambda: seen[200] > 50, SECONDS)
        titles = ("GlinerCrashLoop (gliner)", "GlinerCanaryWorse")
        return side_by_side(place.site, dict.fromkeys(titles, (deployed.wait, mended.wait)))


def certificates(place: Place) -> Story:
    """Two that nobody has renewed: ten days are left of one, two of the other."""
    late, later = place.cluster.certificates
    both = {"GlinerCertificateOld gliner-grpc": ["GlinerCertificateEnds gliner-grpc"]}
    shown = Event()

    def renew_the_later() -> None:
        # The quiet alert about the same is silent, for as long as it takes to see.
        assert shown.wait(SECONDS)
        later.issue()

    def renew_the_late() -> None:
        until(lambda: both.items() <= place.site.manager.silent().items(), SECONDS)
        shown.set()
        late.issue()

    return side_by_side(
        place.site,
        {
            "GlinerCertificateOld (istio-system)": (
                partial(late.issue, timedelta(days=80)),
                renew_the_late,
            ),
            "GlinerCertificateEnds (gliner)": (
                partial(later.issue, timedelta(days=88)),
                renew_the_later,
            ),
        },
    )


def schedule(place: Place) -> Story:
    """The controller dies, the day before, and comes back; then the recurring run is disabled, and
    made anew by the command that made it."""
    controller = place.cluster.controller

    def make() -> None:
        recurring.schedule(recurring.DAILY, {"eval_data": "s3://data/eval"}, place.settings)

    def die() -> None:
        controller.stopped = datetime.now(timezone.utc) - timedelta(hours=26)

    def live() -> None:
        controller.stopped = None

    def disable() -> None:
        [run] = controller.kubeflow.recurring_runs
        url = f"{controller.kubeflow.url}/apis/v2beta1/recurringruns/{run}:disable"
        httpx.post(url, trust_env=False).raise_for_status()

    make()
    until(lambda: place.site.value("kubeflow_recurring_run_enabled") == 1, SECONDS)
    return {
        title: tried(place.site, title, *acts)
        for title, acts in {
            "GlinerRecurringRunMissing (gliner)": (die, live),
            # Of what is not there nobody can say where it was.
            "GlinerRecurringRunMissing": (disable, make),
        }.items()
    }


STORIES = (limited, canary, certificates, schedule)


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """One that starts while all else does."""
    with pods.running(Pod(POD, tmp_path_factory.mktemp("pod"))) as started:
        yield started


@pytest.fixture(scope="module")
def place(
    pod: Pod, server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """All is well in it."""
    folder = tmp_path_factory.mktemp("cluster")
    both = [
        Certificate(namespace, name, folder / f"{name}.crt")
        for namespace, name in (("istio-system", "gliner-tls"), ("gliner", "gliner-grpc"))
    ]
    for one in both:
        one.issue()
    with (
        pytest.MonkeyPatch.context() as patch,
        gateway.running() as entrance,
        kubeflow_api.running() as kubeflow,
    ):
        patch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(folder / "context.json"))
        cluster = Cluster(entrance, Controller(kubeflow), [pod], both)
        champion = server.url.removeprefix("http://")
        with (
            cluster_exporter.serving(cluster) as exporter,
            alerting_site.watching(folder, champion, FACTOR, cluster=exporter) as site,
        ):
            settings = Settings(kfp_host=kubeflow.url, http_retries=1)
            yield Place(cluster, site, server.url, pod, settings, folder)


@pytest.fixture(scope="module")
def stories(place: Place) -> Iterator[list[Future[Story]]]:
    """All of them, which happen at the same time."""
    with ThreadPoolExecutor(len(STORIES)) as pool:
        yield [pool.submit(story, place) for story in STORIES]


POD = f"{CHAMPION}-5d8f-x2w7n"
CASES = [
    (
        limited,
        "GlinerMemoryHigh (gliner)",
        "warning",
        f"The memory of {POD} is close to its limit",
        "% of its limit for a quarter of an hour.",
    ),
    (
        limited,
        "GlinerThrottled (gliner)",
        "warning",
        f"{POD} is kept waiting for its processor",
        "% of the periods of a tenth of a second it had used up its limit",
    ),
    (
        limited,
        "GlinerOutOfMemory (gliner)",
        "critical",
        f"{POD} was ended for want of memory",
        "The kernel ended it within the last quarter of an hour",
    ),
    (
        canary,
        "GlinerCrashLoop (gliner)",
        "critical",
        f"{CANARY}-7c9d-p4k2s does not come up",
        "Its container ends soon after each start",
    ),
    (
        canary,
        "GlinerCanaryWorse",
        "warning",
        f"{CANARY} fails more than what serves beside it",
        "% more failed or were refused than of the best other's.",
    ),
    (
        certificates,
        "GlinerCertificateOld (istio-system)",
        "warning",
        "The certificate gliner-tls was not renewed",
        "It ends in 9d 23h",
    ),
    (
        certificates,
        "GlinerCertificateEnds (gliner)",
        "critical",
        "The certificate gliner-grpc ends within days",
        "It ends in 1d 23h",
    ),
    *(
        (
            schedule,
            title,
            "warning",
            "Kubeflow does not start the recurring run",
            "or no recurring run is enabled any more.",
        )
        for title in ("GlinerRecurringRunMissing (gliner)", "GlinerRecurringRunMissing")
    ),
]


@pytest.mark.parametrize(
    ("story", "title", "severity", "summary", "description"), CASES, ids=[one[1] for one in CASES]
)
def test_it_is_told_once_and_once_that_it_is_over(
    place: Place,
    stories: list[Future[Story]],
    story: Callable[[Place], Story],
    title: str,
    severity: str,
    summary: str,
    description: str,
) -> None:
    """Nothing before the fault; then what is wrong and what to do; and when it was over."""
    told = stories[STORIES.index(story)].result()[title]
    count = Counter(place.site.slack.titles)
    name = title.partition(" ")[0]
    often = 1 + int(told.lasted // HOUR) if severity == "critical" else 1

    assert told.before == []
    assert 1 <= count[f"1 firing: {title}"] <= often
    assert count[f"Over: {title}"] == 1
    assert told.fired.startswith("<!here>\n") == (severity == "critical")
    assert f"*[{severity}]* {summary}\n" in told.fired
    assert description in told.fired
    assert f"<{DOCS}#{name.lower()}|What to do> · <{BOARDS}gliner-" in told.fired
    assert told.over.strip().endswith(f": {summary}")


def test_the_loud_alert_about_a_certificate_is_enough(
    place: Place, stories: list[Future[Story]]
) -> None:
    """Nobody was told twice of the one that ends within days."""
    stories[STORIES.index(certificates)].result()

    assert "1 firing: GlinerCertificateOld (gliner)" not in place.site.slack.titles


def test_why_it_does_not_come_up_is_its_last_line(
    place: Place, stories: list[Future[Story]]
) -> None:
    """What the runbook sends people to."""
    stories[STORIES.index(canary)].result()
    first = (place.folder / f"{CANARY}-7c9d-p4k2s.log").read_text("utf-8").splitlines()[0]

    assert "GLINER_THRESHOLD='7'" in first
