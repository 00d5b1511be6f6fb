"""Alertmanager's configuration: who hears of which alert, and what keeps which silent."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import alertmanagers
import programs
import pytest
import slack_server
import yaml
from servers import ROOT

pytestmark = pytest.mark.skipif(
    not (programs.AMTOOL and programs.ALERTMANAGER), reason=programs.NO_ALERTMANAGER
)

GRAFANA = ROOT / "grafana" / "provisioning" / "alerting"
RULES = yaml.safe_load((ROOT / "prometheus" / "rules.yaml").read_text("utf-8"))
ALERTS = {
    rule["alert"]: {"alertname": rule["alert"], **rule["labels"]}
    for group in RULES["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
RECEIVERS = {
    "critical": "gliner-page,gliner-lead",
    "warning": "gliner-chat,gliner-digest",
    "info": "gliner-digest",
}
SECRETIVE = re.compile(r"(url|key|password|token|secret|credentials)(_file)?")


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What amtool says."""
    return subprocess.run(
        [str(programs.AMTOOL), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def keys(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key at any depth, and what it holds."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key, one
            yield from keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from keys(one)


def test_amtool_takes_it() -> None:
    """Alertmanager's own checker reads the file and its templates."""
    done = amtool("check-config", str(alertmanagers.CONFIG))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 templates" in done.stdout


@pytest.mark.parametrize("kind", ["pagerduty_configs", "slack_configs", "email_configs"])
def test_a_channel_may_be_left_out(kind: str, tmp_path: Path) -> None:
    """Without one of the three, and what is global for it, the rest is still a configuration."""
    found = alertmanagers.config()
    for receiver in found["receivers"]:
        receiver.pop(kind, None)
    own = kind.partition("_")[0].replace("email", "smtp")
    found["global"] = {key: one for key, one in found["global"].items() if own not in key}
    found["templates"] = []
    file = tmp_path / "alertmanager.yml"
    file.write_text(yaml.safe_dump(found), "utf-8")

    done = amtool("check-config", str(file))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ALERTS)
def test_who_hears_of_it(name: str) -> None:
    """Each alert goes where its severity says, by the labels of its rule."""
    labels = [f"{key}={value}" for key, value in ALERTS[name].items()]
    expected = RECEIVERS[ALERTS[name]["severity"]]

    done = amtool("config", "routes", "test", f"--config.file={alertmanagers.CONFIG}", *labels)

    assert done.stdout.strip() == expected, done.stderr


def test_what_has_another_severity_is_heard() -> None:
    """A mistyped severity is no way to be lost."""
    done = amtool(
        "config", "routes", "test", f"--config.file={alertmanagers.CONFIG}", "severity=criticla"
    )

    assert done.stdout.strip() == "gliner-chat"


def test_it_agrees_with_grafana() -> None:
    """Both have the same contact points, quiet hours and, by severity, the same repetitions."""
    found = alertmanagers.config()
    points = yaml.safe_load((GRAFANA / "contact-points.yaml").read_text("utf-8"))
    quiet = yaml.safe_load((GRAFANA / "mute-timings.yaml").read_text("utf-8"))
    [policy] = yaml.safe_load((GRAFANA / "policies.yaml").read_text("utf-8"))["policies"]

    def repeated(route: dict[str, Any], severity: str) -> dict[str, str]:
        return {
            one["receiver"]: one["repeat_interval"]
            for one in route["routes"]
            if severity in str(one.get("matchers", one.get("object_matchers")))
        }

    names = {one["name"] for one in found["receivers"]}
    assert names == {one["name"] for one in points["contactPoints"]} | {"gliner-lead"}
    assert found["time_intervals"] == [
        {key: one[key] for key in ("name", "time_intervals")} for one in quiet["muteTimes"]
    ]
    for severity in RECEIVERS:
        theirs = repeated(policy, severity)
        assert theirs
        assert theirs.items() <= repeated(found["route"], severity).items()


def test_secrets_are_in_files() -> None:
    """No key that could hold a secret holds anything but a file's path."""
    found = [(key, one) for key, one in keys(alertmanagers.config()) if SECRETIVE.search(key)]
    paths = [one for key, one in found if key.endswith("_file")]

    assert len(paths) == len(found) == 3
    assert all(one.startswith("/etc/alertmanager/secrets/") for one in paths)


@pytest.fixture
def slack() -> Iterator[slack_server.Slack]:
    with slack_server.running() as started:
        yield started


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[alertmanagers.Alertmanager]:
    """One that writes to nobody, for what keeps what silent."""
    folder = tmp_path_factory.mktemp("alertmanager")
    file = alertmanagers.on_this_machine(folder, 1, "http://127.0.0.1:9/nobody")
    with alertmanagers.serving(folder, file) as started:
        yield started


INHIBITED = [
    # What keeps silent, what is silent, and what is heard all the same.
    ("GlinerGone", "GlinerErrorsFast", "GlinerDown a"),
    ("GlinerGone", "GlinerLatencySlow", "GlinerOutOfMemory"),
    ("GlinerDown a", "GlinerQueueLong a", "GlinerQueueLong b"),
    ("GlinerDown a", "GlinerNotReady a", "GlinerErrorsFast"),
    # Neither says what it is about: that is not the same.
    ("GlinerDown a", "GlinerSwapFailed a", "GlinerVersionsDiffer"),
    ("GlinerErrorsFast", "GlinerErrorsSlow", "GlinerLatencySlow"),
    ("GlinerCertificateEnds a", "GlinerCertificateOld a", "GlinerCertificateOld b"),
]


def alert(written: str) -> dict[str, str]:
    """The labels of an alert, and where it is."""
    name, _, where = written.partition(" ")
    place = {"name" if "Certificate" in name else "instance": where} if where else {}
    return {**ALERTS[name], **place}


@pytest.mark.server
def test_nothing_is_repeated_later_than_it_is_remembered(tmp_path: Path) -> None:
    """What Alertmanager told is forgotten after 120 hours, by default, and then told again; it
    warns of a route that would wait longer."""
    file = alertmanagers.on_this_machine(tmp_path, 1, "http://127.0.0.1:9/nobody")
    with alertmanagers.serving(tmp_path, file):
        log = (tmp_path / "alertmanager.log").read_text("utf-8")

    assert "Completed loading of configuration file" in log
    assert "retention" not in log


@pytest.mark.server
@pytest.mark.parametrize(("cause", "silent", "heard"), INHIBITED)
def test_what_keeps_what_silent(
    cause: str, silent: str, heard: str, manager: alertmanagers.Alertmanager
) -> None:
    """A real Alertmanager marks one as inhibited by its cause, and not the other."""
    alerts = [alert(one) for one in (cause, silent, heard)]
    manager.tell(*alerts)
    deadline = time.monotonic() + 10
    while len(found := manager.silent()) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    manager.tell(*alerts, ended=True)

    assert found == {cause: [], silent: [cause], heard: []}


DAY, NIGHT = range(9, 17), (22, 23, 0, 1, 2, 3, 4, 5)


@pytest.mark.server
@pytest.mark.parametrize(
    ("hours", "weekend", "heard"),
    [(DAY, False, True), (NIGHT, False, False), (DAY, True, False)],
    ids=["by day", "at night", "on a weekend"],
)
def test_warnings_wait_for_work(
    hours: range | tuple[int, ...],
    weekend: bool,
    heard: bool,
    slack: slack_server.Slack,
    tmp_path: Path,
) -> None:
    """A critical alert comes at any hour, a warning on workdays: the clock is this machine's, so
    the quiet hours are moved to a place on Earth where it is now as late as it should be."""
    quiet = alertmanagers.config()["time_intervals"]
    now = datetime.now(timezone.utc)
    offset = next(one for one in range(-12, 13) if (now.hour + one) % 24 in hours)
    here = now + timedelta(hours=offset)
    for named in quiet:
        for one in named["time_intervals"]:
            one["location"] = f"Etc/GMT{-offset:+d}"
            if "weekdays" in one:
                one["weekdays"] = [f"{here + timedelta(days=0 if weekend else 3):%A}".lower()]
    file = alertmanagers.on_this_machine(tmp_path, 600, slack.url, {"time_intervals": quiet})
    with alertmanagers.serving(tmp_path, file) as manager:
        manager.tell(ALERTS["GlinerVersionsDiffer"])
        time.sleep(1)
        manager.tell(ALERTS["GlinerDown"])
        alertmanagers.until(slack.taken, 1 + heard)
        time.sleep(0.5)

    expected = ["1 firing: GlinerDown", *(["1 firing: GlinerVersionsDiffer"] if heard else [])]
    assert sorted(slack.titles) == expected


@pytest.mark.server
def test_what_lasts_goes_further(slack: slack_server.Slack, tmp_path: Path) -> None:
    """A critical alert is repeated every hour and reaches those behind the team after four; a
    warning is in the digest after twelve. An hour is half a second here, and every contact point
    is Slack, under its own name."""
    hour = 0.5
    names = [one["name"] for one in alertmanagers.config()["receivers"]]
    slacks = [{"title": "{{ .Receiver }}", "text": "-", "fallback": "-", "username": ""}]
    changes = {
        "receivers": [{"name": name, "slack_configs": slacks} for name in names],
        "time_intervals": [
            {"name": one["name"], "time_intervals": [{"years": ["2000"]}]}
            for one in alertmanagers.config()["time_intervals"]
        ],
    }
    file = alertmanagers.on_this_machine(tmp_path, 3600 / hour, slack.url, changes)
    with alertmanagers.serving(tmp_path, file) as manager:
        manager.tell(ALERTS["GlinerDown"], ALERTS["GlinerVersionsDiffer"])
        time.sleep(3 * hour)
        early = Counter(slack.titles)
        time.sleep(4 * hour)
        later = Counter(slack.titles)
        time.sleep(7 * hour)
        late = Counter(slack.titles)

    assert set(early) == {"gliner-page", "gliner-chat"}
    assert early["gliner-page"] >= 2
    assert early["gliner-chat"] == 1
    assert set(later) == {"gliner-page", "gliner-chat", "gliner-lead"}
    assert later["gliner-lead"] == 1
    assert set(late) == {"gliner-page", "gliner-chat", "gliner-lead", "gliner-digest"}
