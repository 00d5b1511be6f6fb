"""Tests of `pipeline.training.checkpoints`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.settings import Settings
from pipeline.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from pipeline.local.servers import ObjectStore


def checkpoint(folder: Path, step: int, best: int) -> Path:
    """What the trainer writes, as far as it matters here."""
    target = folder / f"checkpoint-{step}"
    target.mkdir(parents=True, exist_ok=True)
    (target / "weights.bin").write_bytes(str(step).encode() * 1000)
    state = {"best_model_checkpoint": f"/gone/checkpoint-{best}", "global_step": step}
    (target / "trainer_state.json").write_text(json.dumps(state))
    return target


def kept(settings: Settings, work: Path) -> Checkpoints:
    """Steps 10 and 20 kept, of which 10 is the best."""
    store = Checkpoints("key", settings)
    store.keep(checkpoint(work, 10, 10), "checkpoint-10")
    store.keep(checkpoint(work, 20, 10), "checkpoint-10")
    return store


def test_the_last_comes_back_with_the_best(tmp_path: Path) -> None:
    """A pod that takes over finds both, where it has put them."""
    settings = Settings(checkpoints=str(tmp_path / "store"))
    kept(settings, tmp_path / "one")

    found = Checkpoints("key", settings).restore(tmp_path / "two")

    assert found == tmp_path / "two" / "checkpoint-20"
    state = json.loads((found / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(tmp_path / "two" / "checkpoint-10")
    assert (tmp_path / "two" / "checkpoint-10" / "weights.bin").read_bytes() == b"10" * 1000


def test_what_is_neither_last_nor_best_goes(tmp_path: Path) -> None:
    """A long training does not fill the disk."""
    settings = Settings(checkpoints=str(tmp_path / "store"))
    store = kept(settings, tmp_path)
    store.keep(checkpoint(tmp_path, 30, 20), "checkpoint-20")

    steps = {name.name.partition("-")[0] for name in (tmp_path / "store" / "key").glob("*.json")}

    assert steps == {"20", "30"}


@pytest.mark.parametrize("harm", ["no marker", "cut file", "no file"])
def test_half_a_checkpoint_is_never_used(tmp_path: Path, harm: str) -> None:
    """An upload that was killed, or a file that was cut, leaves the one before to go on from."""
    settings = Settings(checkpoints=str(tmp_path / "store"))
    kept(settings, tmp_path / "one")
    [folder] = (tmp_path / "store" / "key").glob("20-*/")
    if harm == "no marker":
        folder.with_name(f"{folder.name}.json").unlink()
    elif harm == "cut file":
        (folder / "weights.bin").write_bytes(b"20")
    else:
        (folder / "weights.bin").unlink()

    found = Checkpoints("key", settings).restore(tmp_path / "two")

    assert found == tmp_path / "two" / "checkpoint-10"


def test_other_data_finds_nothing(tmp_path: Path) -> None:
    """A checkpoint belongs to one base, data and set of parameters."""
    settings = Settings(checkpoints=str(tmp_path / "store"))
    kept(settings, tmp_path)

    assert Checkpoints("other", settings).restore(tmp_path / "two") is None


def test_nothing_is_left_in_the_end(tmp_path: Path) -> None:
    """What was trained is in a bundle by then."""
    settings = Settings(checkpoints=str(tmp_path / "store"))
    kept(settings, tmp_path).clear()

    assert not list((tmp_path / "store" / "key").rglob("*"))


@pytest.mark.server
def test_s3_holds_them_as_well(use_s3: ObjectStore, tmp_path: Path) -> None:
    """In a cluster a pod's disk does not outlive it."""
    settings = Settings(checkpoints="s3://data/training", http_retries=0)
    kept(settings, tmp_path / "one")
    store = Checkpoints("key", settings)

    found = store.restore(tmp_path / "two")
    names = {one.name for one in (use_s3.folder / "data" / "training" / "key").glob("*.json")}
    store.clear()

    assert found == tmp_path / "two" / "checkpoint-20"
    assert {name.partition("-")[0] for name in names} == {"10", "20"}
    assert store.restore(tmp_path / "three") is None
