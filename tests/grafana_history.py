"""A registered model's past in a real MLflow: versions, evaluations, reviews, failed runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

import reviewed

from pipeline.evaluation import Dataset, Evaluation, Latency, Measured, Score, Subject
from pipeline.measuring import metrics
from pipeline.registry import CHAMPION, Registry, RunTag, Tag, Version
from pipeline.settings import Settings

HOUR = 3600
DAY = 24 * HOUR
_SPEED = Latency(p50_ms=20, p95_ms=30, p99_ms=40, texts_per_second=50)
_DATA = Dataset(uri="s3://data/eval", digest="0" * 64, rows=9, mentions=20, labels=("person",))


class History:
    """Writes into MLflow what the pipeline would have, at any time in the past.

    Args:
        settings: which MLflow, model and experiment.
        writer: a connection that may change the times that MLflow sets by itself.
    """

    def __init__(self, settings: Settings, writer: Any) -> None:
        self.registry = Registry(settings)
        self.name = settings.model_name
        self.now = int(time.time())
        self._writer = writer

    def version(self, ago: float = 0, **tags: object) -> int:
        """One more version, registered that many seconds ago."""
        number = reviewed.register(self.registry, **tags)
        made = (self.now - ago) * 1000
        self.change("UPDATE registered_models SET creation_time = %s WHERE name = %s", made)
        self.change(
            "UPDATE model_versions SET creation_time = %s WHERE name = %s AND version = %s",
            made,
            number,
        )
        return number

    def champion(self, number: int) -> None:
        """Point the alias at a version."""
        self.registry.point(CHAMPION, self.found(number), "test")

    def found(self, number: int) -> Version:
        """A version as it is now."""
        return reviewed.version(self.registry, number)

    def evaluated(
        self,
        f1: float,
        *,
        ago: float = 0,
        version: int | None = None,
        champion: tuple[int, float] | None = None,
        labels: Mapping[str, float] | None = None,
        champion_labels: Mapping[str, float] | None = None,
        status: str = "FINISHED",
    ) -> str:
        """A run that measured a candidate, and the champion beside it where one is given.

        Returns:
            The run's id.
        """
        from mlflow.entities import Metric

        theirs = measured(champion[1], champion_labels or {}, champion[0]) if champion else None
        evaluation = Evaluation(
            created_at=datetime.now(timezone.utc),
            dataset=_DATA,
            candidate=measured(f1, labels or {}),
            champion=theirs,
            comparison=None,
        )
        run_id = self.run(status, ago=ago, version=version)
        at = int(self.now - ago) * 1000
        values = [Metric(key, value, at, 0) for key, value in metrics.of(evaluation).items()]
        self.registry.client.log_batch(run_id, metrics=values)
        if champion:
            self.registry.note(run_id, {"champion_version": champion[0]})
        return run_id

    def run(self, status: str, *, ago: float = 0, version: int | None = None) -> str:
        """A pipeline run that ended in some way."""
        run_id: str = self.registry.run(f"job-{uuid4().hex}").info.run_id
        if version is not None:
            self.registry.note(run_id, {RunTag.VERSION: version})
        self.registry.finish(run_id, status)  # type: ignore[arg-type]
        self.change(
            "UPDATE runs SET start_time = %s WHERE experiment_id = "
            "(SELECT experiment_id FROM experiments WHERE name = %s) AND run_uuid = %s",
            (self.now - ago) * 1000,
            run_id,
        )
        return run_id

    def asked(self, ago: float) -> int:
        """A version whose review was asked that many seconds ago."""
        number = reviewed.asked(self.registry)
        then = datetime.fromtimestamp(self.now - ago, timezone.utc)
        then_text = then.isoformat(timespec="seconds")
        self.registry.tag(self.found(number), {Tag.REVIEW_ASKED_AT: then_text})
        return number

    def setting(self, key: str, value: object) -> None:
        """Set a tag of the registered model."""
        self.registry.client.set_registered_model_tag(self.name, key, str(value))

    def delete(self, number: int) -> None:
        """Delete a version, as the MLflow UI does."""
        self.registry.client.delete_model_version(self.name, str(number))

    def change(self, statement: str, time: float, *more: object) -> None:
        """Set a time that MLflow set; the statement takes it, then the model's name."""
        with self._writer.cursor() as cursor:
            cursor.execute(statement, (int(time), self.name, *more))


def measured(f1: float, labels: Mapping[str, float], version: int | None = None) -> Measured:
    """What an evaluation says of one model."""
    return Measured(
        subject=Subject(id="gliner", digest="0" * 64, size_bytes=25_000_000, version=version),
        micro=score(f1),
        macro_f1=f1,
        labels={label: score(value) for label, value in labels.items()},
        latency=_SPEED,
    )


def score(f1: float) -> Score:
    """A score with this F1."""
    return Score(precision=f1, recall=f1, f1=f1, f1_low=f1, f1_high=f1, support=20, found=20)
