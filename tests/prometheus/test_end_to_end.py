"""From a real fault to a message: a predictor, Prometheus, Alertmanager and a local Slack.

The rules and the routes are ours, in a copy whose times are sixty times shorter, so that two
minutes are two seconds (`tests/alerting_site.py`). What they compare with is changed
for one alert alone, which that module names.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import alerting_site
import cutting_proxy
import pytest
import registered
import servers
from alerting_site import DOCS, Site
from callers import asking
from followed import until
from servers import RunningServer

from pipeline.settings import Settings
from predictor import embedded

pytestmark = alerting_site.MARKS

BOARD = "<https://gliner-kserve.example/grafana/d/gliner-service|Dashboard>"
TEXT = "Ada Lovelace was born in London."


@contextmanager
def watched(
    folder: Path, factor: float = alerting_site.FACTOR, /, **settings: object
) -> Iterator[tuple[RunningServer, Site]]:
    """A predictor with these settings, and what watches it."""
    with (
        servers.running(folder, settings=settings) as server,
        alerting_site.watching(folder, server.url.removeprefix("http://"), factor) as site,
    ):
        yield server, site


def test_a_predictor_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """It is told once that the predictor is down, and once that it is over."""
    [port] = servers.free_ports(1)
    target = f"127.0.0.1:{port}"
    with ExitStack() as stack, ExitStack() as first:
        first.enter_context(servers.running(tmp_path, port=port))
        site = stack.enter_context(alerting_site.watching(tmp_path, target))
        seen = stack.enter_context(asking(f"http://{target}", 1, TEXT, 0.2))
        time.sleep(4)
        before = list(site.slack.titles)
        first.close()
        site.told("1 firing: GlinerDown")
        site.told("1 firing: GlinerGone")
        time.sleep(6)
        stack.enter_context(servers.running(tmp_path, port=port))
        site.told("Over: GlinerDown")
        site.told("Over: GlinerGone")
    count = Counter(site.slack.titles)

    assert before == []
    for name in ("GlinerDown", "GlinerGone"):
        assert (count[f"1 firing: {name}"], count[f"Over: {name}"]) == (1, 1), name
    fired, over = site.shown("1 firing: GlinerDown"), site.shown("Over: GlinerDown")
    summary = f"The predictor {target} does not answer Prometheus"
    assert fired.startswith("<!here>\n")
    assert f"*[critical]* {summary}\n" in fired
    assert f"<{DOCS}#glinerdown|What to do> · {BOARD}" in fired
    assert over.strip().endswith(f": {summary}")
    assert seen[200] > 10


def test_more_than_it_can_answer(tmp_path: Path) -> None:
    """Callers are refused: the aim is missed until they go."""
    # Room for a text or two, however quick this machine is just now.
    with watched(tmp_path, max_queue_seconds=0.05) as (server, site):
        time.sleep(2)
        before = list(site.slack.titles)
        with asking(server.url, 24, f"{TEXT} " * 50, 0.05) as seen:
            site.told("1 firing: GlinerErrorsFast")
            until(lambda: site.fires("GlinerErrorsSlow"))
        flooded = time.monotonic()
        with asking(server.url, 1, TEXT, 0.1):
            site.told("Over: GlinerErrorsFast")
        lasted = time.monotonic() - flooded
    count = Counter(site.slack.titles)

    assert before == []
    # Critical: told again every hour, which is a minute here.
    assert 1 <= count["1 firing: GlinerErrorsFast"] <= 2 + lasted // 60
    assert count["Over: GlinerErrorsFast"] == 1
    assert seen[429] > 10
    message = site.shown("1 firing: GlinerErrorsFast")
    assert "% of predictions were refused for want of room or failed; 0.5 % are allowed." in message
    assert f"<{DOCS}#glinererrorsfast|What to do>" in message


def test_answers_that_take_too_long(tmp_path: Path) -> None:
    """Nobody is refused, and all wait: the queue is long, the other aim is missed, and the loud
    alert silences the one that burns slowly; until fewer ask."""
    with watched(tmp_path, 90, max_queue_seconds=600) as (server, site):
        time.sleep(2)
        before = list(site.slack.titles)
        # So many that each waits for seconds, and so short that some are answered every second.
        with asking(server.url, 40, f"{TEXT} " * 50, 0.05) as seen:
            site.told("1 firing: GlinerLatencyFast")
            site.told("1 firing: GlinerQueueLong")
            until(lambda: site.fires("GlinerLatencySlow"))
            flood = Counter(site.slack.titles)
        flooded = time.monotonic()
        with asking(server.url, 2, TEXT, 0.02):
            site.told("Over: GlinerQueueLong")
            site.told("Over: GlinerLatencyFast")
        lasted = time.monotonic() - flooded
    count = Counter(site.slack.titles)

    assert before == []
    assert set(seen) == {200}
    # Where nothing is answered for seconds on a busy machine, it is over for that long.
    assert 1 <= count["1 firing: GlinerQueueLong"] == count["Over: GlinerQueueLong"]
    assert "1 firing: GlinerLatencySlow" not in flood
    # Critical: told again every hour, which is 40 seconds here.
    assert flood["1 firing: GlinerLatencyFast"] >= 1
    assert (
        count["1 firing: GlinerLatencyFast"]
        <= flood["1 firing: GlinerLatencyFast"] + 1 + lasted // 40
    )
    assert count["Over: GlinerLatencyFast"] == 1
    latency, queue = (
        site.shown(f"1 firing: {name}") for name in ("GlinerLatencyFast", "GlinerQueueLong")
    )
    assert "% of answers took longer than half a second; 1 % may." in latency
    assert f"<{DOCS}#glinerlatencyfast|What to do>" in latency
    assert "*[warning]* Requests wait for the model of 127.0.0.1:" in queue
    assert "<!here>" not in queue


def test_a_predictor_that_takes_no_predictions_any_more(tmp_path: Path) -> None:
    """It drains for longer than it should, with a long document in the model; then it is gone, and
    comes back."""
    [port] = servers.free_ports(1)
    target = f"127.0.0.1:{port}"
    with ExitStack() as stack, ExitStack() as first:
        server = first.enter_context(
            servers.running(tmp_path, settings={"drain_seconds": 60}, port=port)
        )
        site = stack.enter_context(alerting_site.watching(tmp_path, target))
        pool = first.enter_context(ThreadPoolExecutor(1))
        before = list(site.slack.titles)
        pool.submit(server.predict, *[f"{TEXT} " * 4000] * 8, labels=["person"])
        until(lambda: site.value("gliner_pending_requests") == 1)
        server.process.terminate()
        site.told("1 firing: GlinerNotReady")
        server.process.terminate()  # the second signal ends it at once
        first.close()
        stack.enter_context(servers.running(tmp_path, port=port))
        # Silent while the predictor is down, and told when it is not any more.
        site.told("Over: GlinerNotReady")
    count = Counter(site.slack.titles)

    assert before == []
    assert (count["1 firing: GlinerNotReady"], count["Over: GlinerNotReady"]) == (1, 1)
    message = site.shown("1 firing: GlinerNotReady")
    assert "takes no predictions" in message
    assert f"<{DOCS}#glinernotready|What to do>" in message


def started_after(site: Site, last: float | None) -> bool:
    """Whether Prometheus has met a predictor that is another than the last."""
    return site.value("process_start_time_seconds") not in (None, last)


@pytest.mark.timeout(600)
def test_a_predictor_that_starts_again_and_again(tmp_path: Path) -> None:
    """Three times in half an hour, which is as short here as starts are on this machine; until it
    has run that long."""
    [port] = servers.free_ports(1)
    with ExitStack() as stack, ExitStack() as run:
        began = time.monotonic()
        run.enter_context(servers.running(tmp_path, port=port))
        half_an_hour = max(45, 6 * (time.monotonic() - began))
        site = stack.enter_context(
            alerting_site.watching(tmp_path, f"127.0.0.1:{port}", 1800 / half_an_hour)
        )
        before = list(site.slack.titles)
        for _ in range(3):
            last = site.value("process_start_time_seconds")
            run.close()
            run.enter_context(servers.running(tmp_path, port=port))
            until(partial(started_after, site, last))
        site.told("1 firing: GlinerRestarts")
        site.told("Over: GlinerRestarts", 2 * half_an_hour)
    count = Counter(site.slack.titles)

    assert before == []
    assert count["Over: GlinerRestarts"] == 1
    message = site.shown("1 firing: GlinerRestarts")
    assert "It was started anew 3 times in half an hour." in message
    assert f"<{DOCS}#glinerrestarts|What to do>" in message


def test_a_pod_that_stays_with_another_version(tmp_path: Path) -> None:
    """Two hours, which are six seconds here, is longer than a rollout takes; until the pod is
    one with the version of all others."""
    other = tmp_path / "other"
    shutil.copytree(embedded.path(), other)
    manifest = json.loads((other / "bundle.json").read_text("utf-8"))
    (other / "bundle.json").write_text(json.dumps({**manifest, "revision": "another"}), "utf-8")
    [port] = servers.free_ports(1)
    with servers.running(tmp_path) as one, ExitStack() as stack, ExitStack() as behind:
        behind.enter_context(servers.running(tmp_path, "--model", str(other), port=port))
        here, beside = one.url.removeprefix("http://"), [f"127.0.0.1:{port}"]
        site = stack.enter_context(alerting_site.watching(tmp_path, here, 1200, beside=beside))
        site.told("1 firing: GlinerVersionsDiffer")
        before = site.slack.titles.count("Over: GlinerVersionsDiffer")
        behind.close()
        stack.enter_context(servers.running(tmp_path, port=port))
        site.told("Over: GlinerVersionsDiffer")
        until(lambda: site.value("count(gliner_model_info)") == 2)
    count = Counter(site.slack.titles)

    title = "GlinerVersionsDiffer"
    assert before == 0
    assert (count[f"1 firing: {title}"], count[f"Over: {title}"]) == (1, 1)
    message = site.shown(f"1 firing: {title}")
    assert "2 versions serve at once for two hours." in message
    assert f"<{DOCS}#glinerversionsdiffer|What to do>" in message


def test_a_model_that_does_not_give_its_golden_answers(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version before goes on serving, and a warning says that the other was refused; both
    alerts end when the alias is back where it was."""
    spoilt = tmp_path / "spoilt"
    shutil.copytree(embedded.path(), spoilt)
    golden = json.loads((spoilt / "golden.json").read_text("utf-8"))
    golden["requests"][0]["entities"][0]["score"] = 0.1
    (spoilt / "golden.json").write_text(json.dumps(golden), "utf-8")
    sound = registered.register(settings, embedded.path())
    registered.point(settings, sound)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    source = f"models:/{settings.model_name}@champion"
    with (
        servers.running(tmp_path, "--model", source, settings={"follow_seconds": 1}) as server,
        # An hour is twenty seconds: that long a failure is remembered.
        alerting_site.watching(tmp_path, server.url.removeprefix("http://"), 180) as site,
    ):
        until(lambda: site.value('gliner_swaps_total{result="failed"}') == 0)
        before = list(site.slack.titles)
        registered.point(settings, registered.register(settings, spoilt))
        site.told("1 firing: GlinerSwapFailed")
        site.told("1 firing: GlinerNotSwapped")
        [answer] = server.predict(TEXT, labels=["person"])
        registered.point(settings, sound)
        site.told("Over: GlinerNotSwapped")
        site.told("Over: GlinerSwapFailed")
    count = Counter(site.slack.titles)

    assert before == []
    for name in ("GlinerSwapFailed", "GlinerNotSwapped"):
        assert (count[f"1 firing: {name}"], count[f"Over: {name}"]) == (1, 1), name
    assert answer["entities"]
    message = site.shown("1 firing: GlinerSwapFailed")
    assert "could not take up another version of the model" in message
    assert "did not give its own golden answers" in message
    assert f"<{DOCS}#glinerswapfailed|What to do>" in message


def test_a_registry_that_is_not_heard_any_more(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network between breaks, and what was loaded goes on serving. Half an hour, which is what
    the rule compares with, is six seconds as well."""
    registered.point(settings, registered.register(settings, embedded.path()))
    source = f"models:/{settings.model_name}@champion"
    follow = {"follow_seconds": 0.2}
    with cutting_proxy.to(settings.tracking_uri) as network:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", network.url)
        with (
            servers.running(tmp_path, "--model", source, settings=follow) as server,
            alerting_site.watching(tmp_path, server.url.removeprefix("http://"), 300) as site,
        ):
            asked = "time() - gliner_follow_checked_timestamp_seconds"
            until(lambda: (site.value(asked) or 9) < 3)
            before = list(site.slack.titles)
            network.left = 0
            site.told("1 firing: GlinerRegistrySilent")
            first = site.slack.titles[0]
            [answer] = server.predict(TEXT, labels=["person"])
            network.up()
            site.told("Over: GlinerRegistrySilent")
    count = Counter(site.slack.titles)

    assert before == []
    assert first == "1 firing: GlinerNotSwapped"
    title = "GlinerRegistrySilent"
    assert (count[f"1 firing: {title}"], count[f"Over: {title}"]) == (1, 1)
    assert answer["entities"]
    message = site.shown("1 firing: GlinerRegistrySilent")
    assert " has not heard from the registry\n" in message
    assert re.search(r"The last word was \d+\.\d+s ago. Newer versions do not arrive.", message)
    assert f"<{DOCS}#glinerregistrysilent|What to do>" in message
