"""What Filebeat makes of the lines of a real predictor, and how Elasticsearch keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import filebeat_events as filebeat
import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "manifests" / "logging" / "elastic"
STACK: dict[str, Any] = yaml.safe_load((FOLDER / "stack.yaml").read_text("utf-8"))
BEATS: dict[str, Any] = STACK["eck-beats"]
CONFIG: dict[str, Any] = BEATS["config"]
AT = "2026-11-21T06:37:05.123Z"
# What the charts of eck-stack 0.20 take.
CHARTS = {
    "eck-elasticsearch": {"enabled", "fullnameOverride", "version", "nodeSets"},
    "eck-kibana": {"enabled", "fullnameOverride", "version", "count", "elasticsearchRef"},
    "eck-beats": {
        *("enabled", "fullnameOverride", "version", "type", "elasticsearchRef", "kibanaRef"),
        *("serviceAccount", "clusterRole", "clusterRoleBinding", "config", "daemonSet"),
    },
}
# What Filebeat 9.5 documents of what we use.
SETTINGS = {
    *("filebeat.inputs", "processors", "setup.template.append_fields", "setup.template.overwrite"),
    *("setup.ilm.enabled", "setup.ilm.policy_name", "setup.ilm.policy_file"),
    "setup.ilm.overwrite",
}
INPUT = {
    *("type", "id", "paths", "parsers", "prospector.scanner.symlinks", "file_identity.fingerprint"),
    *("prospector.scanner.fingerprint.enabled", "prospector.scanner.fingerprint.length"),
}


def sent(line: str) -> filebeat.Event:
    """What Elasticsearch gets of a line."""
    return filebeat.process(CONFIG["processors"], line, AT)


def test_keys_are_documented() -> None:
    """No key of the charts and none of Filebeat's is misspelt."""
    assert {name: set(values) for name, values in STACK.items()} == CHARTS
    assert set(CONFIG) == SETTINGS
    [read] = CONFIG["filebeat.inputs"]
    assert set(read) == INPUT


def test_parts_find_each_other() -> None:
    """Kibana and Filebeat name the Elasticsearch that is made; mounts have their volumes."""
    name = STACK["eck-elasticsearch"]["fullnameOverride"]
    assert {name} == {STACK[one]["elasticsearchRef"]["name"] for one in ("eck-kibana", "eck-beats")}
    assert BEATS["kibanaRef"]["name"] == STACK["eck-kibana"]["fullnameOverride"]
    assert len({STACK[one]["version"] for one in STACK}) == 1
    pod = BEATS["daemonSet"]["podTemplate"]["spec"]
    [container] = pod["containers"]
    assert {one["name"] for one in container["volumeMounts"]} == {
        one["name"] for one in pod["volumes"]
    }
    made = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))
    [maps] = made["configMapGenerator"]
    assert {"name": "policy", "configMap": {"name": maps["name"]}} in pod["volumes"]
    [policy] = [one for one in container["volumeMounts"] if one["name"] == "policy"]
    assert f"{policy['mountPath']}/{maps['files'][0]}" == CONFIG["setup.ilm.policy_file"]


def test_retention() -> None:
    """Lines are deleted after a month, and not before."""
    policy = json.loads((FOLDER / "policy.json").read_text("utf-8"))

    assert policy["policy"]["phases"]["delete"]["min_age"] == "30d"


@pytest.mark.server
def test_requests(written: Any) -> None:
    """Each line is kept as it was written, at its own moment, and taken apart below `gliner`."""
    for line, said in zip(written.lines, written.objects, strict=True):
        event = sent(line)
        assert event["message"] == line
        assert event["@timestamp"] == said["time"] != AT
        assert event["log"]["level"] == said["level"]
        assert filebeat.value(event, "trace.id") == said.get("trace_id")
        status = {"status": str(said["status"])} if "status" in said else {}
        assert event["gliner"] == {**said, **status}


@pytest.mark.server
def test_no_json_is_kept_and_marked(written: Any) -> None:
    """A crash keeps the runtime's moment and its text; so does a line of another program."""
    for line in [*written.crash, "error 3: no rows", "", "42", "[1]", '{"level": "INFO"', "{}"]:
        event = sent(line)
        assert (event["message"], event["@timestamp"]) == (line, AT)
        assert event["log"]["level"] == "unknown"
        # A number or a list here would make Elasticsearch refuse the line.
        assert isinstance(event.get("gliner", {}), dict)


@pytest.mark.server
def test_fields_have_one_type(written: Any) -> None:
    """Elasticsearch takes a field's type from the first line that has it, and refuses a line of
    another type. What differs between lines is told to it beforehand."""
    told = {one["name"]: one["type"] for one in CONFIG["setup.template.append_fields"]}
    types: dict[str, set[str]] = {}
    for line in written.lines:
        for name, value in sent(line)["gliner"].items():
            types.setdefault(f"gliner.{name}", set()).add(type(value).__name__)

    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}
    assert {name for name, kinds in types.items() if "float" in kinds} <= {
        name for name, kind in told.items() if kind == "double"
    }
    assert {"gliner.status", "gliner.request_id", "gliner.error", "gliner.ms"} <= set(types)


@pytest.mark.parametrize("line", ["", "x"])
def test_short_files_are_read(line: str) -> None:
    """A file is known by so few bytes that a step which said one line is read."""
    [read] = CONFIG["filebeat.inputs"]

    shortest = len(f"2026-11-21T06:37:05.123456789Z stdout F promoted: version 7 {line}\n")

    assert read["prospector.scanner.fingerprint.length"] == 64 <= shortest + 8
