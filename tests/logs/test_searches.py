"""Saved queries: Grafana's on Loki, the documents' of both kinds, and Kibana's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import alloy_config
import alloy_stages
import filebeat_events as filebeat
import grafana_boards as boards
import kql
import logql
import pytest
import yaml
from alloy_stages import Entry

ROOT = Path(__file__).resolve().parents[2]
LOGGING = ROOT / "manifests" / "logging"
SAVED = [
    json.loads(line)
    for line in (LOGGING / "elastic" / "searches.ndjson").read_text("utf-8").splitlines()
]
DOCUMENT = (ROOT / "docs" / "logs.md").read_text("utf-8")
PANELS = {one.where.partition("/")[2]: one.text for one in boards.queries("gliner-loki")}
LABELS = {"namespace", "app", "container", "stream", "level", "endpoint"}
METADATA = {"request_id", "trace_id", "model_version", "status", "error", "pod"}
TARGET = {"namespace": "gliner", "app": "gliner", "container": "kserve-container", "pod": "p"}
AT = "2026-11-21T06:37:05.123456789Z"
MINE, ABSENT = "refused-1", "nobody-sent-this"


def queries() -> list[str]:
    """All LogQL of the dashboard and of the document."""
    listed = [text for name, text in PANELS.items() if "$app" not in name[:5]]
    return [*listed, *_fenced("logql")]


def _fenced(language: str) -> list[str]:
    return [
        line
        for block in re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.M | re.S)
        for line in block.splitlines()
        if line.strip() and not line.startswith("#")
    ]


def ready(text: str, **values: str) -> Any:
    """A query as Grafana sends it."""
    known = {"app": ".+", "request": MINE, "trace": "no", "slow": "0", **values}
    for name in ("range", "auto"):
        text = text.replace(f"$__{name}", "3h")
    return logql.parse(boards.filled(text, known))


def panel(title: str, **values: str) -> Any:
    """The query of a panel."""
    [text] = [text for name, text in PANELS.items() if name.endswith(f" {title}")]
    return ready(text, **values)


@pytest.fixture(scope="module")
def entries(written: Any) -> list[Entry]:
    """What Loki has."""
    [process] = alloy_config.read(LOGGING / "loki" / "config.alloy").all("loki.process")
    lines = [f"{AT} stderr F {line}" for line in written.everything]
    return alloy_stages.process(process.blocks, lines, TARGET)


@pytest.fixture(scope="module")
def events(written: Any) -> list[filebeat.Event]:
    """What Elasticsearch has."""
    stack = yaml.safe_load((LOGGING / "elastic" / "stack.yaml").read_text("utf-8"))
    processors = stack["eck-beats"]["config"]["processors"]
    return [filebeat.process(processors, line, AT) for line in written.everything]


@pytest.mark.server
@pytest.mark.parametrize("text", queries())
def test_logql_names_what_lines_have(written: Any, text: str) -> None:
    """Each query can be read, selects by labels, and asks for fields that lines have."""
    found = ready(text)
    query = found.query if isinstance(found, logql.Counting) else found
    fields = {name for line in written.objects for name in line}

    assert set(query.labels) <= LABELS
    assert set(query.fields) <= LABELS | METADATA | (fields if query.parsed else set())
    if isinstance(found, logql.Counting):
        assert set(found.by) <= LABELS | METADATA


@pytest.mark.parametrize(
    "text",
    [
        *('{app="gliner"', '{app=~".*"}', '{app="gliner"} | level', '{app="gliner"} | ms > "5"'),
        *('{app="gliner"} | json | ms =~ 5', 'rate({app="gliner"}[5m])'),
    ],
)
def test_wrong_logql_is_refused(text: str) -> None:
    """The reader takes no nonsense, and nothing that Loki would refuse."""
    with pytest.raises(logql.Refused):
        logql.parse(text)


@pytest.mark.server
def test_lines_of_one_request(written: Any, entries: list[Entry]) -> None:
    """They are those with its id and no others; without an id there are none."""
    wanted = [line for line in written.lines if json.loads(line).get("request_id") == MINE]
    assert wanted

    assert panel("All lines of one request").lines(entries) == wanted
    assert panel("All lines of one request", request=ABSENT).lines(entries) == []
    assert panel("All lines of one request", request="").lines(entries) == []


@pytest.mark.server
def test_lines_of_one_trace(written: Any, entries: list[Entry]) -> None:
    """A trace leads to the request that was made under it."""
    [trace] = {one["trace_id"] for one in written.objects if "trace_id" in one}

    [line] = panel("All lines of one trace", trace=trace).lines(entries)

    assert json.loads(line)["request_id"] == written.traced


@pytest.mark.server
def test_errors_by_kind(written: Any, entries: list[Entry]) -> None:
    """The numbers are those of the lines."""
    counts = panel("Errors by kind").counts(entries)
    kinds = [one["error"] for one in written.objects if "error" in one]

    assert {(kind,): kinds.count(kind) for kind in kinds} == counts
    assert {("invalid_request",), ("not_found",)} <= set(counts)


@pytest.mark.server
def test_what_is_no_json(written: Any, entries: list[Entry]) -> None:
    """A crash is found; the stat counts it once it is the predictor's own container."""
    others = len(written.everything) - len(written.lines)

    assert len(panel("What is no JSON").lines(entries)) == others
    assert panel("Crash output").counts(entries) == {(): others}


@pytest.mark.server
def test_slow_and_versions(written: Any, entries: list[Entry]) -> None:
    """Requests are told by their milliseconds, and a start is found."""
    slowest = max(one["ms"] for one in written.objects if "ms" in one)

    [line] = panel("Slow requests", slow=str(slowest - 0.005)).lines(entries)
    assert json.loads(line)["ms"] == slowest
    assert any('"serving"' in line for line in panel("Versions").lines(entries))


def searches() -> dict[str, str]:
    """Kibana's searches and tables: their KQL by their id."""
    return {
        one["id"]: json.loads(one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])[
            "query"
        ]["query"]
        for one in SAVED
        if one["type"] != "index-pattern"
    }


def test_saved_objects() -> None:
    """Each names the view of the indices, which comes first, and has its own id."""
    view, *others = SAVED
    assert (view["type"], view["attributes"]["title"]) == ("index-pattern", "filebeat-*")
    assert len({one["id"] for one in SAVED}) == len(SAVED)
    for one in others:
        [lead] = one["references"]
        assert (lead["type"], lead["id"]) == ("index-pattern", view["id"])
        source = json.loads(one["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        assert source["indexRefName"] == lead["name"]
        assert source["query"]["language"] == "kuery"
        assert one["attributes"]["title"].startswith("GLiNER: ")


@pytest.mark.server
@pytest.mark.parametrize("text", [*searches().values(), *_fenced("kql")])
def test_kql_names_what_events_have(events: list[filebeat.Event], text: str) -> None:
    """Each can be read and asks for fields that events have."""
    kql.parse(text)
    asked = kql.fields(text)

    assert asked
    for name in asked:
        assert any(filebeat.value(event, name) is not None for event in events), name


@pytest.mark.parametrize("text", ["gliner.ms", "a : ", "a : b c", "(a : b", "a : b or"])
def test_wrong_kql_is_refused(text: str) -> None:
    """The reader takes no nonsense."""
    with pytest.raises((kql.Refused, IndexError)):
        kql.parse(text)


@pytest.mark.server
def test_columns_exist(events: list[filebeat.Event]) -> None:
    """A column is a field of some line, or of the lines about failures and swaps."""
    code = "".join(file.read_text("utf-8") for file in (ROOT / "predictor").glob("*.py"))
    for one in SAVED:
        for column in one["attributes"].get("columns", []):
            known = any(filebeat.value(event, column) is not None for event in events)
            name = column.removeprefix("gliner.")
            assert known or column.startswith("kubernetes.") or f'"{name}"' in code, column


@pytest.mark.server
def test_kibana_finds_what_grafana_finds(written: Any, events: list[filebeat.Event]) -> None:
    """One request, one trace, errors, and what is no JSON."""
    saved = searches()
    request = kql.parse(saved["gliner-one-request"].replace("REQUEST-ID", MINE))
    trace = kql.parse(saved["gliner-one-trace"].replace("TRACE-ID", _trace(written)))
    errors = kql.parse(saved["gliner-errors-by-kind"])
    crash = kql.parse(saved["gliner-no-json"])

    assert [one["gliner"]["request_id"] for one in events if request(one)] == [MINE]
    assert [one["gliner"]["request_id"] for one in events if trace(one)] == [written.traced]
    assert [one["gliner"]["error"] for one in events if errors(one)] == [
        one["error"] for one in written.objects if "error" in one
    ]
    others = len(written.everything) - len(written.lines)
    assert sum(crash(one) for one in events) == others


def _trace(written: Any) -> str:
    [found] = {one["trace_id"] for one in written.objects if "trace_id" in one}
    return str(found)


@pytest.mark.server
def test_two_requests_are_told_apart(events: list[filebeat.Event]) -> None:
    """The search as it is saved, with nothing filled in, finds nothing."""
    assert not any(map(kql.parse(searches()["gliner-one-request"]), events))
