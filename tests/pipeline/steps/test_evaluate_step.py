"""Measuring candidate and champion on a real registry, and what is left in MLflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import labelled
import pytest
import registered

from pipeline.errors import DataError, PipelineError
from pipeline.evaluation import Evaluation
from pipeline.registry import tables
from pipeline.steps import evaluate
from predictor import bundle, embedded

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.local.process import Process
    from pipeline.registry import Registry
    from pipeline.settings import Settings

pytestmark = pytest.mark.server

FILES = {
    "evaluation.json",
    *(f"{name}.png" for name in ("labels", "lengths", "thresholds", "reliability", "confusion")),
    *(f"{name}.json" for name in ("confusion", "thresholds", "reliability")),
    *(f"errors.{kind}" for kind in ("csv", "json", "html")),
}


@dataclass(frozen=True)
class Done:
    """The embedded model evaluated against a champion with random weights."""

    evaluation: Evaluation
    out: Path
    registry: Registry
    run: Run
    said: str


@pytest.fixture(scope="module")
def done(mlflow_server: Process, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    import contextlib
    import io

    from pipeline.registry import CHAMPION, Registry
    from pipeline.settings import Settings

    folder = tmp_path_factory.mktemp("evaluated")
    labelled.write(folder / "data" / "a.jsonl", labelled.sentences()[:18])
    name = "evaluate-step"
    settings = Settings(tracking_uri=mlflow_server.url, model_name=name, experiment=name)
    registry = Registry(settings)
    version = registry.version(registered.register(settings, tiny_bert))
    assert version is not None
    registry.point(CHAMPION, version, "the first one")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found = evaluate.run(
            embedded.path(), folder / "data", folder / "out", job="j", settings=settings
        )
    run = registry.client.get_run(registry.run("j").info.run_id)
    return Done(found, folder / "out", registry, run, said.getvalue())


def test_candidate_and_champion_are_measured_on_the_same_data(done: Done) -> None:
    """With their names, versions and the difference."""
    found = done.evaluation

    assert found.dataset.rows == 18
    assert found.candidate.micro.support == 36
    assert found.candidate.subject.digest == bundle.digest(embedded.path())
    assert found.candidate.subject.version is None
    assert found.champion is not None
    assert found.champion.subject.version == 1
    assert found.comparison is not None
    assert found.candidate.micro.f1 > 0.9 > 0.5 > found.champion.micro.f1
    assert found.comparison.micro.low > 0.3
    assert set(found.candidate.labels) == set(found.comparison.labels) == {"city", "person"}
    assert 0 < found.candidate.latency.p50_ms <= found.candidate.latency.p99_ms
    assert set(found.candidate.by_length) == {"1-10"}


def test_the_report_is_what_is_returned(done: Done) -> None:
    """The file that later steps read says the same."""
    text = (done.out / "evaluation.json").read_text("utf-8")

    assert Evaluation.model_validate_json(text) == done.evaluation


def test_mlflow_has_the_metrics(done: Done) -> None:
    """Those of the candidate, each label's, the champion's, and the data's digest."""
    metrics, found = done.run.data.metrics, done.evaluation

    assert metrics["f1"] == pytest.approx(found.candidate.micro.f1)
    assert metrics["f1_person"] == pytest.approx(found.candidate.labels["person"].f1)
    assert metrics["latency_p95_ms"] == pytest.approx(found.candidate.latency.p95_ms)
    assert found.champion is not None
    assert metrics["champion_f1"] == pytest.approx(found.champion.micro.f1)
    assert metrics["f1_difference_low"] > 0.3
    assert done.run.data.params["dataset_digest"] == found.dataset.digest
    assert done.run.data.tags["champion_version"] == "1"


def test_mlflow_has_the_files(done: Done) -> None:
    """Pictures, tables and the numbers behind them, below `evaluation/`."""
    listed = done.registry.client.list_artifacts(done.run.info.run_id, "evaluation")

    assert {Path(one.path).name for one in listed} == FILES
    assert {file.name for file in done.out.iterdir()} == FILES
    assert all((one.file_size or 0) > 40 for one in listed)


def test_what_is_said_holds_no_text_of_the_data(done: Done) -> None:
    """Scores and progress alone."""
    assert "champion: version 1, downloading" in done.said
    assert "candidate: F1 0.9" in done.said or "candidate: F1 1.0" in done.said
    assert not any(name.split()[0] in done.said for name in labelled.PEOPLE)


def test_a_candidate_that_is_the_champion_is_measured_once(
    tiny_bert: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """There is nothing to compare it with."""
    data = labelled.write(tmp_path / "data" / "a.jsonl", labelled.sentences()[:6]).parent
    version = registry.version(registered.register(settings, tiny_bert))
    assert version is not None
    registry.point("champion", version, "the first one")

    found = evaluate.run(tiny_bert, data, tmp_path / "out", job="j", settings=settings)

    assert (found.champion, found.comparison) == (None, None)


def test_each_is_measured_with_the_engine_that_its_bundle_names(
    tiny_bert: Path, tiny_deberta: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """A limit on latency is of the engine that will serve, and so is the champion's beside it."""
    data = labelled.write(tmp_path / "data" / "a.jsonl", labelled.sentences()[:6]).parent
    champion = registry.version(
        registered.register(settings, serving_with("onnx", tiny_bert, tmp_path))
    )
    assert champion is not None
    registry.point("champion", champion, "the first one")
    candidate = serving_with("openvino", tiny_deberta, tmp_path)

    found = evaluate.run(candidate, data, tmp_path / "out", job="j", settings=settings)

    assert found.champion is not None
    assert (found.candidate.engine, found.champion.engine) == ("openvino fp32", "onnx fp32")
    tags = registry.run("j").data.tags
    assert (tags["candidate_engine"], tags["champion_engine"]) == ("openvino fp32", "onnx fp32")


def serving_with(engine: str, model: Path, folder: Path) -> Path:
    """A bundle of a model for which this engine was chosen."""
    found = bundle.write(str(model), folder / engine)
    manifest = json.loads((found.folder / "bundle.json").read_text("utf-8"))
    chosen = manifest | {"engine": engine, "precision": "fp32"}
    (found.folder / "bundle.json").write_text(json.dumps(chosen), encoding="utf-8")
    return found.folder


def test_mlflow_shows_the_mistakes_as_a_table_once(
    tiny_bert: Path,
    tmp_path: Path,
    settings: Settings,
    registry: Registry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step that is tried again adds nothing to what the first try left, and a table of an earlier
    step stays."""
    # Reading a table, MLflow's client asks the server that the environment names.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.tracking_uri)
    data = labelled.write(tmp_path / "data" / "a.jsonl", labelled.sentences()[:6]).parent
    out = tmp_path / "out"
    tables.show(registry, registry.run("j").info.run_id, "engines.json")
    for _ in range(2):
        evaluate.run(tiny_bert, data, out, job="j", settings=settings)
    run = registry.run("j")

    table = registry.client.load_table(
        run.info.experiment_id, "evaluation/errors.json", [run.info.run_id]
    )

    rows = json.loads((out / "errors.json").read_text("utf-8"))["data"]
    assert list(table.columns)[:3] == ["kind", "text", "mention"]
    assert len(table) == len(rows) > 0
    shown = json.loads(registry.run("j").data.tags["mlflow.loggedArtifacts"])
    assert [one["path"] for one in shown] == ["engines.json", "evaluation/errors.json"]


def test_data_that_is_not_what_was_fetched_is_refused(
    tiny_bert: Path, tmp_path: Path, settings: Settings
) -> None:
    """A row that was changed on the way is noticed."""
    data = labelled.write(tmp_path / "data" / "a.jsonl", labelled.sentences()).parent
    labelled.evaluation().dataset.write(data / "dataset.json")

    with pytest.raises(DataError, match="not those that were fetched"):
        evaluate.run(tiny_bert, data, tmp_path / "out", job="j", settings=settings)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, settings: Settings) -> None:
    """Before anything is downloaded."""
    labelled.write(tmp_path / "data" / "a.jsonl", labelled.sentences())

    with pytest.raises(PipelineError, match="no model to measure"):
        evaluate.run(tmp_path, tmp_path / "data", tmp_path / "out", job="j", settings=settings)
