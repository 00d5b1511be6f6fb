"""From a real fault to a message, for the alerts that read the metrics of a cluster's exporters.

No cluster can run here. What is real: the processes, which the kernel ends and holds back where a
test may make a cgroup (`tests/limits.py`), the certificates, the requests and their answers, and
the code that makes a schedule. What stands in: `tests/pods.py` for Kubernetes, `tests/gateway.py`
for Istio, `tests/kubeflow_api.py` for Kubeflow, and `tests/cluster_exporter.py` for all exporters.

The faults are caused side by side, and each ends as its runbook says. An hour is twenty seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import alerting_site
import cluster_exporter
import gateway
import kubeflow_api
import pods
import pytest
from alerting_site import DOCS
from certificates import Certificate
from cluster_exporter import Cluster
from cluster_stories import CANARY, CHAMPION, Place, Story, canary, certificates, limited, schedule
from pods import Pod
from scheduled_workflows import Controller
from servers import RunningServer

from pipeline.settings import Settings

pytestmark = alerting_site.MARKS

FACTOR = 180
HOUR = 3600 / FACTOR
"""In which a critical alert is told again."""
BOARDS = "https://gliner-kserve.example/grafana/d/"
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


POD = f"{CHAMPION}-deployment-5d8f-x2w7n"
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
        f"{CANARY}-deployment-7c9d-p4k2s does not come up",
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
    first = (
        (place.folder / f"{CANARY}-deployment-7c9d-p4k2s.log").read_text("utf-8").splitlines()[0]
    )

    assert "GLINER_THRESHOLD='7'" in first
