"""Prometheus and Alertmanager as they run beside the predictor, on this machine and in a hurry.

Minutes are seconds here: each window and each `for` of the rules, and each time of the routes, is
shorter by one factor. What they compare with stays as it is, but for the half an hour in which a
predictor has not heard from its registry.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alertmanagers
import httpx
import programs
import pytest
import slack_server
import yaml
from alertmanagers import FOLDER, shorter
from followed import until

from pipeline.local.process import Process, answers, free_port, running

MARKS = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (programs.ALERTMANAGER and programs.PROMETHEUS), reason=programs.NO_ALERTMANAGER
    ),
]
"""Of every test that watches something so."""
DOCS = "https://gliner-kserve.example/docs/alerts.md"
FACTOR = 60
COMPARED = {"GlinerRegistrySilent"}
"""Alerts that compare with a duration, in seconds, which is shorter as well: what they read is the
predictor's own clock, and cannot be hurried."""


@dataclass(frozen=True)
class Site:
    """What watches one predictor.

    Attributes:
        url: Prometheus' address.
        slack: where messages arrive.
        manager: what sends them.
    """

    url: str
    slack: slack_server.Slack
    manager: alertmanagers.Alertmanager

    def value(self, query: str) -> float | None:
        """What a query says now, of one series; None where there is none."""
        answer = httpx.get(
            f"{self.url}/api/v1/query", params={"query": query}, trust_env=False
        ).json()
        found = answer["data"]["result"]
        return float(found[0]["value"][1]) if found else None

    def fires(self, name: str) -> bool:
        """Whether an alert fires, told or silenced."""
        return self.value(f'ALERTS{{alertname="{name}",alertstate="firing"}}') == 1

    def told(self, title: str, seconds: float = 90, *, times: int = 1) -> None:
        """Wait until a message of this title has come so many times."""
        deadline = time.monotonic() + seconds
        while self.slack.titles.count(title) < times:
            assert time.monotonic() < deadline, f"no {title!r} among {self.slack.titles}"
            time.sleep(0.05)

    def shown(self, title: str, times: int = 1) -> str:
        """All that a message of this title shows, the first or a later one."""
        found = [at for at, one in enumerate(self.slack.titles) if one == title]
        return self.slack.shown(found[times - 1])


def hurried(rules: dict[str, Any], factor: float) -> dict[str, Any]:
    """Rules whose windows, waits and intervals are shorter by a factor."""
    found = deepcopy(rules)
    for group in found["groups"]:
        if "interval" in group:
            group["interval"] = shorter(group["interval"], factor)
        for rule in group["rules"]:
            if "for" in rule:
                rule["for"] = shorter(rule["for"], factor)
            rule["expr"] = re.sub(
                r"(?<=\[)\w+(?=\])|(?<=offset )\w+",
                lambda match: shorter(match[0], factor),
                rule["expr"],
            )
            if rule.get("alert") in COMPARED:
                before, seconds, after = re.findall(r"(.* > )(\d+)( .*)", rule["expr"])[0]
                rule["expr"] = f"{before}{int(seconds) / factor}{after}"
    return found


def documented() -> dict[str, Any]:
    """The configuration of Prometheus that our README shows."""
    [block] = re.findall(
        r"^```yaml\n(# prometheus\.yml\n.*?)^```$",
        (FOLDER / "README.md").read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    found: dict[str, Any] = yaml.safe_load(block)
    return found


@contextmanager
def watching(
    folder: Path,
    target: str,
    factor: float = FACTOR,
    *,
    beside: Sequence[str] = (),
    cluster: str = "",
) -> Iterator[Site]:
    """Watch a predictor that runs at `host:port`, by the rules and routes of this project.

    All times are shorter by a factor.

    Args:
        beside: other predictors that are watched.
        cluster: what exports the metrics of others, if anything does.

    Alertmanager starts when Prometheus has met the predictor. Prometheus takes five seconds to find
    its targets, which are five minutes here: until then it says that there is no predictor.
    """
    rules = folder / "rules.yaml"
    rules.write_text(
        yaml.safe_dump(hurried(yaml.safe_load((FOLDER / "rules.yaml").read_text()), factor))
    )
    port = free_port()
    with (
        slack_server.running() as slack,
        _prometheus(folder, rules, [target, *beside], cluster, f"127.0.0.1:{port}") as url,
    ):
        site = Site(url, slack, alertmanagers.Alertmanager(f"http://127.0.0.1:{port}"))
        until(lambda: site.value('up{job="gliner"}') == 1)
        until(lambda: site.value('ALERTS{alertname="GlinerGone"}') is None)
        awake = alertmanagers.at_any_hour()
        routes = alertmanagers.on_this_machine(folder, factor, slack.url, awake)
        with alertmanagers.serving(folder, routes, port):
            yield site


@contextmanager
def _prometheus(
    folder: Path, rules: Path, targets: Sequence[str], cluster: str, manager: str
) -> Iterator[str]:
    config = documented()
    [job] = config["scrape_configs"]
    [receiver] = config["alerting"]["alertmanagers"]
    job["static_configs"] = [{"targets": list(targets)}]
    receiver["static_configs"] = [{"targets": [manager]}]
    if cluster:
        config["scrape_configs"].append(
            {
                "job_name": "cluster",
                "honor_labels": True,
                # Its shortest windows are three seconds.
                "scrape_interval": "500ms",
                "static_configs": [{"targets": [cluster]}],
            }
        )
    config["rule_files"] = [str(rules)]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    process = Process(
        "Prometheus",
        [
            str(programs.PROMETHEUS),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            # An alert that ended is told again for a while; in a hurry as all else.
            "--rules.alert.resend-delay=1s",
        ],
        folder / "prometheus.log",
    )
    with running(process, answers(f"{url}/-/ready")):
        yield url
