"""Take a model as it is, without training."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pipeline import settings as configuration
from pipeline.data import folders, sources
from pipeline.errors import PipelineError
from pipeline.evaluation import Subject
from pipeline.progress import say
from pipeline.registry import Registry, faults
from pipeline.settings import Settings
from pipeline.steps.evaluate import subject
from predictor import bundle, golden
from predictor.bundle import Bundle
from predictor.errors import BundleError


def run(source: str, out: Path, *, job: str, settings: Settings | None = None) -> Subject:
    """Write a bundle of the model that a source names into `out`.

    A bundle that is complete is copied as it is: its golden answers are what it was registered
    with, and are not recorded again. `out` has all of it or what it had before.

    Args:
        source: as `sources.fetch` knows it.

    Raises:
        SettingsError: no such source.
        PipelineError: no model there that can be used.
        Unavailable: MLflow, the store or the hub does not answer.
    """
    settings = settings or configuration.load()
    registry = Registry(settings)
    run_id = registry.run(job).info.run_id
    with (
        tempfile.TemporaryDirectory(prefix="gliner-candidate-") as work,
        folders.replaced(out) as part,
        faults.translated(f"the bundle of {source}"),
    ):
        found = sources.fetch(source, Path(work) / "source", settings)
        if _complete(found):
            shutil.copytree(found.folder, part, dirs_exist_ok=True)
        else:
            _write(source if not source.startswith("models:/") else str(found.folder), part)
    candidate = subject(out)
    registry.note(run_id, {"candidate_source": source, "candidate_bundle_digest": candidate.digest})
    say(
        f"candidate {candidate.id} from {source}: {candidate.size_bytes / 1e6:.0f} MB, "
        f"digest {candidate.digest[:12]}"
    )
    return candidate


def _complete(found: Bundle) -> bool:
    return all((found.folder / name).is_file() for name in ("bundle.json", golden.FILE))


def _write(source: str, part: Path) -> None:
    try:
        bundle.write(source, part)
    except BundleError as error:
        raise PipelineError(str(error)) from error
