"""Every server, right and file that the lifecycle needs: each ok, or what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import httpx

from pipeline.doctor import artifacts, database, machine, services, tracking
from pipeline.doctor.finding import Finding, unset, wrong
from pipeline.errors import PipelineError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Finding", "run", "show"]


def run(settings: Settings, *, send: bool = False, data: str = "") -> list[Finding]:
    """Look at everything. What is not configured is no fault, and nothing raises.

    A probe object is written to the artifacts and deleted again; nothing else is changed.

    Args:
        send: have Slack take a message.
        data: the evaluation data, a folder or `s3://` address.
    """
    settings = settings.impatient()
    found = [*machine.packages(), *machine.disk(settings)]
    answers = tracking.reachable(settings)
    found.append(answers)
    if answers.state == "ok":
        found += _looked(tracking.AREA, tracking.check(settings))
        found += _looked(artifacts.AREA, artifacts.check(settings))
    else:
        found.append(unset(artifacts.AREA, "not looked at: MLflow has to answer first"))
    found += _looked(database.AREA, database.check(settings))
    found.append(services.data(data, settings))
    found.append(services.predictor(settings, registry=answers.state == "ok"))
    found += _looked(services.ROLLOUT, services.rollout(settings))
    found.append(services.kubeflow(settings))
    found.append(services.prometheus(settings))
    if answers.state == "ok":
        found += _looked(tracking.WEBHOOKS, tracking.webhooks(settings))
    else:
        found.append(unset(tracking.WEBHOOKS, "not looked at: MLflow has to answer first"))
    found.append(services.slack(settings, send=send))
    return found


def show(findings: Iterable[Finding], console: Console) -> int:
    """Print them, and return the exit code: 1 where something has to be done, else 0."""
    from rich.markup import escape
    from rich.table import Table

    marks = {"ok": "[green]ok[/green]", "wrong": "[bold red]no[/bold red]", "unset": "[dim]–[/dim]"}
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    faults, before = 0, ""
    for one in findings:
        text = escape(one.text)
        if one.state == "unset":
            text = f"[dim]{text}[/dim]"
        if one.remedy:
            text += f"\n→ {escape(one.remedy)}"
        table.add_row(marks[one.state], "" if one.area == before else one.area, text)
        faults += one.state == "wrong"
        before = one.area
    console.print(table)
    if faults:
        console.print(f"\n{faults} to do" if faults > 1 else "\n1 to do")
    return 1 if faults else 0


def _looked(area: str, checks: Iterator[Finding]) -> list[Finding]:
    """What a check yields, up to where its server went away."""
    found: list[Finding] = []
    try:
        found.extend(checks)
    except (PipelineError, httpx.HTTPError) as error:
        found.append(
            wrong(area, str(error) or type(error).__name__, "look at it and run this again")
        )
    return found
