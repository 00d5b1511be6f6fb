"""Tables of mistakes: for a spreadsheet, for MLflow, and as a page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pipeline.dataset import Row
from pipeline.measuring import tables
from pipeline.measuring.measure import Text
from pipeline.measuring.mistakes import Mistake

TEXT = Text("=sum <b>Ada</b> & co", ("person",), Row(("x",), (), "a"), "a.jsonl line 3")
WRONG = Mistake(0, "wrong label", 5, 15, "person", "<city>", 0.987)
MISSED = Mistake(0, "missed", 0, 4, "person", "", 0.0)


def test_a_row_shows_the_mention_in_its_text() -> None:
    """With its place, so that a person finds the row to repair."""
    [row] = tables.rows([WRONG], [TEXT])

    assert dict(zip(tables.COLUMNS, row, strict=True)) == {
        "kind": "wrong label",
        "text": "=sum [[<b>Ada</b>]] & co",
        "mention": "<b>Ada</b>",
        "true_label": "person",
        "given_label": "<city>",
        "score": "0.987",
        "place": "a.jsonl line 3",
    }


def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path) -> None:
    """A text may begin like one."""
    tables.write_csv(tmp_path / "errors.csv", tables.rows([MISSED, WRONG], [TEXT]))

    with (tmp_path / "errors.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2
    assert rows[0]["mention"] == "'=sum"
    assert rows[1]["text"].startswith("'=sum [[")


def test_the_page_escapes_what_the_data_says(tmp_path: Path) -> None:
    """A text is shown and never run; the mention stands out."""
    file = tmp_path / "errors.html"

    tables.write_html(file, "<i>model</i>", [WRONG, MISSED], [TEXT])

    page = file.read_text(encoding="utf-8")
    assert "<mark>&lt;b&gt;Ada&lt;/b&gt;</mark>" in page
    assert "<td>&lt;city&gt;</td>" in page
    assert "<title>Mistakes of &lt;i&gt;model&lt;/i&gt;</title>" in page
    assert "1 wrong label, 1 missed." in page


def test_long_tables_end_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst are shown."""
    monkeypatch.setattr(tables, "MOST", 2)
    tables.write_html(tmp_path / "errors.html", "model", [WRONG, WRONG, MISSED], [TEXT])
    tables.write_json(tmp_path / "errors.json", tables.rows([WRONG, WRONG, MISSED], [TEXT]))

    assert "The first 2 are shown." in (tmp_path / "errors.html").read_text("utf-8")
    table = json.loads((tmp_path / "errors.json").read_text("utf-8"))
    assert [row[0] for row in table["data"]] == ["wrong label"] * 2


def test_a_model_without_mistakes_has_a_page_too(tmp_path: Path) -> None:
    """It says that there are none."""
    tables.write_html(tmp_path / "errors.html", "model", [], [])

    assert "<p>no mistakes." in (tmp_path / "errors.html").read_text("utf-8")
