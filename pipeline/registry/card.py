"""What a reviewer reads in MLflow: what the version is, how good it is, and how to decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.evaluation import Difference, Evaluation, Score
from pipeline.registry import LONGEST_DESCRIPTION
from predictor.bundle import Bundle

_MOST_LABELS = 20
_CUT = "\n\n…\n\nThe whole card is `MODEL_CARD.md` among the version's files.\n"


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses that a reviewer wants; an empty one is left out."""

    run: str = ""
    champion: str = ""
    dashboard: str = ""


def write(found: Bundle, evaluation: Evaluation, links: Links) -> str:
    """The description of a version, in Markdown, as long as MLflow takes.

    The model's own card comes last and is cut where it does not fit.
    """
    parts = [
        _what(found, evaluation),
        _scores(evaluation),
        _labels(evaluation),
        _data(evaluation, links),
        _decide(),
    ]
    text = "\n\n".join(part for part in parts if part)[:LONGEST_DESCRIPTION]
    return text + _own_card(found.folder, LONGEST_DESCRIPTION - len(text))


def _what(found: Bundle, evaluation: Evaluation) -> str:
    manifest = found.manifest
    revision = f", revision `{manifest.revision}`" if manifest.revision else ""
    trained = (
        f"Fine-tuned on data `{manifest.dataset_digest[:12]}`. " if manifest.dataset_digest else ""
    )
    size = evaluation.candidate.subject.size_bytes / 1e6
    return (
        f"**{_cell(manifest.id)}**{revision}: zero-shot named entity recognition with GLiNER. "
        f"{trained}{size:.0f} MB, served with {manifest.engine} in {manifest.precision}. "
        f"Digest `{found.digest[:12]}`."
    )


def _scores(evaluation: Evaluation) -> str:
    ours, theirs = evaluation.candidate, evaluation.champion
    rows: list[tuple[str, str, str]] = [
        ("measured with", ours.engine, theirs.engine if theirs else ""),
        ("F1", _interval(ours.micro), _interval(theirs.micro) if theirs else ""),
        (
            "precision",
            f"{ours.micro.precision:.3f}",
            f"{theirs.micro.precision:.3f}" if theirs else "",
        ),
        ("recall", f"{ours.micro.recall:.3f}", f"{theirs.micro.recall:.3f}" if theirs else ""),
        ("macro F1", f"{ours.macro_f1:.3f}", f"{theirs.macro_f1:.3f}" if theirs else ""),
        (
            "latency, 50 / 95 / 99 %",
            _latency(ours.latency.model_dump()),
            _latency(theirs.latency.model_dump()) if theirs else "",
        ),
    ]
    if theirs is None:
        lines = [f"| {name} | {one} |" for name, one, _ in rows]
        return "\n".join(
            ["| | this version |", "|---|---|", *lines, "", "There is no champion to compare with."]
        )
    number = f"champion (version {theirs.subject.version})"
    lines = [f"| {name} | {one} | {other} |" for name, one, other in rows]
    table = "\n".join([f"| | this version | {number} |", "|---|---|---|", *lines])
    if evaluation.comparison is None:
        return table
    return f"{table}\n\nDifference in F1: {_difference(evaluation.comparison.micro)}."


def _labels(evaluation: Evaluation) -> str:
    """Labels with the most mentions first."""
    ours = sorted(evaluation.candidate.labels.items(), key=lambda one: -one[1].support)
    theirs = evaluation.champion.labels if evaluation.champion else {}
    lines = [
        f"| {_cell(label)} | {score.support} | {score.precision:.3f} | {score.recall:.3f} "
        f"| {_interval(score)} |" + (f" {theirs[label].f1:.3f} |" if label in theirs else "")
        for label, score in ours[:_MOST_LABELS]
    ]
    head = "| label | mentions | precision | recall | F1 |" + (" champion |" if theirs else "")
    rule = "|---|---|---|---|---|" + ("---|" if theirs else "")
    more = (
        f"\n\n{len(ours) - _MOST_LABELS} more labels are in the run."
        if len(ours) > _MOST_LABELS
        else ""
    )
    return "\n".join([head, rule, *lines]) + more


def _data(evaluation: Evaluation, links: Links) -> str:
    data = evaluation.dataset
    named = {"run": links.run, "champion": links.champion, "dashboard": links.dashboard}
    shown = " · ".join(f"[{name}]({url})" for name, url in named.items() if url)
    return (
        f"Measured {evaluation.created_at:%Y-%m-%d %H:%M} UTC on {data.rows} texts with "
        f"{data.mentions} mentions from `{_cell(data.uri)}` (digest `{data.digest[:12]}`), at "
        "threshold 0.5, exact span and label; intervals are 95 % bootstrap over texts."
        + (f"\n\n{shown}" if shown else "")
    )


def _decide() -> str:
    return (
        "**To decide**: under Tags, below, set `review` to `approved` or `rejected`. "
        "Approved, it is rolled out step by step and taken back by itself should it misbehave."
    )


def _own_card(folder: Path, room: int) -> str:
    file = folder / "MODEL_CARD.md"
    text = f"\n\n---\n\n{file.read_text(encoding='utf-8').strip()}" if file.is_file() else ""
    if len(text) <= room:
        return text
    kept = text[: max(0, room - len(_CUT))].rpartition("\n\n")[0]
    return kept + _CUT if kept else ""


def _interval(score: Score) -> str:
    return f"{score.f1:.3f} ({score.f1_low:.3f} to {score.f1_high:.3f})"


def _difference(one: Difference) -> str:
    return f"{one.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"


def _latency(measured: Mapping[str, float]) -> str:
    return " / ".join(f"{measured[name]:.0f}" for name in ("p50_ms", "p95_ms", "p99_ms")) + " ms"


def _cell(text: str) -> str:
    """Text that breaks neither a table nor a code span."""
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")[:200]
