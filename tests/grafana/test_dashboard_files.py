"""The dashboards' files: what they name exists, and a person can read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grafana_boards as boards
import pytest
import yaml
from grafana_rules import ROOT

BOARDS = boards.boards()
PANELS = [
    pytest.param(board, panel, id=f"{file.stem}-{panel['id']}")
    for file, board in BOARDS
    for panel in board["panels"]
]
SOURCES = {
    one["uid"]: one["type"]
    for one in yaml.safe_load((ROOT / "provisioning/datasources/gliner.yaml").read_text("utf-8"))[
        "datasources"
    ]
}


def test_all_five_are_there() -> None:
    """Each dashboard has its title and a uid that links can name."""
    assert {board["uid"]: board["title"] for _, board in BOARDS} == {
        "gliner-model-quality": "Model quality",
        "gliner-pipeline": "Pipeline",
        "gliner-service": "Service",
        "gliner-resources": "Resources",
        "gliner-logs": "Logs",
    }


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_panel(board: dict[str, Any], panel: dict[str, Any]) -> None:
    """A panel explains itself, has a unit and thresholds, and asks a data source that exists."""
    if panel["type"] == "text":
        assert "**Good:**" in panel["options"]["content"]
        return
    assert panel["description"].endswith(".")
    if panel["type"] != "logs":
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"]
        assert defaults["thresholds"]["steps"][0]["value"] is None
    for target in panel["targets"]:
        assert SOURCES[target["datasource"]["uid"]] == target["datasource"]["type"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)


@pytest.mark.parametrize(("file", "board"), BOARDS, ids=lambda one: getattr(one, "stem", ""))
def test_layout(file: Path, board: dict[str, Any]) -> None:
    """What good looks like comes first; panels fit the grid and none lies on another."""
    assert board["panels"][0]["type"] == "text"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_links_to_the_others() -> None:
    """Each dashboard links to the others, with the time range."""
    uids = {board["uid"] for _, board in BOARDS}
    for _, board in BOARDS:
        assert {link["url"] for link in board["links"]} == {
            f"/d/{uid}" for uid in uids - {board["uid"]}
        }
        assert all(link["keepTime"] for link in board["links"])


def test_variables_exist() -> None:
    """A query names no variable that its dashboard does not have."""
    for source in SOURCES:
        for query in boards.queries(source):
            [board] = [one for file, one in BOARDS if file.stem == query.where.split("/")[0]]
            boards.filled(query.text, {one["name"]: "x" for one in board["templating"]["list"]})


def test_series_are_the_predictors() -> None:
    """No panel asks for a series that is named like none of ours, such as a container's; that each
    of ours exists is seen at a real `/metrics`."""
    for query in boards.queries("gliner-prometheus"):
        named = re.findall(r"([a-zA-Z_:][\w:]*){", query.text)
        assert all(re.match("gliner[_:]|process_|python_|request_", name) for name in named), named
