"""A registered model version as we read it, and the names of the tags that it carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

CHAMPION = "champion"
"""The alias of the version that serves."""
CHALLENGER = "challenger"
"""The alias of the version that is on trial or waits for its review."""


class Tag:
    """The tags of a version, which reviewers and Grafana read."""

    BUNDLE_DIGEST = "bundle_digest"
    DATASET_DIGEST = "dataset_digest"
    MODEL_ID = "model_id"  # MLflow's id of its files, which MLflow itself does not give back
    EVALUATED_AT = "evaluated_at"
    JOB = "job"  # the pipeline run that registered it
    STATUS = "status"
    # candidate, refused, challenger, champion, retired, rolled_back, rejected, expired
    GATE = "gate"  # passed, refused, forced
    GATE_REASON = "gate_reason"
    REVIEW = "review"  # pending, approved, rejected, expired
    REVIEW_ASKED_AT = "review_asked_at"  # ISO 8601 in UTC, as every time in a tag
    ROLLOUT = "rollout"  # running, promoted, rolling_back, rolled_back, put_off
    ROLLOUT_BY = "rollout_by"  # who began it: the pipeline run and its process
    ROLLOUT_PERCENT = "rollout_percent"
    ROLLOUT_PREVIOUS = "rollout_previous"  # number of the champion before
    ROLLOUT_REASON = "rollout_reason"
    ROLLED_BACK_BY = "rolled_back_by"  # who did so by hand; empty again once a person wants it back
    EVENT = "event."  # followed by milliseconds since the epoch


class RunTag:
    """The tags of an MLflow run: what the pipeline run came to, for `status` and messages."""

    JOB = "pipeline.job"  # the Kubeflow job id, or the local one
    OUTCOME = "pipeline.outcome"  # promoted, refused, …: docs/pipeline.md, Words
    VERSION = "pipeline.version"
    REASON = "pipeline.reason"
    STEP = "pipeline.step"  # the step that failed


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model version.

    Attributes:
        number: its number, from 1.
        run_id: the MLflow run that registered it.
        model_id: MLflow's id of its files.
        created_at: aware, UTC.
        tags: all its tags.
        aliases: such as `champion`.
    """

    number: int
    run_id: str
    model_id: str
    created_at: datetime
    description: str = field(repr=False)
    tags: Mapping[str, str] = field(repr=False)
    aliases: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the files that decide its answers."""
        return self.tags.get(Tag.BUNDLE_DIGEST, "")

    @property
    def f1(self) -> float | None:
        """Micro-F1 as last measured, where it was."""
        return float(self.tags["f1"]) if "f1" in self.tags else None

    @property
    def events(self) -> list[tuple[datetime, str]]:
        """Its history, oldest first."""
        found = [
            (int(key.removeprefix(Tag.EVENT)), text)
            for key, text in self.tags.items()
            if key.startswith(Tag.EVENT)
        ]
        return [(when(at), text) for at, text in sorted(found)]


def now() -> str:
    """The time for a tag: ISO 8601 in UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def when(milliseconds: int) -> datetime:
    """A time as MLflow writes it."""
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
