"""Versions on the disk: whole or not there, and never more than needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from predictor.downloads import Downloads
from predictor.errors import Unavailable
from predictor.registry import Version


class Store:
    """A registry whose versions hold one file each."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    def download(self, version: Version, out: Path) -> None:
        self.asked.append(version.number)
        out.mkdir()
        (out / "half").touch()
        if self.error:
            raise self.error
        (out / "whole").write_text(version.number)


def version(number: int, files: str = "models:/m-1") -> Version:
    return Version("ner", str(number), files)


def get(downloads: Downloads, wanted: Version, store: Any) -> Path:
    return downloads.get(wanted, store)


def test_a_version_is_downloaded_once(tmp_path: Path) -> None:
    """What is there whole is not asked for again, also after a restart."""
    store = Store()
    first = get(Downloads(tmp_path / "new" / "cache"), version(1), store)

    again = get(Downloads(tmp_path / "new" / "cache"), version(1), store)

    assert first == again
    assert (first / "whole").read_text() == "1"
    assert store.asked == ["1"]


def test_the_same_number_with_other_files(tmp_path: Path) -> None:
    """A registry that was made anew counts from one again: its version 1 is another."""
    store = Store()

    first = get(Downloads(tmp_path), version(1), store)
    other = get(Downloads(tmp_path), version(1, "models:/m-2"), store)

    assert first != other
    assert store.asked == ["1", "1"]


@pytest.mark.parametrize("error", [Unavailable("gone"), OSError(28, "No space left on device")])
def test_half_a_download_is_none(tmp_path: Path, error: Exception) -> None:
    """What broke off leaves nothing behind, and is tried again."""
    with pytest.raises(Unavailable):
        get(Downloads(tmp_path), version(1), Store(error))
    assert list(tmp_path.iterdir()) == []

    whole = get(Downloads(tmp_path), version(1), Store())

    assert (whole / "whole").is_file()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The line names the setting."""
    (tmp_path / "file").touch()

    with pytest.raises(Unavailable, match=r"cannot be written.*GLINER_CACHE_DIR"):
        get(Downloads(tmp_path / "file" / "cache"), version(1), Store())


def test_prune(tmp_path: Path) -> None:
    """The serving version and the one before it stay; others and broken-off downloads go."""
    downloads, store = Downloads(tmp_path), Store()
    one, two, three = (get(downloads, version(number), store) for number in (1, 2, 3))
    for age, folder in ((30, three), (20, two), (10, one)):
        os.utime(folder, (age, age))
    (tmp_path / ".partial-killed").mkdir()
    get(downloads, version(3), store)  # used last, though not downloaded last

    downloads.prune(one / "deep" / "inside")

    assert set(tmp_path.iterdir()) == {one, three}


def test_discard(tmp_path: Path) -> None:
    """A version goes whole, whichever of its folders is named."""
    downloads = Downloads(tmp_path)
    folder = get(downloads, version(1), Store())

    downloads.discard(folder / "bundle")

    assert not folder.exists()


def test_names_stay_inside_the_folder(tmp_path: Path) -> None:
    """No name of a model leads out of the folder."""
    folder = get(Downloads(tmp_path), Version("../..", "1", "x"), Store())

    assert folder.resolve().parent == tmp_path.resolve()
