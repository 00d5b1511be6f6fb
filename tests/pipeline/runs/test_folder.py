"""What runs leave on this machine, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.runs import folder
from pipeline.settings import Settings


def leave(home: Path, count: int) -> list[Path]:
    """Folders of earlier runs, the oldest first."""
    found = [home / "runs" / f"local-{number}" for number in range(count)]
    for age, one in enumerate(reversed(found), 1):
        (one / "outputs").mkdir(parents=True)
        (one / "outputs" / "model").write_text("large")
        os.utime(one, (10_000 - age, 10_000 - age))
    return found


def test_files_of_the_latest_runs_stay(tmp_path: Path) -> None:
    """With the one that begins there are as many as are kept; the oldest are gone."""
    earlier = leave(tmp_path, folder.KEPT + 2)
    stray = tmp_path / "runs" / "notes.txt"
    stray.write_text("somebody's")

    with folder.opened("new", Settings(home=tmp_path)) as own:
        left = set((tmp_path / "runs").iterdir())

    assert own == tmp_path / "runs" / "new"
    assert left == {own, stray, *earlier[3:]}
    assert all((one / "outputs" / "model").exists() for one in earlier[3:])


def test_a_folder_that_a_run_is_in_stays(tmp_path: Path) -> None:
    """However many came after it, and also where it is an old one that is used again."""
    settings = Settings(home=tmp_path)
    [oldest, *_] = leave(tmp_path, folder.KEPT + 2)

    with folder.opened(oldest.name, settings):
        os.utime(oldest, (0, 0))
        for number in range(folder.KEPT + 2):
            with folder.opened(f"new-{number}", settings):
                assert (oldest / "outputs" / "model").exists()

    with folder.opened("last", settings):
        assert not oldest.exists()
