"""Grafana's alert rules, and what they would say of a database: SQL, reduce, threshold, state."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from grafana_sql import QueryFailed, Series, Window, expand, query, series

ROOT = Path(__file__).resolve().parent.parent / "grafana"
ALERTING = ROOT / "provisioning" / "alerting"
EXPRESSION = "__expr__"
_COMPARE = {"gt": lambda value, limit: value > limit, "lt": lambda value, limit: value < limit}


@dataclass(frozen=True)
class Rule:
    """An alert rule as its file has it.

    Attributes:
        name: its title, which is the alert's name.
        file: where it stands.
    """

    name: str
    file: Path
    spec: dict[str, Any]

    @property
    def sql(self) -> str:
        """Its statement, with macros."""
        return str(self._node(lambda one: one["datasourceUid"] != EXPRESSION)["rawSql"])

    @property
    def reducer(self) -> str:
        """What makes one value of a series."""
        return str(self._node(lambda one: one["model"].get("type") == "reduce")["reducer"])

    @property
    def evaluator(self) -> dict[str, Any]:
        """What the value is compared with."""
        node = self._node(lambda one: one["refId"] == self.spec["condition"])
        evaluator: dict[str, Any] = node["conditions"][0]["evaluator"]
        return evaluator

    def window(self, now: float) -> Window:
        """The time range of its statement."""
        span = self.spec["data"][0]["relativeTimeRange"]
        return Window(int(now) - span["from"], int(now) - span["to"])

    def _node(self, wanted: Any) -> dict[str, Any]:
        [found] = [one["model"] for one in self.spec["data"] if wanted(one)]
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class Alert:
    """One instance of a rule after an evaluation.

    Attributes:
        state: `Normal`, `Alerting`, `NoData` or `Error`.
        annotations: with their templates filled in.
    """

    state: str
    labels: dict[str, str]
    value: float | None
    annotations: dict[str, str]


def load() -> list[Rule]:
    """All rules of all files."""
    return [
        Rule(str(spec["title"]), file, spec)
        for file in sorted(ALERTING.glob("rules-*.yaml"))
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
        for spec in group["rules"]
    ]


def named(name: str) -> Rule:
    """The rule of this name."""
    [found] = [rule for rule in load() if rule.name == name]
    return found


def evaluate(rule: Rule, connection: Any, now: float) -> list[Alert]:
    """What the rule says now; `for` is not waited for."""
    try:
        found = series(*query(connection, expand(rule.sql, rule.window(now))))
        _distinct(found)
    except QueryFailed as error:
        return [_without_value(rule, "Error", str(error))]
    if not found:
        return [_without_value(rule, "NoData", "")]
    return [_alert(rule, one) for one in found]


def states(alerts: Iterable[Alert], **labels: str) -> list[str]:
    """The states of those alerts that have these labels."""
    return [one.state for one in alerts if labels.items() <= one.labels.items()]


def _distinct(found: list[Series]) -> None:
    labels = [one.labels for one in found]
    if any(labels.count(one) > 1 for one in labels):
        raise QueryFailed("frame cannot uniquely be identified by its labels")


def _alert(rule: Rule, one: Series) -> Alert:
    assert rule.reducer == "last"
    value = one.points[-1][1]
    if value is None:
        return _without_value(rule, "NoData", "", one.labels)
    fires = _COMPARE[rule.evaluator["type"]](value, rule.evaluator["params"][0])
    labels = {**one.labels, **rule.spec["labels"], "alertname": rule.name}
    return Alert("Alerting" if fires else "Normal", labels, value, _filled(rule, labels, value))


def _without_value(rule: Rule, state: str, why: str, labels: dict[str, str] | None = None) -> Alert:
    setting = rule.spec["execErrState" if state == "Error" else "noDataState"]
    shown = "Normal" if setting == "OK" else str(setting)
    own = {**(labels or {}), **rule.spec["labels"], "alertname": rule.name}
    # Templates would have no value to show.
    words = {name: text for name, text in rule.spec["annotations"].items() if "{{" not in text}
    return Alert(shown, own, None, {**words, **({"error": why} if why else {})})


def _filled(rule: Rule, labels: dict[str, str], value: float) -> dict[str, str]:
    """Annotations with the two kinds of templates that ours use."""

    def filled(text: str) -> str:
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        return re.sub(
            r'{{ printf "(%[^"]+)" \$values\.B\.Value }}', lambda found: found[1] % value, text
        )

    return {name: filled(text) for name, text in rule.spec["annotations"].items()}
