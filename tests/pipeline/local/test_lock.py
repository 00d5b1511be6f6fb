"""Locks between processes, wherever and with whatever settings they were started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.errors import PipelineError, RolloutBusy, Unavailable
from pipeline.local import lock
from pipeline.settings import Settings

HOLDER = """
import sys, time
from pipeline import settings
from pipeline.local import lock

with lock.held("rollout", settings.load(), "", owner="the first"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def model() -> Settings:
    """A model that no other test has."""
    return Settings(model_name=f"ner-{uuid4().hex[:8]}")


def take(settings: Settings) -> None:
    with lock.held("rollout", settings, "it is {owner}'s"):
        pass


def test_another_folder_and_another_tmpdir_are_no_way_around(
    model: Settings, tmp_path: Path
) -> None:
    """The message names the holder, and the lock of one that dies is free."""
    environment = {
        **os.environ,
        "PIPELINE_MODEL_NAME": model.model_name,
        "PIPELINE_TRACKING_URI": model.tracking_uri,
        "TMPDIR": str(tmp_path),
    }
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"

        with pytest.raises(RolloutBusy, match="it is the first's"):
            take(model.model_copy(update={"home": tmp_path / "home"}))
        take(model.model_copy(update={"model_name": f"{model.model_name}-2"}))
        holder.kill()
        holder.wait()
        take(model)
    finally:
        holder.kill()
        holder.wait()


def test_a_holder_without_a_name(model: Settings) -> None:
    """It is told of all the same."""
    with (
        lock.held("rollout", model, ""),
        pytest.raises(RolloutBusy, match="it is another process's"),
        lock.held("rollout", model.model_copy(), "it is {owner}'s", seconds=0.1),
    ):
        pass


@pytest.mark.parametrize(
    ("uri", "same"),
    [
        ("http://localhost:5000/", True),
        ("http://me:secret@127.0.0.1:5000", True),  # pragma: allowlist secret
        ("http://127.0.0.1:5001", False),
        ("http://localhost.example.com:5000", False),
    ],
)
def test_what_is_guarded(uri: str, same: bool) -> None:
    """The same server by another name is the same."""
    ours = Settings(tracking_uri="http://127.0.0.1:5000")

    assert (lock.key(Settings(tracking_uri=uri)) == lock.key(ours)) is same
    assert lock.key(ours.model_copy(update={"model_name": "other"})) != lock.key(ours)


def test_a_folder_that_somebody_else_has_made(
    model: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says whose it is."""
    monkeypatch.setattr(lock, "FOLDER", tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 12345)

    with pytest.raises(PipelineError, match=f"^{tmp_path} is another user's"):
        take(model)


@pytest.mark.parametrize("made", [True, False], ids=["a file", "nowhere"])
def test_a_folder_that_cannot_be_made(
    made: bool, model: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names it."""
    folder = tmp_path / "file" if made else tmp_path / "none" / "locks"
    monkeypatch.setattr(lock, "FOLDER", folder)
    (tmp_path / "file").write_text("")

    with pytest.raises(Unavailable, match=f"^{folder}: .*; {folder} must be a folder of yours"):
        take(model)
