"""The provisioning files are what Grafana documents, and their names lead somewhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_format import AlertingFile, DataSourceFile
from grafana_rules import EXPRESSION, ROOT, load
from pydantic import ValidationError

FILES = [
    *sorted((ROOT / "provisioning" / "alerting").glob("*.yaml")),
    *sorted((ROOT / "contact-points").glob("*.yaml")),
]
SOURCES = ROOT / "provisioning" / "datasources" / "gliner.yaml"
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
RUNBOOKS = ROOT.parent / "docs" / "alerts.md"
ALERTS = {
    *("GlinerNoNewVersion", "GlinerNoEvaluation", "GlinerF1BelowFloor", "GlinerF1AboveCeiling"),
    *("GlinerF1Regression", "GlinerLabelCollapsed", "GlinerPipelineFailing"),
    *("GlinerReviewWaiting", "GlinerRollback", "GlinerDatabaseSilent"),
}


def parsed(file: Path) -> AlertingFile:
    """A file of alerting as its format has it."""
    return AlertingFile.model_validate(yaml.safe_load(file.read_text("utf-8")))


@pytest.fixture(scope="module")
def alerting() -> AlertingFile:
    """All files of alerting as one."""
    every: dict[str, Any] = {"apiVersion": 1}
    for file in FILES:
        for key, value in yaml.safe_load(file.read_text("utf-8")).items():
            if key != "apiVersion":
                every.setdefault(key, []).extend(value)
    return AlertingFile.model_validate(every)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_format(file: Path) -> None:
    """Each file has the documented keys and no others."""
    found = parsed(file)

    assert found.model_fields_set > {"apiVersion"}


def test_format_is_strict() -> None:
    """A misspelt key, an unknown state and a secret in the open are refused."""
    rules = (ROOT / "provisioning/alerting/rules-database.yaml").read_text("utf-8")
    slack = (ROOT / "contact-points/slack.yaml").read_text("utf-8")

    for text, old, new in (
        (rules, "noDataState", "nodataState"),
        (rules, "noDataState: Alerting", "noDataState: Firing"),
        (rules, "for: 3m", "for: 3 minutes"),
        # pragma: allowlist nextline secret
        (slack, "url: $GLINER_SLACK_WEBHOOK_URL", "url: https://hooks.slack.com/services/T0/B0/x"),
    ):
        assert old in text
        with pytest.raises(ValidationError):
            AlertingFile.model_validate(yaml.safe_load(text.replace(old, new)))


def test_every_alert_is_there() -> None:
    """The rules are those that we promise."""
    assert sorted(ALERTS) == sorted(rule.name for rule in load())


def test_uids_are_unique(alerting: AlertingFile) -> None:
    """No two rules, receivers, data sources or dashboards share a uid."""
    uids = [rule.uid for group in alerting.groups for rule in group.rules]
    uids += [one.uid for point in alerting.contactPoints for one in point.receivers]
    uids += [one.uid for one in data_sources().datasources]
    uids += [json.loads(file.read_text("utf-8"))["uid"] for file in DASHBOARDS]

    assert {uid: count for uid, count in Counter(uids).items() if count > 1} == {}


def data_sources() -> DataSourceFile:
    """The file of data sources."""
    return DataSourceFile.model_validate(yaml.safe_load(SOURCES.read_text("utf-8")))


def test_expressions_lead_to_the_query(alerting: AlertingFile) -> None:
    """Each rule is a query of a data source that exists, its reduction and its threshold."""
    known = {one.uid: one.type for one in data_sources().datasources}
    for group in alerting.groups:
        for rule in group.rules:
            query, reduced, compared = rule.data
            assert known[query.datasourceUid] == "mysql", rule.title
            assert {EXPRESSION} == {reduced.datasourceUid, compared.datasourceUid}, rule.title
            assert query.refId == getattr(reduced.model, "expression", ""), rule.title
            assert reduced.refId == getattr(compared.model, "expression", ""), rule.title
            assert compared.refId == rule.condition, rule.title
            assert all(one.refId == one.model.refId for one in rule.data), rule.title


def test_rules_are_in_the_dashboards_folder(alerting: AlertingFile) -> None:
    """Alerts and dashboards lie in one folder."""
    providers = yaml.safe_load((ROOT / "provisioning/dashboards/gliner.yaml").read_text("utf-8"))

    assert {one["folder"] for one in providers["providers"]} == {
        group.folder for group in alerting.groups
    }


def test_dashboard_links(alerting: AlertingFile) -> None:
    """Each rule names a panel that exists, and both places name the same."""
    panels = {
        board["uid"]: {panel["id"] for panel in board["panels"] if panel["type"] != "text"}
        for board in (json.loads(file.read_text("utf-8")) for file in DASHBOARDS)
    }
    for group in alerting.groups:
        for rule in group.rules:
            assert rule.panelId in panels[rule.dashboardUid], rule.title
            assert rule.annotations.dashboard == rule.dashboardUid, rule.title
            assert rule.annotations.panel == str(rule.panelId), rule.title


def test_runbooks(alerting: AlertingFile) -> None:
    """Each rule leads to a section of its own, with the four questions answered."""
    sections = dict(
        re.findall(r"^## (Gliner\w+)\n(.*?)(?=^## |\Z)", RUNBOOKS.read_text("utf-8"), re.M | re.S)
    )
    for group in alerting.groups:
        for rule in group.rules:
            assert rule.annotations.runbook_url.endswith(f"/alerts.md#{rule.title.lower()}")
            for question in ("It means:**", "See it:**", "Do:**", "Over when:**"):
                assert f"**{question}" in sections[rule.title], (rule.title, question)


def test_no_variables_where_none_are_expanded(alerting: AlertingFile) -> None:
    """Annotations, templates and titles hold no `$NAME` that Grafana would blank."""
    texts = [one.template for one in alerting.templates]
    for group in alerting.groups:
        for rule in group.rules:
            texts += [rule.title, rule.annotations.summary, rule.annotations.description]
    for text in texts:
        bare = re.sub(r"\$(labels|values)\b", "", text)
        assert "$" not in bare, text


def test_settings_and_limits_are_documented() -> None:
    """Each variable and each tag that a file reads is in a document, and none besides."""
    files = [*FILES, SOURCES, ROOT / "provision.sh"]
    text = "".join(file.read_text("utf-8") for file in files)

    for pattern, document in (
        (r"GLINER_[A-Z_]+", ROOT / "README.md"),
        (r"(?<=['`])alert\.[a-z_0-9]+(?=['`])", RUNBOOKS),
    ):
        said = set(re.findall(pattern, document.read_text("utf-8")))
        assert len(said) > 5
        assert set(re.findall(pattern, text)) == said, document.name


def test_limits_are_documented_with_their_defaults() -> None:
    """The number in the statement is the one in the table."""
    text = RUNBOOKS.read_text("utf-8")
    table = dict(re.findall(r"^\| `(alert\.\w+)` \| ([\d.]+) \|", text, re.M))
    found: dict[str, str] = {}
    for rule in load():
        for tag in re.findall(r"'(alert\.\w+)'\n\s+AND l\.value REGEXP", rule.sql):
            defaults = re.findall(r"COALESCE\((?:MAX\()?l\.value\)?, '?([\d.]+)'?\)", rule.sql)
            assert {found.setdefault(tag, defaults[0])} == set(defaults), rule.name

    assert table == found


def test_templates_exist(alerting: AlertingFile) -> None:
    """What contact points and templates use is defined somewhere."""
    text = "".join(file.read_text("utf-8") for file in FILES)

    defined = set(re.findall(r'{{ define "([\w.]+)"', text))

    assert defined == set(re.findall(r'{{ template "([\w.]+)"', text))


def test_policies_lead_somewhere(alerting: AlertingFile) -> None:
    """Receivers and mute times of policies exist without any optional file."""
    [policy] = alerting.policies
    always = parsed(ROOT / "provisioning/alerting/contact-points.yaml").contactPoints
    muted = {one.name for one in alerting.muteTimes}

    used = [policy.receiver, *(one.receiver for one in policy.routes)]

    assert set(used) == {one.name for one in always}
    assert muted == {name for one in policy.routes for name in one.mute_time_intervals}
