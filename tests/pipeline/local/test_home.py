"""The demo's folder: what is not a demo's is never deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.errors import SettingsError
from pipeline.local import home
from pipeline.local.process import free_port


def demo(folder: Path) -> int:
    """The exit code of a demo that is stopped by its folder."""
    ports = (f"--{name}-port={free_port()}" for name in ("http", "grpc", "mlflow"))
    return main(["demo", *ports, "--home", str(folder)])


def test_somebodys_files_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with anything in it that no demo made is refused, and nothing in it is touched."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "thesis.txt").write_text("years of work")

    code = demo(tmp_path)

    assert code == 2
    assert "holds files that are no demo's" in capsys.readouterr().err
    assert [file.name for file in tmp_path.rglob("*")] == ["sub", "thesis.txt"]


def test_a_file_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says so, and the file is as it was."""
    file = tmp_path / "README.md"
    file.write_text("read me")

    code = demo(file)

    assert code == 2
    assert capsys.readouterr().err.endswith("`--home` must be a folder that can be written\n")
    assert file.read_text() == "read me"


def test_a_demos_own_folder_is_emptied(tmp_path: Path) -> None:
    """What an earlier demo left is gone; what a link in it leads to stays."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    folder = tmp_path / "new" / "home"
    with home.held(folder):
        (folder / "mlflow").mkdir()
        (folder / "mlflow" / "mlflow.db").touch()
        (folder / "linked").symlink_to(elsewhere)

    with home.held(folder):
        left = {one.name for one in folder.iterdir()}

    assert left == {".gliner-demo", ".gliner-demo.lock"}
    assert (elsewhere / "kept").exists()


def test_the_default_folder_of_earlier_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They left no mark there; it is taken as theirs, since nothing else writes there."""
    monkeypatch.chdir(tmp_path)
    old = home.DEFAULT / "mlflow"
    old.mkdir(parents=True)

    with home.held(home.DEFAULT):
        assert not old.exists()


def test_a_demo_that_runs_keeps_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second one with the same folder, on other ports, is told so and deletes nothing."""
    with home.held(tmp_path / "home"):
        database = tmp_path / "home" / "mlflow.db"
        database.touch()

        code = demo(tmp_path / "home")

        assert database.exists()
    assert code == 2
    assert "another demo runs in" in capsys.readouterr().err


def test_the_folder_above_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run folders and checkpoints lie there."""
    monkeypatch.chdir(tmp_path)
    (home.DEFAULT.parent / "checkpoints").mkdir(parents=True)

    with pytest.raises(SettingsError, match="no demo's"), home.held(home.DEFAULT.parent):
        pass

    assert (home.DEFAULT.parent / "checkpoints").exists()
