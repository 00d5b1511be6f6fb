"""The schedule on Kubeflow: one recurring run that is as it should be, however often it is asked.

A recurring run cannot be changed. The new one is made disabled, the old one deleted, the new
one enabled: killed in between, the next call goes on where this one stopped, and two never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from croniter import CroniterError, croniter

from pipeline import arguments as arguments_of
from pipeline.errors import SettingsError
from pipeline.runs.connection import NOT_FOUND, Refusal, asking, connect, named, once, pages
from pipeline.runs.kubeflow import Package, experiment_id, find_version, put
from pipeline.settings import Settings

DAILY = "0 3 * * *"
GRAPH = "refresh"
NAME = "gliner-refresh"
SHOWN = 3
_FIELD = re.compile(r"[0-9*/,\-?]+|[A-Za-z]{3}([-,][A-Za-z]{3})*")


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule as Kubeflow has it: six fields, seconds first."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Cron:
        """From five fields, or six.

        Raises:
            SettingsError: it is no schedule that Kubeflow understands.
        """
        fields = text.split()
        if len(fields) not in (5, 6):
            raise SettingsError(
                f"cron {text!r} has {len(fields)} fields; it must have five (minute, hour, day, "
                "month, weekday) or six (seconds first), such as '0 3 * * *'"
            )
        if len(fields) == 5:
            fields = ["0", *fields]
        for field in fields:
            if not _FIELD.fullmatch(field):
                raise SettingsError(f"cron {text!r}: Kubeflow does not understand {field!r}")
        if "7" in re.findall(r"\d+", fields[5]):
            raise SettingsError(f"cron {text!r}: weekdays are 0 (Sunday) to 6; Kubeflow has no 7")
        cron = cls(" ".join(fields))
        try:
            cron.next(1)
        except CroniterError as error:
            raise SettingsError(f"cron {text!r}: {error}") from None
        return cron

    def next(self, count: int, after: datetime | None = None) -> list[datetime]:
        """The next times."""
        times = croniter(self.text, after or datetime.now(timezone.utc), second_at_beginning=True)
        return [times.get_next(datetime) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a recurring run should be.

    Attributes:
        version: the name of the graph's version.
    """

    cron: str
    arguments: Mapping[str, Any]
    version: str
    service_account: str

    def differences(self, existing: Any, versions: Mapping[str, str]) -> list[str]:
        """What is otherwise in a recurring run that exists, one line each.

        Args:
            versions: names of the graph's versions by their id.
        """
        schedule = existing.trigger and existing.trigger.cron_schedule
        found = dict((existing.runtime_config and existing.runtime_config.parameters) or {})
        reference = existing.pipeline_version_reference
        version_id = reference.pipeline_version_id if reference else ""
        pairs = [
            ("cron", schedule.cron if schedule else None, self.cron),
            ("graph", versions.get(version_id, version_id or None), self.version),
            # Kubeflow fills in its own account where none was named.
            *(
                [("service account", existing.service_account, self.service_account)]
                if self.service_account
                else []
            ),
            ("runs at once", int(existing.max_concurrency or 0), 1),
            ("catches up", not existing.no_catchup, False),
        ]
        names = sorted({*found, *self.arguments})
        pairs += [(name, found.get(name), self.arguments.get(name)) for name in names]
        return [
            f"{name}: {_shown(before)} → {_shown(after)}"
            for name, before, after in pairs
            if before != after
        ]


def schedule(
    cron: str,
    arguments: Mapping[str, Any],
    settings: Settings,
    *,
    name: str = NAME,
    only_show: bool = False,
) -> list[str]:
    """Run the refresh graph again and again. Called twice, it changes nothing.

    Args:
        cron: five fields, or six with seconds first, in the cluster's time.
        arguments: what differs from the graph's defaults.
        only_show: change nothing, and say what would be.

    Returns:
        What was changed, and the next times, for a person.

    Raises:
        SettingsError: the schedule or an argument is wrong.
        Unavailable: Kubeflow does not answer; doing it again is right.
    """
    timing = Cron.parse(cron)
    arguments_of.check(GRAPH, arguments)
    client = connect(settings)
    package = Package.of(GRAPH, settings)
    wanted = Wanted(timing.text, dict(arguments), package.version, settings.kfp_service_account)
    existing = list(_existing(name, client, settings))
    versions = _versions(package, client, settings)
    changes = {one.recurring_run_id: wanted.differences(one, versions) for one in existing}
    kept = next((one for one in existing if not changes[one.recurring_run_id]), None)
    lines = list(_told(name, wanted, existing, kept, changes, only_show))
    if not only_show:
        _apply(name, wanted, package, existing, kept, client, settings)
    times = ", ".join(f"{one:%a %d %b %H:%M}" for one in timing.next(SHOWN))
    return [*lines, f"next, where the cluster's time is UTC: {times}"]


def _told(
    name: str,
    wanted: Wanted,
    existing: list[Any],
    kept: Any,
    changes: Mapping[str, list[str]],
    only_show: bool,
) -> Iterator[str]:
    would = "would be " if only_show else ""
    if kept is not None and kept.mode == "ENABLE" and len(existing) == 1:
        yield f"{name}: unchanged"
    elif kept is not None:
        if kept.mode != "ENABLE":
            yield f"{name}: {would}enabled"
        if len(existing) > 1:
            yield f"{name}: {would}the only one of its name; {len(existing) - 1} deleted"
    elif existing:
        yield f"{name}: {would}changed"
        yield from (f"  {line}" for line in changes[existing[0].recurring_run_id])
    else:
        yield f"{name}: {would}created"
        yield f"  cron: {wanted.cron}"
        yield f"  graph: {wanted.version}"
        yield from (f"  {key}: {_shown(value)}" for key, value in wanted.arguments.items())


def _apply(
    name: str,
    wanted: Wanted,
    package: Package,
    existing: list[Any],
    kept: Any,
    client: Any,
    settings: Settings,
) -> None:
    if kept is None:
        kept = _create(name, wanted, package, existing, client, settings)
    for one in existing:
        if one.recurring_run_id != kept.recurring_run_id:
            _delete(one.recurring_run_id, client, settings)
    if kept.mode != "ENABLE":
        with asking(settings):
            client.enable_recurring_run(kept.recurring_run_id)


def _create(
    name: str,
    wanted: Wanted,
    package: Package,
    existing: list[Any],
    client: Any,
    settings: Settings,
) -> Any:
    uploaded = put(package, client, settings)
    experiment = experiment_id(client, settings)
    old = {one.recurring_run_id for one in existing}
    versions = {uploaded.version_id: package.version}

    def find() -> Any:
        """One that was made although its answer was lost."""
        return next(
            (
                one
                for one in _existing(name, client, settings)
                if one.recurring_run_id not in old and not wanted.differences(one, versions)
            ),
            None,
        )

    def make() -> Any:
        with asking(settings):
            return client.create_recurring_run(
                experiment_id=experiment,
                job_name=name,
                cron_expression=wanted.cron,
                # A cluster that was down runs the graph once, not once for each missed day.
                no_catchup=True,
                max_concurrency=1,
                params=dict(wanted.arguments),
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                enabled=False,
                service_account=wanted.service_account or None,
            )

    return once(find, make)[0]


def _delete(recurring_run_id: str, client: Any, settings: Settings) -> None:
    try:
        with asking(settings):
            client.delete_recurring_run(recurring_run_id)
    except Refusal as refusal:
        if refusal.status != NOT_FOUND:
            raise


def _existing(name: str, client: Any, settings: Settings) -> Iterator[Any]:
    space = {"namespace": settings.kfp_namespace} if settings.kfp_namespace else {}
    with asking(settings):
        yield from pages(client.list_recurring_runs, "recurring_runs", filter=named(name), **space)


def _versions(package: Package, client: Any, settings: Settings) -> dict[str, str]:
    """The name of the graph's version by its id, where it has been uploaded."""
    with asking(settings):
        pipeline_id = client.get_pipeline_id(package.pipeline)
    if not pipeline_id:
        return {}
    version_id = find_version(package, pipeline_id, client, settings)
    return {version_id: package.version} if version_id else {}


def _shown(value: Any) -> str:
    return "(default)" if value is None else str(value)
