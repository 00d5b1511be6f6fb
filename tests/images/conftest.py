"""Built images for tests.

What starts an image needs it built, which takes root and ten minutes; `make test` has neither. So
these tests belong to `make images`, which says so by IMAGES=1. They are left out and not skipped
elsewhere: CI takes a skip for a hole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import container
import pytest
from container import Image

import predictor


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get("IMAGES") == "1":
        return
    built = [item for item in items if item.get_closest_marker("images")]
    if built:
        config.hook.pytest_deselected(items=built)
        items[:] = [item for item in items if item not in built]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Image]]:
    """Images by their short name, mounted for as long as the tests run."""
    containers = []

    @cache
    def mounted(name: str) -> Image:
        full = (
            container.BASE
            if name == "base"
            else f"localhost/gliner-kserve/{name}:{predictor.__version__}"
        )
        containers.append(container.buildah("from", "--pull-never", full))
        root = Path(container.buildah("mount", containers[-1]))
        shared = tmp_path_factory.mktemp(f"shared-{name}")
        shared.chmod(0o777)
        return Image(full, root, shared)

    yield mounted
    for one in containers:
        container.buildah("rm", one)
