"""What serves, what waits for its turn, how the last runs went, and how old it all is.

Reading changes nothing, and what does not answer is part of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from pydantic import computed_field

from pipeline.errors import PipelineError, Unavailable
from pipeline.evaluation import Value
from pipeline.registry import Registry
from pipeline.registry.versions import CHAMPION, RunTag, Tag, Version, when
from pipeline.review import tags as review_tags
from pipeline.settings import Settings
from pipeline.status.serving import Serving, ask, moving_among

if TYPE_CHECKING:
    from mlflow.entities import Run
    from rich.console import Console

STALE = 8
"""Exit code: no new version, or no evaluation, for too long."""
MISMATCH = 9
"""Exit code: the predictor serves something else than the registry says."""
RUNS = 8


class Line(Value):
    """A version under an alias.

    Attributes:
        since: when it got the alias, where its history says so.
        age_hours: since it was registered.
        review: pending, approved, rejected, expired, or empty where none was asked.
        expires_at: when a pending review expires.
    """

    number: int
    f1: float | None
    digest: str
    created_at: datetime
    age_hours: float
    since: datetime | None = None
    gate: str = ""
    review: str = ""
    expires_at: datetime | None = None
    url: str


class Rollout(Value):
    """A rollout or rollback that has begun and not ended; also one whose process was killed."""

    version: int
    state: str
    percent: int | None
    previous: int | None


class Held(Value):
    """A version newer than the champion that a person rolled back.

    Attributes:
        by: who.
        detail: one sentence.
    """

    version: int
    by: str
    detail: str


class RunLine(Value):
    """A pipeline run.

    Attributes:
        outcome: `RunTag.OUTCOME`, else MLflow's state of the run.
        seconds: its duration, up to now for one that runs.
    """

    job: str
    started_at: datetime
    seconds: float
    outcome: str
    version: int | None
    reason: str
    url: str


class Clock(Value):
    """How long ago something happened last, against a limit.

    Attributes:
        at: None where it never did, which is stale as well.
    """

    name: str
    at: datetime | None
    hours: float | None
    limit_hours: float
    stale: bool


class Status(Value):
    """Everything that `python -m pipeline status` shows.

    Attributes:
        mlflow_error: why MLflow does not answer; then only `serving` says something.
    """

    at: datetime
    model: str
    mlflow_url: str
    mlflow_error: str = ""
    champion: Line | None = None
    challenger: Line | None = None
    rollout: Rollout | None = None
    held: tuple[Held, ...] = ()
    serving: Serving
    clocks: tuple[Clock, ...] = ()
    runs: tuple[RunLine, ...] = ()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> int:
        """0 well; 7 MLflow or the predictor does not answer; 9 another version serves; 8 stale.

        The first of these that holds, in this order.
        """
        if self.mlflow_error or not self.serving.answers:
            return Unavailable.exit_code
        if self.serving.agrees is False:
            return MISMATCH
        return STALE if any(clock.stale for clock in self.clocks) else 0


def collect(settings: Settings) -> Status:
    """Ask MLflow and the predictor. Never raises for a server that does not answer."""
    quick = settings.impatient()
    registry = Registry(quick)
    at = datetime.now(timezone.utc)
    try:
        versions = registry.versions()
        runs = registry.runs(RUNS)
        champion, challenger = registry.champion(), registry.challenger()
    except PipelineError as error:
        return Status(
            at=at,
            model=settings.model_name,
            mlflow_url=settings.tracking_uri,
            mlflow_error=str(error),
            serving=ask(quick, (), None, None),
        )
    moving = moving_among(versions)
    limit = settings.stale_after_hours
    return Status(
        at=at,
        model=settings.model_name,
        mlflow_url=settings.tracking_uri,
        champion=_line(champion, registry, at),
        challenger=_line(challenger, registry, at),
        rollout=moving and _rollout(moving),
        held=tuple(
            _held(one)
            for one in versions
            if review_tags.held(one) and (champion is None or one.number > champion.number)
        ),
        serving=ask(quick, versions, champion, moving),
        clocks=(
            _clock(
                "new version", max((one.created_at for one in versions), default=None), limit, at
            ),
            _clock("evaluation", _evaluated(versions), limit, at),
        ),
        runs=tuple(_run_line(run, registry, at) for run in runs),
    )


def show(status: Status, console: Console, *, as_json: bool = False) -> None:
    """Print it, for people or for scripts."""
    if as_json:
        console.print(
            status.model_dump_json(indent=2), soft_wrap=True, markup=False, highlight=False
        )
        return
    from pipeline.status import view  # rich's tables are of no use to scripts

    view.show(status, console)


def _line(version: Version | None, registry: Registry, at: datetime) -> Line | None:
    if version is None:
        return None
    alias = CHAMPION if CHAMPION in version.aliases else "challenger"
    moves = [moved for moved, text in version.events if text.startswith(f"{alias}:")]
    review = version.tags.get(Tag.REVIEW, "")
    asked = _time(version.tags.get(Tag.REVIEW_ASKED_AT, ""))
    waits = timedelta(hours=registry.settings.review_hours)
    return Line(
        number=version.number,
        f1=version.f1,
        digest=version.digest,
        created_at=version.created_at,
        age_hours=_hours(version.created_at, at),
        since=moves[-1] if moves else None,
        gate=version.tags.get(Tag.GATE, ""),
        review=review,
        expires_at=asked + waits if review == "pending" and asked else None,
        url=registry.version_url(version.number),
    )


def _rollout(version: Version) -> Rollout:
    return Rollout(
        version=version.number,
        state=version.tags[Tag.ROLLOUT],
        percent=_number(version.tags.get(Tag.ROLLOUT_PERCENT, "")),
        previous=_number(version.tags.get(Tag.ROLLOUT_PREVIOUS, "")),
    )


def _held(version: Version) -> Held:
    return Held(
        version=version.number,
        by=version.tags[Tag.ROLLED_BACK_BY],
        detail=review_tags.why_held(version),
    )


def _run_line(run: Run, registry: Registry, at: datetime) -> RunLine:
    tags = run.data.tags
    started = when(run.info.start_time)
    ended = when(run.info.end_time) if run.info.end_time else at
    return RunLine(
        job=tags.get(RunTag.JOB, run.info.run_name or run.info.run_id),
        started_at=started,
        seconds=max(0.0, (ended - started).total_seconds()),
        outcome=tags.get(RunTag.OUTCOME) or run.info.status.lower(),
        version=_number(tags.get(RunTag.VERSION, "")),
        reason=tags.get(RunTag.REASON, ""),
        url=registry.run_url(run),
    )


def _evaluated(versions: Sequence[Version]) -> datetime | None:
    found = (_time(one.tags.get(Tag.EVALUATED_AT, "")) for one in versions)
    return max((at for at in found if at), default=None)


def _clock(name: str, last: datetime | None, limit: float, at: datetime) -> Clock:
    hours = None if last is None else _hours(last, at)
    stale = hours is None or hours > limit
    return Clock(name=name, at=last, hours=hours, limit_hours=limit, stale=stale)


def _hours(since: datetime, at: datetime) -> float:
    # Clocks of two machines may differ: nothing is younger than now.
    return max(0.0, (at - since).total_seconds()) / 3600


def _time(text: str) -> datetime | None:
    """A time from a tag, which people may have written by hand."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
