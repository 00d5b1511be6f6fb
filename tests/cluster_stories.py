"""What goes wrong in a cluster, and how it ends: as the runbook of each alert says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from threading import Barrier, Event

import httpx
import pods
from alerting_site import Site
from callers import asking
from cluster_exporter import Cluster
from followed import until
from pods import Pod

from pipeline.runs import recurring
from pipeline.settings import Settings

TEXT = "Ada Lovelace was born in London."
CHAMPION, CANARY = (f"gliner-predictor-0000{number}" for number in (1, 2))
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
    lasted = time.monotonic() - began
    fired, over = (site.shown(one) for one in titles)
    return Told(before, fired, over, lasted)


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
    pod = Pod(f"{CANARY}-deployment-7c9d-p4k2s", place.folder, threshold=7)

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
    old, ending = place.cluster.certificates
    both = {"GlinerCertificateOld gliner-grpc": ["GlinerCertificateEnds gliner-grpc"]}
    shown = Event()

    def renew_the_ending() -> None:
        # The quiet alert about the same is silent, for as long as it takes to see.
        assert shown.wait(SECONDS)
        ending.issue()

    def renew_the_old() -> None:
        until(lambda: both.items() <= place.site.manager.silent().items(), SECONDS)
        shown.set()
        old.issue()

    return side_by_side(
        place.site,
        {
            "GlinerCertificateOld (istio-system)": (
                partial(old.issue, timedelta(days=80)),
                renew_the_old,
            ),
            "GlinerCertificateEnds (gliner)": (
                partial(ending.issue, timedelta(days=88)),
                renew_the_ending,
            ),
        },
    )


def schedule(place: Place) -> Story:
    """The controller dies, the day before, and comes back; then the recurring run is disabled, and
    enabled by the command that made it."""
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
