"""What Alloy makes of the lines of a real predictor, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import alloy_config
import alloy_stages
import pytest
from alloy_config import Block, Unreadable
from alloy_stages import Entry, nanoseconds

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "manifests" / "logging" / "loki" / "config.alloy"
CONFIG = alloy_config.read(FILE)
# What relabelling and the reader of files put on each line.
TARGET = {
    "namespace": "gliner",
    "app": "gliner",
    "container": "kserve-container",
    "pod": "gliner-predictor-00001-deployment-abc",
    "filename": "/var/log/pods/gliner_gliner-predictor_9d/kserve-container/0.log",
}
LABELS = {"namespace", "app", "container", "stream", "level", "endpoint"}
# When the container's runtime took a line.
AT = "2026-11-21T06:37:05.123456789Z"
# Every block that we use, with the settings that Alloy 1.18 documents for it.
KNOWN = {
    "discovery.kubernetes": {"role"},
    "selectors": {"role", "field", "label"},
    "discovery.relabel": {"targets"},
    "rule": {
        *("source_labels", "separator", "regex", "modulus", "target_label"),
        *("replacement", "action"),
    },
    "loki.source.file": {
        *("targets", "forward_to", "encoding", "legacy_positions_file"),
        *("on_positions_file_error", "tail_from_end"),
    },
    "file_match": {"enabled", "ignore_older_than", "sync_period"},
    "loki.process": {"forward_to"},
    "stage.cri": {"max_partial_lines", "max_partial_line_size", "max_partial_line_size_truncate"},
    "stage.json": {"expressions", "regex", "source", "drop_malformed"},
    "stage.template": {"source", "template"},
    "stage.timestamp": {"source", "format", "fallback_formats", "location", "action_on_failure"},
    "stage.labels": {"values", "source_type"},
    "stage.structured_metadata": {"values", "regex"},
    "stage.label_drop": {"values"},
    "loki.write": {"external_labels", "max_streams"},
    "endpoint": {
        *("url", "batch_size", "batch_wait", "remote_timeout", "tenant_id", "retry_on_http_429"),
        *("min_backoff_period", "max_backoff_period", "max_backoff_retries"),
    },
}


def stages() -> list[Block]:
    """The stages in their order."""
    [process] = CONFIG.all("loki.process")
    return process.blocks


def sent(lines: list[str]) -> list[Entry]:
    """What Loki gets of a container's lines."""
    return alloy_stages.process(stages(), lines, TARGET)


def in_container(line: str, flag: str = "F") -> str:
    """A line as the container's runtime keeps it."""
    return f"{AT} stderr {flag} {line}"


def blocks(of: Block) -> list[Block]:
    """All blocks, however deep."""
    return [one for block in of.blocks for one in (block, *blocks(block))]


def test_settings_are_documented() -> None:
    """No block and no setting is misspelt."""
    for block in blocks(CONFIG):
        assert set(block.settings) <= KNOWN[block.kind], block.kind


@pytest.mark.parametrize(
    ("old", "new"), [("stage.cri { }", "stage.cri {"), ('level    = "",', 'level    = "" endpoint')]
)
def test_reader_refuses(tmp_path: Path, old: str, new: str) -> None:
    """A brace or a comma that is missing is seen."""
    text = FILE.read_text("utf-8")
    assert old in text
    (tmp_path / "broken.alloy").write_text(text.replace(old, new, 1), encoding="utf-8")

    with pytest.raises(Unreadable):
        alloy_config.read(tmp_path / "broken.alloy")


def test_each_part_leads_to_the_next() -> None:
    """What a component is given exists: pods, files, stages, Loki."""
    exported = {f"{one.kind}.{one.label}" for one in CONFIG.blocks}
    given = [
        name
        for one in CONFIG.blocks
        for setting in ("targets", "forward_to")
        for name in _names(one.settings.get(setting))
    ]

    assert len(given) == 4
    assert {name.rpartition(".")[0] for name in given} <= exported


def _names(value: Any) -> list[str]:
    if isinstance(value, alloy_config.Name):
        return [value.text]
    return [one.text for one in value or []]


@pytest.mark.server
def test_requests(written: Any) -> None:
    """Each line is kept as it was written, at its own moment, with what it is searched by."""
    found = sent([in_container(line) for line in written.lines])

    assert [one.line for one in found] == list(written.lines)
    for entry, line in zip(found, written.objects, strict=True):
        assert entry.nanoseconds == nanoseconds(line["time"]) != nanoseconds(AT)
        assert entry.labels["level"] == line["level"]
        assert entry.labels.get("endpoint") == line.get("endpoint")
        for name in ("request_id", "trace_id", "model_version", "status", "error"):
            said = line.get(name)
            assert entry.metadata.get(name) == (None if said is None else str(said))


@pytest.mark.server
def test_labels_are_few(written: Any) -> None:
    """Nothing that a caller chooses, and nothing that is new with each pod, makes a stream."""
    for entry in sent([in_container(line) for line in written.everything]):
        assert set(entry.labels) <= LABELS
        assert entry.metadata["pod"] == TARGET["pod"]


@pytest.mark.server
def test_no_json_is_kept_and_marked(written: Any) -> None:
    """A crash keeps the runtime's moment and its text; so does a line of another program."""
    lines = [*written.crash, "error 3: no rows", "", "42", "[1]", '{"level": "INFO"', "{}"]
    assert written.crash

    found = sent([in_container(line) for line in lines])

    assert [one.line for one in found] == lines
    assert {one.labels["level"] for one in found} == {"unknown"}
    assert {one.nanoseconds for one in found} == {nanoseconds(AT)}


def test_long_line_is_put_together() -> None:
    """The runtime cuts a line at 16 KiB; Loki gets it whole."""
    line = json.dumps({"level": "ERROR", "time": "2026-11-21T06:37:04.713Z", "at": ["x" * 40_000]})
    parts = [line[:16_384], line[16_384:32_768], line[32_768:]]
    kept = [*(in_container(one, "P") for one in parts[:-1]), in_container(parts[-1])]

    [entry] = sent(kept)

    assert (entry.line, entry.labels["level"]) == (line, "ERROR")


def test_nothing_is_dropped() -> None:
    """No stage drops or cuts, and Loki is tried for as long as it takes."""
    [write] = CONFIG.all("loki.write")
    [endpoint] = write.all("endpoint")

    assert endpoint.settings["max_backoff_retries"] == 0
    assert not {"drop", "limit", "sampling", "match", "truncate"} & {
        one.kind.removeprefix("stage.") for one in stages()
    }
    assert "drop_malformed" not in stages()[1].settings


def test_only_our_namespaces() -> None:
    """Namespaces of the environments are read, and others are not."""
    [relabel] = CONFIG.all("discovery.relabel")
    [keep] = [one.settings for one in relabel.all("rule") if one.settings.get("action") == "keep"]

    found = {
        name: alloy_stages.matches(keep["regex"], name)
        for name in ("gliner", "gliner-dev", "gliner-staging", "mlflow", "kube-system", "mygliner")
    }

    assert [name for name, ours in found.items() if ours] == [
        *("gliner", "gliner-dev", "gliner-staging", "mlflow")
    ]
