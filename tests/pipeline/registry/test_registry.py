"""Tests of `pipeline.registry` on a real MLflow server."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Dataset, DatasetInput

from pipeline.errors import PipelineError, Unavailable
from pipeline.local import servers as real
from pipeline.local.process import free_port
from pipeline.registry import Registry, Tag, Version, faults
from pipeline.settings import Settings

pytestmark = pytest.mark.server


def files(registry: Registry, folder: Path) -> tuple[str, str]:
    """Files that are uploaded; MLflow's ids of the run and of the model."""
    run = registry.run("job")
    model = registry.client.create_logged_model(run.info.experiment_id, name="model")
    bundle = folder / "model" / "artifacts" / "bundle"
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "gliner_config.json").write_text("{}")
    (bundle / "model.safetensors").write_text("weights")
    registry.client.log_model_artifacts(model.model_id, str(folder / "model"))
    registry.client.finalize_logged_model(model.model_id, "READY")
    return run.info.run_id, model.model_id


def add(registry: Registry, folder: Path, digest: str = "a", **tags: str) -> Version:
    """A version with a digest."""
    run_id, model_id = files(registry, folder)
    return registry.add(
        model_id=model_id,
        run_id=run_id,
        tags={Tag.BUNDLE_DIGEST: digest, Tag.STATUS: "candidate", **tags},
        description="",
    )


def test_an_alias_leads_to_a_version_with_its_tags(registry: Registry, tmp_path: Path) -> None:
    """What rollouts and messages need comes with the alias."""
    registry.point("champion", add(registry, tmp_path, f1="0.75"), "first")

    champion = registry.champion()
    assert champion is not None
    assert champion.aliases == ("champion",)
    assert champion.f1 == 0.75
    assert champion.model_id.startswith("m-")
    assert [text for _, text in champion.events] == ["champion: first"]
    assert registry.versions()[0].aliases == ("champion",)


def test_what_is_not_there_is_none(registry: Registry, tmp_path: Path) -> None:
    """A missing model, alias or version is no error."""
    before = [registry.champion(), registry.version(1), registry.find("a")]
    registry.drop("champion")
    version = add(registry, tmp_path)
    registry.client.delete_model_version(registry.name, "1")

    assert before == [None, None, None]
    assert registry.champion() is None
    assert registry.version(1) is None
    assert registry.versions() == []
    assert registry.previous(version) is None


def test_the_champion_before_is_found(registry: Registry, tmp_path: Path) -> None:
    """Going back needs the number in a tag alone."""
    first = add(registry, tmp_path)
    second = add(registry, tmp_path, "b", rollout_previous=str(first.number))

    before = registry.previous(second)

    assert before is not None
    assert before.number == first.number


def test_a_description_is_cut_to_what_the_tables_hold(registry: Registry, tmp_path: Path) -> None:
    """MariaDB would refuse a longer one after the files were uploaded."""
    run_id, model_id = files(registry, tmp_path)

    version = registry.add(
        model_id=model_id, run_id=run_id, tags={Tag.BUNDLE_DIGEST: "a"}, description="é" * 6000
    )

    assert len(version.description) == 5000


def test_two_at_once_make_one_version(registry: Registry, tmp_path: Path) -> None:
    """MLflow has no lock: the later of two equal versions goes, and both callers get the first."""
    ids = files(registry, tmp_path)
    got: list[int] = []

    def register(mine: Registry, _number: int) -> None:
        tags = {Tag.BUNDLE_DIGEST: "a", Tag.STATUS: "candidate"}
        got.append(mine.add(run_id=ids[0], model_id=ids[1], tags=tags, description="").number)

    assert at_once(registry, register, writers=3) == []
    [version] = registry.versions()
    assert got == [version.number] * 3


def test_two_that_set_the_same_at_once_both_do(registry: Registry, tmp_path: Path) -> None:
    """MLflow tells the later of a bad request, about one time in ten; sixty show it."""
    version, run_id = add(registry, tmp_path), registry.run("job").info.run_id

    def write(mine: Registry, number: int) -> None:
        mine.tag(version, {f"tag-{number}": "a"})
        mine.note(run_id, {f"note-{number}": "a"})
        mine.point(f"alias-{number}", version, "a")

    assert at_once(registry, write, rounds=20) == []


def test_a_step_that_another_was_quicker_than_is_tried_again(
    registry: Registry, tmp_path: Path
) -> None:
    """Of two that name the same data set for the first time, MLflow refuses the later."""
    run_id = registry.run("job").info.run_id

    def write(mine: Registry, number: int) -> None:
        named = Dataset(f"data-{number}", "digest", "local", "{}")
        with faults.translated("MLflow"):
            mine.client.log_inputs(run_id, [DatasetInput(named)])

    errors = at_once(registry, write, rounds=200, until_error=True)

    assert [type(error) for error in errors] == [Unavailable]
    assert str(errors[0]).startswith("MLflow: another wrote the same: BAD_REQUEST")


def at_once(
    registry: Registry,
    write: Callable[[Registry, int], None],
    *,
    writers: int = 2,
    rounds: int = 1,
    until_error: bool = False,
) -> list[PipelineError]:
    """What some raise that write at the same moment, round by round."""
    errors: list[PipelineError] = []
    barrier = threading.Barrier(writers)

    def rush() -> None:
        mine = Registry(registry.settings)
        for number in range(rounds):
            barrier.wait()
            try:
                write(mine, number)
            except PipelineError as error:
                errors.append(error)
            barrier.wait()
            if until_error and errors:
                return

    threads = [threading.Thread(target=rush) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_twin_left_by_a_killed_process_goes(registry: Registry, tmp_path: Path) -> None:
    """One that was killed between making a version and looking for others leaves one behind."""
    first = add(registry, tmp_path)
    registry.client.create_model_version(
        registry.name,
        source=f"models:/{first.model_id}",
        model_id=first.model_id,
        tags={Tag.BUNDLE_DIGEST: "a", Tag.STATUS: "candidate"},
    )

    settled = registry.settle("a")

    assert settled is not None
    assert [one.number for one in registry.versions()] == [settled.number] == [first.number]


def test_files_that_changed_are_not_downloaded(registry: Registry, tmp_path: Path) -> None:
    """What is measured and rolled out is what was registered."""
    version = add(registry, tmp_path, "0" * 64)

    with pytest.raises(PipelineError, match="somebody changed them"):
        registry.download(version, tmp_path / "copy")


def test_all_steps_of_a_job_share_a_run(registry: Registry) -> None:
    """A step that is tried again finds the run of the first try."""
    first, again, other = registry.run("a"), registry.run("a"), registry.run("b")

    assert first.info.run_id == again.info.run_id
    assert first.info.run_id != other.info.run_id


@pytest.mark.slow
def test_mlflow_may_go_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question says that MLflow is away while it is, and works again afterwards."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port = free_port()
    settings = Settings(tracking_uri=f"http://127.0.0.1:{port}", experiment="x", model_name="x")
    registry = Registry(settings)
    with real.mlflow(tmp_path / "mlflow", port=port):
        version = add(registry, tmp_path)
        run_id = registry.run("job").info.run_id
    calls: list[Callable[[], object]] = [
        registry.champion,
        registry.challenger,
        registry.versions,
        registry.runs,
        lambda: registry.version(1),
        lambda: registry.find("a"),
        lambda: registry.settle("a"),
        lambda: registry.add(model_id="m", run_id=run_id, tags={}, description=""),
        lambda: registry.tag(version, {"a": 1}),
        lambda: registry.event(version, "a"),
        lambda: registry.point("champion", version, "a"),
        lambda: registry.drop("champion"),
        lambda: registry.bundle_uri(version),
        lambda: registry.download(version, tmp_path / "copy"),
        lambda: registry.run("job"),
        lambda: registry.note(run_id, {"a": 1}),
    ]

    for call in calls:
        with pytest.raises(Unavailable, match="does not answer"):
            call()
    with real.mlflow(tmp_path / "mlflow", port=port):
        registry.point("champion", version, "back")
        champion = registry.champion()

    assert champion is not None
    assert champion.number == version.number
