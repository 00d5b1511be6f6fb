"""Runs the benchmark: `python -m benchmarks [--quick]`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from benchmarks import experiments, machine, medium, models, overhead, plots, report, sizing
from benchmarks.models import Model
from benchmarks.plan import FULL, QUICK
from benchmarks.results import Results
from benchmarks.systems import FLASK, SYSTEMS, System
from pipeline.progress import say

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "bench"
SO_FAR = CACHE / "so-far.json"
DOCS = ROOT / "docs" / "benchmarks"
"""What a whole run writes, with the tables of the README."""


def main() -> None:
    """Measure, print, and write what the README shows."""
    given = _arguments()
    plan = QUICK if given.quick else FULL
    logs = CACHE / "logs"
    forms = machine.forms(plan.forms)
    mine = [one for one in chosen(given.only, forms, ()) if one.ours]
    precisions = dict.fromkeys(one.precision for one in mine)
    shape, *accurate = models.make(CACHE, given.data, [one.form for one in mine], given.deberta)
    facts = json.loads((shape.stock / medium.FACTS).read_text(encoding="utf-8"))
    found = Results(machine.describe(), plan, facts)

    def limits(turn: int) -> None:
        # In every round: the machine is as unsteady as what is measured on it.
        found.limits.extend(
            {"round": turn, **_limit(shape, precision, facts)} for precision in precisions
        )

    texts = experiments.labelled(given.data, plan.texts)
    for model in (shape, *accurate):
        asked = texts if model.accurate else []
        before = limits if model is shape else None
        peers = plan.accurate_peers if model.accurate else plan.peers
        systems = chosen(given.only, forms, peers)
        side = experiments.side_by_side(systems, model, plan, logs, asked, before)
        found.closed += side.closed
        found.failed += side.failed
        found.accuracy += side.accuracy
        _keep(found)
    ours, peer = found.ours, found.best_peer
    found.parts = overhead.parts(ours, shape, plan, logs)
    found.lone.append(overhead.lone(ours, shape, plan, logs))
    flask = next(one for one in SYSTEMS if one.name == FLASK)
    beside = [ours] if given.quick else list(dict.fromkeys([ours, peer, flask]))
    for system in beside:
        found.open += experiments.open_loop(system, shape, plan, logs)
        if plan.words or plan.labels:
            found.costs += experiments.costs(system, shape, plan, logs)
        _keep(found)
    # A file has no width, and tables lose their figures in the 80 columns that it gets.
    report.show(found, Console(width=None if sys.stdout.isatty() else 140))
    shown = not given.quick and given.out is None
    _write(found, DOCS if shown else given.out or CACHE / "results")
    if shown:
        report.replace(ROOT / "README.md", report.markdown(found))
        report.replace(ROOT / "docs" / "scale.md", sizing.markdown(found.json()))


def chosen(
    only: Sequence[str] | None, forms: Sequence[str], peers: Sequence[str] | None
) -> list[System]:
    """What takes its turn: what was asked for, or else ours in these forms beside these peers, or
    all of them."""
    if only:
        return [one for one in SYSTEMS if one.name in only]
    return [
        one
        for one in SYSTEMS
        if (one.form in forms if one.ours else peers is None or one.name in peers)
    ]


def _limit(shape: Model, precision: str, facts: dict[str, float]) -> dict[str, object]:
    arguments = [precision, str(facts["subwords"]), str(facts["words"]), str(5)]
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.limit", str(shape.stock), *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    row: dict[str, object] = json.loads(ran.stdout)
    say(f"this machine could do {row['texts_per_second']:.0f} texts a second in {precision}")
    return row


def _keep(found: Results) -> None:
    """Write down the raw figures so far: a run that is cut short has not been for nothing."""
    SO_FAR.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")


def _write(found: Results, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    file = out / "results.json"
    file.write_text(json.dumps(found.json(), indent=1) + "\n", encoding="utf-8")
    pictures = plots.draw(found, out)
    for one in [file, *pictures]:
        say(f"wrote {one}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in under five minutes, one round")
    parser.add_argument(
        "--out", type=Path, help="folder for figures, in place of docs/benchmarks and the README"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT / "examples" / "eval",
        help="folder with labelled texts as JSON lines, for F1, and for what int8 is measured on",
    )
    parser.add_argument(
        "--deberta", type=Path, help="what benchmarks.deberta has trained, for F1 on its kind too"
    )
    parser.add_argument("--only", nargs="*", help="systems, by their names in results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
