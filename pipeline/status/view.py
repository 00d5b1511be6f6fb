"""The status as a terminal shows it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.status import Clock, Line, Rollout, RunLine, Status

_OUTCOMES = {
    "promoted": "green",
    "evaluated": "green",
    "running": "cyan",
    "awaiting_review": "yellow",
    "refused": "yellow",
    "rolled_back": "red",
    "failed": "red",
    "killed": "red",
}
_LONGEST_REASON = 90


def show(status: Status, console: Console) -> None:
    """Print what serves, what waits, the clocks and the last runs."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("model", f"{escape(status.model)}  [dim]{escape(status.mlflow_url)}[/dim]")
    if status.mlflow_error:
        table.add_row("registry", f"[red]unavailable[/red]  {escape(status.mlflow_error)}")
    else:
        table.add_row("champion", _version(status.champion, status.at))
        table.add_row("challenger", _version(status.challenger, status.at))
        if status.rollout:
            table.add_row("rollout", _rollout(status.rollout))
        for held in status.held:
            table.add_row("held", f"[yellow]{escape(held.detail)}[/yellow]")
    table.add_row("predictor", _serving(status))
    for clock in status.clocks:
        table.add_row(clock.name, _clock(clock))
    console.print(table)
    if status.runs:
        console.print(_runs(status.runs, status.at))


def _version(line: Line | None, at: datetime) -> str:
    if line is None:
        return "[dim]none[/dim]"
    parts = [f"version {line.number}"]
    parts.append("F1 not measured" if line.f1 is None else f"F1 {line.f1:.3f}")
    parts.append(f"registered {_span(line.age_hours)} ago")
    if line.since:
        parts.append(f"in place since {line.since:%Y-%m-%d %H:%M} UTC")
    if line.gate == "forced":
        parts.append("[yellow]let through by force[/yellow]")
    if line.review not in ("", "not_required"):
        parts.append(f"review {escape(line.review)}")
    if line.expires_at:
        left = (line.expires_at - at).total_seconds() / 3600
        parts.append(f"expires in {_span(left)}" if left > 0 else "[yellow]expired[/yellow]")
    return f"{', '.join(parts)}  [dim]{line.digest[:12]}[/dim]"


def _rollout(one: Rollout) -> str:
    words = one.state.replace("_", " ")
    share = "" if one.percent is None else f" at {one.percent} %"
    before = "" if one.previous is None else f", beside version {one.previous}"
    return f"[cyan]version {one.version} {escape(words)}{share}{before}[/cyan]"


def _serving(status: Status) -> str:
    one = status.serving
    if not one.answers:
        return f"[red]unavailable[/red]  {escape(one.detail)}"
    colour = {True: "green", False: "red", None: "yellow"}[one.agrees]
    digest = f"[dim]{one.digest[:12]}  {escape(one.url)}[/dim]"
    return f"[{colour}]{escape(one.detail)}[/{colour}]  {digest}"


def _clock(clock: Clock) -> str:
    if clock.hours is None:
        return "[yellow]stale[/yellow]  never"
    word = "[yellow]stale[/yellow]" if clock.stale else "[green]ok[/green]"
    return f"{word}  {_span(clock.hours)} ago  [dim]limit {clock.limit_hours:g} h[/dim]"


def _runs(runs: tuple[RunLine, ...], at: datetime) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1), pad_edge=False)
    for column in ("last runs", "id", "took"):
        table.add_column(column, no_wrap=True)
    table.add_column("version", justify="right")
    table.add_column("outcome")
    for run in runs:
        colour = _OUTCOMES.get(run.outcome, "white")
        ago = (at - run.started_at).total_seconds() / 3600
        reason = run.reason.splitlines()[0] if run.reason else ""
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[: _LONGEST_REASON - 1]}…"
        table.add_row(
            f"{_span(ago)} ago",
            escape(run.job[-24:]),
            _span(run.seconds / 3600),
            "" if run.version is None else str(run.version),
            f"[{colour}]{escape(run.outcome)}[/{colour}]  {escape(reason)}".rstrip(),
        )
    return table


def _span(hours: float) -> str:
    """A duration in the unit that people would take."""
    seconds = max(0.0, hours * 3600)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size or (unit == "min" and seconds >= 60):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
