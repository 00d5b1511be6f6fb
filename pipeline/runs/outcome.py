"""What a pipeline run came to, as its steps left it on the MLflow run."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import PipelineError, Refused, RolloutFailed
from pipeline.settings import Settings

FAILED = "failed"
_EXIT_CODES = {"refused": Refused.exit_code, "rolled_back": RolloutFailed.exit_code}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        name: as in `RunTag.OUTCOME`; empty where the steps left none.
        reason: why, in one line; empty where there is nothing to explain.
        version: what it registered or moved.
        url: its MLflow run in the UI.
    """

    name: str = ""
    reason: str = ""
    version: int | None = None
    url: str = ""

    @property
    def exit_code(self) -> int:
        """Of a run that did all its work: 0, unless its answer was no."""
        return _EXIT_CODES.get(self.name, 0)

    def __str__(self) -> str:
        words = self.name.replace("_", " ") or "done"
        return f"{words}, version {self.version}" if self.version else words


def of(job: str, settings: Settings) -> Outcome:
    """Ask MLflow about a run.

    Args:
        job: the run's id, which all its steps were given.

    Raises:
        Unavailable: MLflow does not answer.
        PipelineError: it knows no such run.
    """
    from pipeline.registry import Registry, RunTag

    registry = Registry(settings)
    found = registry.known_run(job)
    if found is None:
        raise PipelineError(
            f"MLflow at {settings.tracking_uri} has no run of {job} in the experiment "
            f"{settings.experiment}; PIPELINE_TRACKING_URI and PIPELINE_EXPERIMENT must be those "
            "of its steps"
        )
    tags = found.data.tags
    version = tags.get(RunTag.VERSION, "")
    return Outcome(
        name=tags.get(RunTag.OUTCOME, ""),
        reason=tags.get(RunTag.REASON, ""),
        version=int(version) if version.isdigit() else None,
        url=registry.run_url(found),
    )
