"""The labelled sample in `examples/` and the requests beside it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import servers

EXAMPLES = Path(__file__).parents[2] / "examples"
LABELS = {"person", "organization", "location", "date", "product", "event"}
# GLiNER's own, written out: what is split otherwise here would be read otherwise there.
WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")
REQUESTS = sorted((EXAMPLES / "requests").glob("*.json"))


def rows(part: str) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for file in sorted((EXAMPLES / part).glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]


def text(row: dict[str, Any]) -> str:
    return " ".join(row["tokenized_text"])


@pytest.mark.parametrize("part", ["eval", "train"])
def test_every_line_is_in_the_training_format(part: str) -> None:
    """A row has words and spans inside them, in order, without overlap, with known labels."""
    for row in rows(part):
        before = -1
        assert set(row) == {"tokenized_text", "ner"}
        for start, end, label in row["ner"]:
            assert before < start <= end < len(row["tokenized_text"]), text(row)
            assert label in LABELS, text(row)
            before = end


@pytest.mark.parametrize("part", ["eval", "train"])
def test_words_are_those_that_gliner_splits(part: str) -> None:
    """A model that reads the text sees the words that were annotated."""
    for row in rows(part):
        assert WORD.findall(text(row)) == row["tokenized_text"]


@pytest.mark.parametrize(("part", "sentences"), [("eval", 90), ("train", 60)])
def test_each_label_is_there_often_enough(part: str, sentences: int) -> None:
    """Each label has at least 20 mentions, and about one sentence in ten has none."""
    found = rows(part)
    counts = Counter(label for row in found for *_, label in row["ner"])
    empty = sum(not row["ner"] for row in found)

    assert len(found) == sentences
    assert set(counts) == LABELS
    assert min(counts.values()) >= 20
    assert 0.05 <= empty / sentences <= 0.15


def test_no_sentence_is_there_twice() -> None:
    """Nothing is in both parts, nor twice in one, whatever its case."""
    seen = Counter(text(row).casefold() for part in ("eval", "train") for row in rows(part))

    assert [one for one, count in seen.items() if count > 1] == []


def test_a_name_has_one_label_everywhere() -> None:
    """A name that occurs twice has one label."""
    labels: dict[str, set[str]] = {}
    for part in ("eval", "train"):
        for row in rows(part):
            for start, end, label in row["ner"]:
                name = " ".join(row["tokenized_text"][start : end + 1])
                labels.setdefault(name, set()).add(label)

    assert {name: kinds for name, kinds in labels.items() if len(kinds) > 1} == {}


def test_the_readme_counts_right() -> None:
    """The table of the README says how many sentences and mentions each file has."""
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    for file in sorted(EXAMPLES.glob("*/*.jsonl")):
        found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        name = file.relative_to(EXAMPLES).as_posix()
        mentions = sum(len(row["ner"]) for row in found)
        assert f"({name}) | {len(found)} | {mentions} |" in readme


@pytest.mark.server
@pytest.mark.parametrize("file", REQUESTS, ids=lambda file: file.stem)
def test_a_request_to_copy_is_answered(file: Path, server: servers.RunningServer) -> None:
    """Every request body finds something in every text."""
    body = json.loads(file.read_text(encoding="utf-8"))
    path = "/v2/models/gliner/infer" if "inputs" in body else "/v1/models/gliner:predict"

    answer = server.http.post(path, json=body)

    assert answer.status_code == 200, answer.text
    if "inputs" not in body:
        assert all(one["entities"] for one in answer.json()["predictions"])
    else:
        columns = {one["name"]: one["data"] for one in answer.json()["outputs"]}
        assert all(columns.values())
        assert "[]" not in columns.get("entities", [])
