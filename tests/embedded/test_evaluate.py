import json
import pathlib

import pytest
from gliner import GLiNER

from predictor import embedded
from predictor.embedded import evaluate


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    file = tmp_path_factory.mktemp("data") / "own.dev.jsonl"
    rows = [
        {
            "tokenized_text": ["Ada", "Lovelace", "was", "born", "in", "London", "."],
            "ner": [[0, 1, "person"], [5, 5, "location"]],
        },
        {
            "tokenized_text": ["Nobody", "calls", "Oslo", "a", "person", "."],
            "ner": [[2, 2, "person"]],
        },
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_the_table_of_the_shipped_model(data: pathlib.Path) -> None:
    """A right mention counts, one with the wrong label is wrong there and missed here."""
    model = GLiNER.from_pretrained(str(embedded.path()), local_files_only=True)

    lines = evaluate.table(model, [data]).splitlines()

    assert lines[2:] == [
        "| **own.dev** | **2 labels** | 0.667 | 0.667 | **0.667** | 3 |",
        "|  | location | 0.500 | 1.000 | 0.667 | 1 |",
        "|  | person | 1.000 | 0.500 | 0.667 | 2 |",
    ]


def test_a_bad_file_is_refused_in_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says where, without a traceback."""
    file = tmp_path / "bad.dev.jsonl"
    file.write_text("{}", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["evaluate", str(embedded.path()), str(file)])

    with pytest.raises(SystemExit):
        evaluate.main()

    assert "bad.dev.jsonl line 1: tokenized_text is missing" in capsys.readouterr().err
