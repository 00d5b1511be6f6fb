"""Tests of `pipeline.registry.pyfunc`: a stranger loads a version from a real MLflow server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lifecycle
import pytest

from pipeline.settings import Settings
from pipeline.steps import candidate, register
from predictor import bundle
from predictor.extraction import Extractor, Label, Query

TEXTS = [
    "Ada Lovelace was born in London on 10 December 1815.",
    "Satya Nadella joined Microsoft in 1992 🙂 and became its chief executive in Redmond.",
    "",
]
LABELS = ("person", "company", "city", "date")
LONG = "Ada Lovelace was born in London on 10 December 1815, it is said. " * 60
STRANGER = """
import json, sys
sys.modules["predictor"] = sys.modules["pipeline"] = None
import mlflow, pandas as pd
uri, name, texts, labels, long = json.load(sys.stdin)
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model(f"models:/{name}/1")
def refused(*arguments, **more):
    try:
        model.predict(*arguments, **more)
    except Exception as error:
        return str(error)
frame = pd.DataFrame({"text": texts})
print(json.dumps({
    "frame": model.predict(frame, params={"labels": labels}),
    "rows": model.predict([{"text": one} for one in texts], params={"labels": labels}),
    "columns": model.predict(pd.DataFrame({"text": texts[:1], "labels": [["city"]]})),
    "defaults": model.predict(frame[:1]),
    "high": model.predict(frame, params={"labels": labels, "threshold": 1.0}),
    "long": model.predict(pd.DataFrame({"text": [long]}), params={"labels": labels}),
    "errors": [
        refused(frame, params={"threshold": 3.0}),
        refused(frame, params={"labels": [""]}),
        refused(pd.DataFrame({"words": texts})),
    ],
}))
"""


@pytest.mark.server
@pytest.mark.slow
def test_a_stranger_gets_what_the_predictor_gives(
    tmp_path: Path, settings: Settings, embedded: Extractor
) -> None:
    """Neither package of this project can be imported, and the entities are the same."""
    candidate.run("embedded", tmp_path / "out", job="job", settings=settings)
    report = lifecycle.report(tmp_path / "report", tmp_path / "out", person=0.9, city=0.9)
    register.run(tmp_path / "out", report, job="job", settings=settings)

    done = subprocess.run(
        [sys.executable, "-I", "-c", STRANGER],
        input=json.dumps([settings.tracking_uri, settings.model_name, TEXTS, LABELS, LONG]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    got = json.loads(done.stdout.splitlines()[-1])

    expected = answers(embedded, TEXTS)
    assert [[row(one) for one in text] for text in got["frame"]] == expected
    assert expected[0]
    assert got["rows"] == got["frame"]
    assert {one["label"] for one in got["columns"][0]} == {"city"}
    assert {one["label"] for one in got["defaults"][0]} == {"person", "city"}
    assert got["high"] == [[], [], []]
    assert all(LONG[one["start"] : one["end"]] == one["text"] for one in got["long"][0])
    assert [one["text"] for one in got["long"][0]].count("London") == 60
    threshold, labels, column = got["errors"]
    assert "threshold must be between 0 and 1, got 3.0" in threshold
    assert "a label must be a word or words" in labels
    assert "missing inputs ['text']" in column
    again = candidate.run(
        f"models:/{settings.model_name}/1", tmp_path / "again", job="job", settings=settings
    )
    assert again.digest == bundle.digest(tmp_path / "out")


def answers(extractor: Extractor, texts: list[str]) -> list[list[tuple[int, int, str, float]]]:
    """What the predictor gives."""
    labels = tuple(Label(name, name, 0.5) for name in LABELS)
    queries = [Query(text, labels, flat_ner=True, multi_label=False) for text in texts]
    return [[row(one.row()) for one in text.entities] for text in extractor.extract(queries)]


def row(entity: dict[str, object]) -> tuple[int, int, str, float]:
    """An entity, with as much of its score as rounding leaves."""
    start, end, score = entity["start"], entity["end"], entity["score"]
    assert isinstance(start, int)
    assert isinstance(end, int)
    assert isinstance(score, float)
    return start, end, str(entity["label"]), round(score, 3)
