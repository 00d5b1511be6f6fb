"""What happens to a model in MLflow's database, for alerts about it."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_history import DAY, HOUR, History

from pipeline.review import answers

Story = Iterator[float]
"""The model is well, then something is wrong, then it is well again. Each time says how many
seconds later it is than now."""
OLDER = (
    "UPDATE registered_models SET creation_time = creation_time - %s WHERE name = %s",
    "UPDATE model_versions SET creation_time = creation_time - %s WHERE name = %s",
    "UPDATE latest_metrics SET timestamp = timestamp - %s WHERE run_uuid IN (SELECT run_uuid "
    "FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = %s)",
)
"""What makes all that a model has older, by milliseconds."""


def goes_stale(past: History) -> Story:
    """Time goes by, until there is something new."""
    past.version(35 * HOUR)
    past.evaluated(0.8, ago=35 * HOUR)
    yield 0
    for statement in OLDER:
        past.change(statement, 2 * HOUR * 1000)
    yield 0
    past.version()
    past.evaluated(0.8)
    yield 0


def is_measured(past: History, *scores: float) -> Story:
    """The champion is measured again and again, an hour apart."""
    past.champion(past.version())
    for ago, f1 in zip(range(len(scores), 0, -1), scores, strict=True):
        past.evaluated(0.5, ago=ago * HOUR, champion=(1, f1))
        yield 0


def is_too_good(past: History) -> Story:
    """Until the ceiling is raised."""
    yield from is_measured(past, 0.9, 0.99)
    past.setting("alert.f1_ceiling", 0.995)
    yield 0


def loses_a_label(past: History) -> Story:
    """All labels together are as good as before."""
    past.champion(past.version())
    for ago, f1 in ((3, 0.8), (2, 0.3), (1, 0.7)):
        labels = {"person": f1}
        past.evaluated(0.5, ago=ago * HOUR, champion=(1, 0.9), champion_labels=labels)
        yield 0


def fails(past: History) -> Story:
    """Until a run comes to its end."""
    past.version()
    past.run("FINISHED", ago=5 * HOUR)
    yield 0
    for ago in (4, 3, 2):
        past.run("FAILED", ago=ago * HOUR)
    yield 0
    past.run("FINISHED", ago=HOUR)
    yield 0


def waits_for_its_review(past: History) -> Story:
    """A day and an hour, until somebody decides."""
    number = past.asked(23 * HOUR)
    yield 0
    yield 2 * HOUR
    answers.reject(number, by="Ada", reason="no", settings=past.registry.settings)
    yield 2 * HOUR


def is_rolled_back(past: History) -> Story:
    """For a day."""
    number = past.version()
    yield 0
    past.registry.event(past.found(number), "rolled back: errors")
    yield 60
    yield DAY + 120
