"""The provisioning files' format as Grafana documents it, strict about what it does not know.

Grafana itself ignores a key that it does not know, so a misspelt one would only show as an alert
that never comes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Duration = Annotated[str, StringConstraints(pattern=r"^(0s|[1-9]\d*(s|m|h|d|w))$")]
# Grafana takes 40 characters of these.
Uid = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{2,39}$")]
Label = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Setting = Annotated[str, StringConstraints(pattern=r"^\$GLINER_[A-Z_]+$")]
Matcher = tuple[Text, Literal["=", "!=", "=~", "!~"], Text]


class Strict(BaseModel):
    """Refuses unknown keys and values of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Range(Strict):
    """Seconds before now; `from` is the older end."""

    start: int = Field(alias="from", ge=0, le=7 * 86_400)
    to: int = Field(ge=0)


class SqlModel(Strict):
    """A query of the MySQL data source."""

    refId: str
    format: Literal["time_series", "table"]
    rawQuery: Literal[True]
    rawSql: Text


class Evaluator(Strict):
    """What a value is compared with."""

    type: Literal["gt", "lt", "within_range", "outside_range"]
    params: list[float | int] = Field(min_length=1, max_length=2)


class Condition(Strict):
    """One comparison of a threshold."""

    evaluator: Evaluator


class Reduce(Strict):
    """One value of a series."""

    refId: str
    type: Literal["reduce"]
    expression: str
    reducer: Literal["last", "min", "max", "mean", "sum", "count"]


class Threshold(Strict):
    """Whether the value is past its limit."""

    refId: str
    type: Literal["threshold"]
    expression: str
    conditions: list[Condition] = Field(min_length=1, max_length=1)


class Node(Strict):
    """One query or expression of a rule."""

    refId: str
    relativeTimeRange: Range
    datasourceUid: str
    model: SqlModel | Reduce | Threshold


class RuleLabels(Strict):
    """What policies route by."""

    severity: Literal["critical", "warning", "info"]
    service: Literal["gliner"]


class Annotations(Strict):
    """What a person reads."""

    summary: Annotated[str, StringConstraints(min_length=10, max_length=160)]
    description: Annotated[str, StringConstraints(min_length=40)]
    runbook_url: Annotated[str, StringConstraints(pattern=r"^https://\S+#[a-z0-9-]+$")]
    dashboard: str = Field(alias="__dashboardUid__")
    panel: Annotated[str, StringConstraints(pattern=r"^\d+$")] = Field(alias="__panelId__")


class Rule(Strict):
    """An alert rule."""

    uid: Uid
    title: Annotated[str, StringConstraints(pattern=r"^Gliner[A-Za-z0-9]+$")]
    condition: str
    hold: Duration = Field(alias="for")
    noDataState: Literal["NoData", "Alerting", "OK", "KeepLast"]
    execErrState: Literal["Error", "Alerting", "OK", "KeepLast"]
    dashboardUid: Uid
    panelId: int
    labels: RuleLabels
    annotations: Annotations
    data: list[Node] = Field(min_length=1)


class Group(Strict):
    """Rules that are evaluated together."""

    orgId: Literal[1]
    name: Text
    folder: Text
    interval: Duration
    rules: list[Rule] = Field(min_length=1)


class SlackSettings(Strict):
    """Of the type slack, with an incoming webhook."""

    url: Setting
    title: Text
    text: Text
    mentionChannel: Literal["here", "channel"] | None = None


class EmailSettings(Strict):
    """Of the type email."""

    addresses: Setting | Literal["nobody@localhost"]
    singleEmail: bool = False
    subject: Text | None = None
    message: Text | None = None


class PagerDutySettings(Strict):
    """Of the type pagerduty."""

    integrationKey: Setting
    severity: Literal["critical", "error", "warning", "info"]
    class_: str | None = Field(None, alias="class")
    component: str | None = None
    summary: Text


class Slack(Strict):
    uid: Uid
    type: Literal["slack"]
    settings: SlackSettings


class Email(Strict):
    uid: Uid
    type: Literal["email"]
    settings: EmailSettings


class PagerDuty(Strict):
    uid: Uid
    type: Literal["pagerduty"]
    settings: PagerDutySettings


class ContactPoint(Strict):
    """Several receivers under one name."""

    orgId: Literal[1]
    name: Text
    receivers: list[Slack | Email | PagerDuty] = Field(min_length=1)


class Route(Strict):
    """A branch of the tree of policies."""

    receiver: Text
    object_matchers: list[Annotated[Matcher, BeforeValidator(_as_tuple)]] = Field(min_length=1)
    group_by: list[Label] = Field(default_factory=list)
    mute_time_intervals: list[Text] = Field(default_factory=list)
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration
    continue_: bool = Field(False, alias="continue")
    routes: list[Route] = Field(default_factory=list)


class Policy(Strict):
    """The root: it matches everything and can have no mute times."""

    orgId: Literal[1]
    receiver: Text
    group_by: list[Label] = Field(min_length=1)
    group_wait: Duration
    group_interval: Duration
    repeat_interval: Duration
    routes: list[Route]


Clock = Annotated[str, StringConstraints(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]


class Times(Strict):
    """A part of a day; it cannot pass midnight."""

    start_time: Clock
    end_time: Clock


class Interval(Strict):
    """When something is muted."""

    times: list[Times] = Field(default_factory=list)
    weekdays: list[Text] = Field(default_factory=list)
    location: Text


class MuteTime(Strict):
    """Intervals under a name that policies use."""

    orgId: Literal[1]
    name: Text
    time_intervals: list[Interval] = Field(min_length=1)


class Template(Strict):
    """A set of message templates."""

    orgId: Literal[1]
    name: Text
    template: Text


class AlertingFile(Strict):
    """Any file in `provisioning/alerting`."""

    apiVersion: Literal[1]
    groups: list[Group] = Field(default_factory=list)
    contactPoints: list[ContactPoint] = Field(default_factory=list)
    policies: list[Policy] = Field(default_factory=list)
    muteTimes: list[MuteTime] = Field(default_factory=list)
    templates: list[Template] = Field(default_factory=list)


class DerivedField(Strict):
    """A link that a field of a log line becomes."""

    name: Text
    matcherType: Literal["label", "regex"]
    matcherRegex: Text
    # A single dollar sign before the brace would be blanked when Grafana starts.
    url: Annotated[str, StringConstraints(pattern=r"^\$GLINER_[A-Z_]+/\$\$\{__value\.raw\}$")]


class MySqlData(Strict):
    """What the MySQL data source has of its own."""

    database: Setting
    maxOpenConns: int
    maxIdleConns: int
    connMaxLifetime: int


class PrometheusData(Strict):
    """What the Prometheus data source has of its own."""

    httpMethod: Literal["POST", "GET"]
    timeInterval: Duration


class LokiData(Strict):
    """What the Loki data source has of its own."""

    maxLines: int
    derivedFields: list[DerivedField] = Field(default_factory=list)


class DataSource(Strict):
    """Where queries go."""

    name: Text
    uid: Uid
    type: Literal["mysql", "prometheus", "loki"]
    access: Literal["proxy"]
    url: Setting
    user: Setting | None = None
    jsonData: MySqlData | PrometheusData | LokiData
    secureJsonData: dict[str, Setting] = Field(default_factory=dict)
    editable: Literal[False]


class DataSourceFile(Strict):
    """A file in `provisioning/datasources`."""

    apiVersion: Literal[1]
    datasources: list[DataSource] = Field(min_length=1)
