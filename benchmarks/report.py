"""The tables: in the terminal, and in Markdown for people who read the README."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import plots
from benchmarks.results import Results, spread, targets
from benchmarks.systems import FLASK

BEGIN, END = "<!-- make bench -->", "<!-- end of make bench -->"
_PICTURES = {
    "latency": "Latency against load",
    "length": "What a text costs by its length",
    "labels": "What a text costs by the number of labels",
}
_HEADS = (
    "",
    "precision",
    "texts/s",
    "spread",
    "× Flask",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "ready s",
    "MB",
)


def rows(found: Results, model: str) -> list[tuple[str, ...]]:
    """A line a system: medians over its rounds."""

    def figure(system: str, name: str, digits: int = 0) -> str:
        return f"{found.median(model, system, name):.{digits}f}"

    return [
        (
            one.title,
            one.precision,
            figure(one.name, "texts_per_second", 1),
            spread(found.rounds(model, one.name)),
            f"{found.ratio(one.name, FLASK, model):.1f}",
            *(figure(one.name, name) for name in ("p50_ms", "p95_ms", "p99_ms")),
            figure(one.name, "ready_seconds", 1),
            figure(one.name, "memory_mb"),
            *([f"{found.f1(one.name):.3f}"] if model == "embedded" else []),
        )
        for one in found.measured(model)
    ]


def heads(model: str) -> tuple[str, ...]:
    """Over the columns of `rows`."""
    return (*_HEADS, *(["F1"] if model == "embedded" else []))


def show(found: Results, console: Console) -> None:
    """Print everything that fits a screen."""
    for model in ("medium", "embedded"):
        lines = rows(found, model)
        if not lines:
            continue
        table = Table(
            title=f"{model}, {found.plan.callers} callers", title_justify="left", box=None
        )
        for index, head in enumerate(heads(model)):
            table.add_column(head, justify="left" if index < 2 else "right", no_wrap=True)
        for line in lines:
            table.add_row(*line)
        console.print(table)
        console.print()
    table = Table(title="to reach, medium", title_justify="left", box=None)
    for head in ("", "wanted", "reached", ""):
        table.add_column(head, justify="left" if not head else "right", no_wrap=True)
    for one in targets(found):
        table.add_row(
            one.what, _bound(one.wanted, one.most), _short(one.reached), _verdict(one.met)
        )
    console.print(table)
    for row in found.failed:
        console.print(f"{row['model']}, {row['system']}: {row['reason']}", markup=False)


def markdown(found: Results) -> str:
    """The tables for the README."""
    lines = [
        f"Measured by `make bench` on {found.machine['what']}, {found.machine['when']}; "
        f"{found.plan.callers} callers, the median of {found.plan.rounds} "
        f"round{'s' if found.plan.rounds > 1 else ''}. The medium shape is that of "
        "`gliner_medium-v2.1` with random weights; texts have "
        f"{found.medium['words']:.0f} words, {found.medium['subwords']:.0f} subwords with five "
        "labels. All figures are in [results.json](docs/benchmarks/results.json).",
        "",
        *_table(heads("medium"), rows(found, "medium")),
        "",
        *_table(
            ("to reach", "wanted", "reached", ""),
            [
                (one.what, _bound(one.wanted, one.most), _short(one.reached), _verdict(one.met))
                for one in targets(found)
            ],
        ),
        "",
        "The embedded model, whose answers mean something:",
        "",
        *_table(heads("embedded"), rows(found, "embedded")),
    ]
    if found.failed:
        lines += ["", *(f"- {row['system']}: {row['reason']}" for row in found.failed)]
    drawn = {"latency": bool(found.open)}
    drawn |= {name: any(row["by"] == by for row in found.costs) for by, name in plots.COSTS.items()}
    for name, there in drawn.items():
        if there:
            lines += ["", f"![{_PICTURES[name]}](docs/benchmarks/{name}.png)"]
    return "\n".join(lines)


def _table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---" if index < 2 else "---:" for index in range(len(names))]
    return [f"| {' | '.join(line)} |" for line in (names, rule, *lines)]


def replace(file: Path, text: str) -> None:
    """Put the tables between their two marks in a file."""
    whole = file.read_text(encoding="utf-8")
    head, begin, rest = whole.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{file}: no {BEGIN} and {END} to put the tables between")
    file.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}", encoding="utf-8")


def _bound(wanted: float, most: bool) -> str:
    return f"{'at most' if most else 'at least'} {_short(wanted)}"


def _short(figure: float) -> str:
    if math.isnan(figure):
        return "not measured"
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _verdict(met: bool) -> str:
    return "yes" if met else "no"
