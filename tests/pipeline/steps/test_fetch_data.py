"""Fetching data: all or nothing, how old it may be, and what MLflow knows of it."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import labelled
import pytest

from pipeline.dataset import digest, read
from pipeline.errors import DataError, PipelineError, SettingsError
from pipeline.evaluation import Dataset
from pipeline.steps import fetch_data

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run

    from pipeline.local.servers import ObjectStore
    from pipeline.registry import Registry
    from pipeline.settings import Settings

pytestmark = pytest.mark.server


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = labelled.sentences()
    labelled.write(tmp_path / "source" / "a.jsonl", rows[:20])
    labelled.write(tmp_path / "source" / "b.jsonl", rows[20:])
    return tmp_path / "source"


def inputs_of(run: Run) -> list[DatasetInput]:
    """The data sets that MLflow shows with a run."""
    assert run.inputs is not None
    return list(run.inputs.dataset_inputs)


def written(folder: Path, hours_ago: float) -> None:
    """Set when the files of a folder were written."""
    at = (datetime.now(timezone.utc) - timedelta(hours=hours_ago)).timestamp()
    for file in folder.iterdir():
        os.utime(file, (at, at))


def test_the_data_and_what_it_is_are_in_the_folder(
    source: Path, tmp_path: Path, settings: Settings
) -> None:
    """The description is also what is returned."""
    out = tmp_path / "deep" / "out"

    found = fetch_data.run(str(source), out, role="eval", job="j", settings=settings)

    assert sorted(file.name for file in out.iterdir()) == ["a.jsonl", "b.jsonl", "dataset.json"]
    assert Dataset.model_validate_json((out / "dataset.json").read_text("utf-8")) == found
    assert (found.rows, found.mentions, found.labels) == (36, 72, ("city", "person"))
    assert found.digest == digest(read(out))
    assert [file.name for file in out.parent.iterdir()] == ["out"]


def test_mlflow_knows_which_data_it_was(
    source: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """As a dataset input of the run, once although the step ran twice."""
    written(source, hours_ago=2)
    for _ in range(2):
        fetch_data.run(str(source), tmp_path / "out", role="eval", job="j", settings=settings)
    found = fetch_data.run(str(source), tmp_path / "t", role="train", job="j", settings=settings)

    run = registry.client.get_run(registry.run("j").info.run_id)
    inputs = inputs_of(run)
    roles = {one.tags[0].value: one.dataset for one in inputs}
    assert len(inputs) == 2
    assert set(roles) == {"eval", "train"}
    assert json.loads(roles["eval"].source) == {"uri": str(source)}
    assert json.loads(roles["eval"].profile or "") == {
        "digest": found.digest,
        "rows": 36,
        "mentions": 72,
        "labels": ["city", "person"],
    }
    assert found.digest.startswith(roles["eval"].digest)
    assert run.data.metrics["data_age_hours"] == pytest.approx(2, abs=0.1)
    assert run.data.tags["dataset_digest"] == found.digest


def test_old_data_is_refused_with_its_age(source: Path, tmp_path: Path, settings: Settings) -> None:
    """The newest file counts, and nothing is left behind."""
    written(source, hours_ago=50)

    with pytest.raises(DataError, match=r"newest file is 50\.0 h old, the limit is 24 h"):
        fetch_data.run(
            str(source), tmp_path / "out", role="eval", job="j", max_age_hours=24, settings=settings
        )
    os.utime(source / "b.jsonl")
    fetch_data.run(
        str(source), tmp_path / "out", role="eval", job="j", max_age_hours=24, settings=settings
    )

    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_clock_that_is_ahead_is_told(
    source: Path, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    """A few minutes are taken as no age at all, never a negative one."""
    written(source, hours_ago=-0.05)
    fetch_data.run(str(source), tmp_path / "out", role="eval", job="j", settings=settings)
    age = registry.client.get_run(registry.run("j").info.run_id).data.metrics["data_age_hours"]
    written(source, hours_ago=-3)

    with pytest.raises(DataError, match=r"is 3\.0 h in the future; set the clocks"):
        fetch_data.run(str(source), tmp_path / "out", role="eval", job="j", settings=settings)

    assert age == 0


def test_a_label_with_a_limit_must_occur(source: Path, tmp_path: Path, settings: Settings) -> None:
    """A misspelt one is found before anything is trained, and those that there are are named."""
    with pytest.raises(SettingsError, match=r"name the label 'persn', .* has 'city', 'person'$"):
        fetch_data.run(
            str(source),
            tmp_path / "out",
            role="eval",
            job="j",
            labels=("city", "persn"),
            settings=settings,
        )

    assert not (tmp_path / "out").exists()


def test_bad_data_leaves_what_was_there(source: Path, tmp_path: Path, settings: Settings) -> None:
    """A failed try takes nothing away and adds nothing."""
    out = tmp_path / "out"
    fetch_data.run(str(source), out, role="eval", job="j", settings=settings)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    (source / "a.jsonl").write_text("{}", encoding="utf-8")

    with pytest.raises(DataError, match=r"a\.jsonl line 1"):
        fetch_data.run(str(source), out, role="eval", job="j", settings=settings)

    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_second_try_replaces_what_the_first_left(
    source: Path, tmp_path: Path, settings: Settings
) -> None:
    """A file that is gone from the source is gone from the copy."""
    out = tmp_path / "out"
    labelled.write(out / "stale.jsonl", labelled.sentences())

    fetch_data.run(str(source), out, role="eval", job="j", settings=settings)

    assert not (out / "stale.jsonl").exists()


def test_texts_of_the_other_part_are_refused(
    source: Path, tmp_path: Path, settings: Settings
) -> None:
    """A model must not be measured on what it was trained on."""
    evaluation = tmp_path / "eval"
    labelled.write(evaluation / "e.jsonl", labelled.sentences()[5:6])

    with pytest.raises(DataError, match=r"^a\.jsonl line 6: .* other part, e\.jsonl line 1$"):
        fetch_data.run(
            str(source),
            tmp_path / "out",
            role="train",
            job="j",
            disjoint_from=evaluation,
            settings=settings,
        )


def test_a_disk_that_fills_up_leaves_no_half_file(
    source: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the second file the disk is full: neither is there."""
    import resource

    (source / "b.jsonl").write_bytes((source / "b.jsonl").read_bytes() * 400)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so writing more fails as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(PipelineError, match=r"cannot copy: .*b\.jsonl: File too large"):
            fetch_data.run(str(source), tmp_path / "out", role="eval", job="j", settings=settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert not (tmp_path / "out").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_data_comes_from_s3(
    source: Path, tmp_path: Path, settings: Settings, use_s3: ObjectStore, registry: Registry
) -> None:
    """The same rows have the same digest there."""
    client = boto3.session.Session().client("s3")
    for file in source.iterdir():
        client.upload_file(str(file), "data", f"fetched/{file.name}")

    uri = "s3://data/fetched"
    found = fetch_data.run(uri, tmp_path / "out", role="eval", job="j", settings=settings)

    run = registry.client.get_run(registry.run("j").info.run_id)
    assert found.digest == digest(read(source))
    assert inputs_of(run)[0].dataset.source_type == "s3"
