"""A real Alertmanager on our configuration, with its times shortened and its servers on this
machine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import programs
import yaml

from pipeline.local.process import Process, answers, free_port, running

FOLDER = Path(__file__).resolve().parent.parent / "prometheus"
CONFIG = FOLDER / "alertmanager.yml"
TIMES = ("group_wait", "group_interval", "repeat_interval")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Labels = Mapping[str, str]


def config() -> dict[str, Any]:
    """The configuration as its file has it."""
    found: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    return found


def shorter(duration: str, factor: float) -> str:
    """A duration in Prometheus' words, divided."""
    parts = re.findall(r"(\d+)(ms|s|m|h|d)", duration)
    assert "".join(number + unit for number, unit in parts) == duration, duration
    whole = sum(int(number) * _MILLISECONDS[unit] for number, unit in parts)
    # Nothing that was there becomes nothing.
    return f"{max(round(whole / factor), 1 if whole else 0)}ms"


def routes(route: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A route and all below it."""
    yield route
    for one in route.get("routes", ()):
        yield from routes(one)


def at_any_hour() -> dict[str, Any]:
    """What to change so that warnings do not wait for the morning: when they do has tests of its
    own."""
    return {
        "time_intervals": [
            {"name": one["name"], "time_intervals": [{"years": ["2000"]}]}
            for one in config()["time_intervals"]
        ]
    }


def on_this_machine(
    folder: Path,
    factor: float,
    slack: str,
    changes: Mapping[str, Any] | None = None,
    *,
    mail: str = "",
    pagerduty: str = "",
) -> Path:
    """A copy of the configuration for a test.

    Times of its routes are shorter by a factor, and addresses lead to servers of the test's.

    Args:
        folder: where it goes, and the files with its secrets.
        factor: what its times are divided by.
        slack: the address of the webhook.
        changes: parts of the configuration to put in place of its own.
        mail: `host:port` of a mail server; without one there is no e-mail, as for somebody who
            has none.
        pagerduty: the address of PagerDuty; without one its key is a file that is not there.
    """
    found = {**deepcopy(config()), **(changes or {})}
    for route in routes(found["route"]):
        route.update({name: shorter(route[name], factor) for name in TIMES if name in route})
    found["templates"] = [str(FOLDER / "messages.tmpl")]
    common = found["global"]
    common["slack_api_url_file"] = _kept(folder / "slack-webhook-url", slack)
    if mail:
        password = _kept(folder / "smtp-password", "hush")
        common.update(smtp_smarthost=mail, smtp_auth_password_file=password)
        # The real one speaks TLS.
        common["smtp_require_tls"] = False
    if pagerduty:
        common["pagerduty_url"] = pagerduty
    for receiver in found["receivers"]:
        if not mail:
            receiver.pop("email_configs", None)
        for one in receiver.get("pagerduty_configs", ()) if pagerduty else ():
            one["routing_key_file"] = _kept(folder / "pagerduty-routing-key", "hush" * 8)
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(found), "utf-8")
    return file


def _kept(file: Path, secret: str) -> str:
    file.write_text(secret, "utf-8")
    return str(file)


@dataclass(frozen=True)
class Alertmanager:
    """One that runs.

    Attributes:
        url: its address.
    """

    url: str

    def tell(self, *alerts: Labels, ended: bool = False) -> None:
        """Raise alerts by their labels, as Prometheus does, or end them."""
        words = {
            "summary": "It is so",
            "description": "Something is < something & more.",
            "runbook_url": "https://docs.example/alerts.md#one",
            "dashboard_url": "https://grafana.example/d/gliner-service",
        }
        self.post([(one, words) for one in alerts], ended=ended)

    def post(self, alerts: Sequence[tuple[Labels, Labels]], *, ended: bool = False) -> None:
        """Raise alerts by labels and annotations, or end them."""
        now = datetime.now(timezone.utc).isoformat()
        times = {"startsAt": now, **({"endsAt": now} if ended else {})}
        body = [
            {"labels": dict(labels), "annotations": dict(words), **times}
            for labels, words in alerts
        ]
        httpx.post(f"{self.url}/api/v2/alerts", json=body, trust_env=False).raise_for_status()

    def silent(self) -> dict[str, list[str]]:
        """Which alerts are kept silent: those that do so, by the alert's name and place."""
        found = httpx.get(f"{self.url}/api/v2/alerts", trust_env=False).json()
        names = {one["fingerprint"]: called(one["labels"]) for one in found}
        return {
            called(one["labels"]): sorted(names[by] for by in one["status"]["inhibitedBy"])
            for one in found
        }


def called(labels: Labels) -> str:
    """An alert's name, and where it is."""
    where = labels.get("instance") or labels.get("name")
    return " ".join(filter(None, (labels["alertname"], where)))


@contextmanager
def serving(folder: Path, file: Path, port: int | None = None) -> Iterator[Alertmanager]:
    """Run one on a configuration, its log in `folder`, on a port or a free one."""
    url = f"http://127.0.0.1:{port or free_port()}"
    process = Process(
        "Alertmanager",
        [
            str(programs.ALERTMANAGER),
            f"--config.file={file}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        folder / "alertmanager.log",
    )
    with running(process, answers(f"{url}/-/ready")):
        yield Alertmanager(url)


def until(seen: Sequence[Any], count: int, seconds: float = 20) -> None:
    """Wait until so many have come.

    Raises:
        AssertionError: they did not.
    """
    deadline = time.monotonic() + seconds
    while len(seen) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(seen) >= count, f"{len(seen)} of {count} came within {seconds:.0f} s: {seen}"
