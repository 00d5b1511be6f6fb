"""The engines that could serve a model, each tried on the same texts."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import scoring
from pipeline.errors import PipelineError
from pipeline.evaluation import Value
from pipeline.measuring import measure
from pipeline.measuring.measure import Text
from predictor import bundle, engines, golden
from predictor.engines import PRECISIONS, Window, exported
from predictor.errors import BundleError
from predictor.extraction import Extractor

REFERENCE = ("torch", "fp32")
"""What the others are held against: the engine and precision that golden answers come from."""
NOISE = 0.05
"""A gain in speed below this share is none: a second run would show another."""
_STATM = Path("/proc/self/statm")


class EngineRow(Value):
    """One engine on the machine that tried it.

    Attributes:
        texts_per_second: one text at a time, as are the percentiles.
        memory_mb: what loading it and a first pass took, where the system tells.
        f1_loss: the reference's F1 less its own.
        agreement: share of the mentions of both that both gave.
        chosen: whether it is the one to serve with.
        reason: why it could not be tried, or may not serve; empty otherwise.
    """

    engine: str
    precision: str
    texts_per_second: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    memory_mb: float = 0
    load_seconds: float = 0
    f1: float = 0
    f1_loss: float = 0
    agreement: float = 0
    chosen: bool = False
    reason: str = ""

    def row(self) -> dict[str, Any]:
        """As `bundle.json` and MLflow's table have it."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in self.model_dump().items()
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """An engine that works, what it found and what loading it took."""

    row: EngineRow
    extractor: Extractor
    found: list[set[scoring.Mention]]


def run(
    folder: Path,
    texts: Sequence[Text],
    labels: Collection[str],
    work: Path,
    *,
    tolerance: float,
    tried: Sequence[tuple[str, str]] | None = None,
) -> list[EngineRow]:
    """Try engines on labelled texts and choose one. The reference comes first.

    Args:
        folder: a bundle.
        work: an empty folder. It then holds each engine's bundle as it was tried, see `variant`.
        tolerance: most F1 that the chosen one may lose.
        tried: which, as engine and precision; None tries all there are.

    Raises:
        PipelineError: the reference itself cannot be loaded.
    """
    wanted = tried or [(name, one) for name, found in PRECISIONS.items() for one in found]
    # The first load imports the libraries, whose time and memory are no engine's.
    # What int8 is measured on are some of the texts that it is judged by: no answer is looked at.
    seen = measure.windows(
        measure.load(_write(folder, *REFERENCE, work / "first"), REFERENCE[1]), texts
    )
    rows, trials = [], []
    for name, precision in [REFERENCE, *(one for one in wanted if one != REFERENCE)]:
        try:
            trials.append(_try(folder, name, precision, texts, seen, work))
        except PipelineError as error:
            if (name, precision) == REFERENCE:
                raise
            rows.append(EngineRow(engine=name, precision=precision, reason=str(error)))
        except Exception as error:
            if (name, precision) == REFERENCE:
                raise
            # A library's fault: the model can be measured and served without this engine.
            traceback.print_exception(error)
            reason = f"it fails with {type(error).__name__}; its traceback is in the log"
            rows.append(EngineRow(engine=name, precision=precision, reason=reason))
    speeds = measure.latency([one.extractor for one in trials], texts)
    truths = [scoring.truth(one.row, one.labels) for one in texts]
    scores = [scoring.f1(scoring.tally(truths, one.found, labels).micro) for one in trials]
    measured = [
        one.row.model_copy(
            update={
                "texts_per_second": speed.texts_per_second,
                "p50_ms": speed.p50_ms,
                "p99_ms": speed.p99_ms,
                "f1": score,
                "f1_loss": scores[0] - score,
                "agreement": _agreement(trials[0].found, one.found),
            }
        )
        for one, speed, score in zip(trials, speeds, scores, strict=True)
    ]
    return [*choose(measured, tolerance), *rows]


def choose(rows: Sequence[EngineRow], tolerance: float) -> list[EngineRow]:
    """Mark the fastest of those whose loss is within the tolerance.

    The first row is the reference, which loses nothing and needs no gain to be chosen.
    """
    reference, *others = rows
    judged = [
        one.model_copy(update={"reason": f"loses {one.f1_loss:.4f} F1, {tolerance:g} is allowed"})
        # Written so that a value that is no number passes nothing.
        if not (one.f1_loss <= tolerance or one.reason)
        else one
        for one in others
    ]
    # On both counts: one slow text moves the mean, and a busy machine moves either.
    faster = [
        one
        for one in judged
        if not one.reason
        and one.texts_per_second > reference.texts_per_second * (1 + NOISE)
        and one.p50_ms * (1 + NOISE) < reference.p50_ms
    ]
    best = max(faster, key=lambda one: one.texts_per_second, default=reference)
    return [one.model_copy(update={"chosen": one is best}) for one in (reference, *judged)]


def variant(work: Path, name: str, precision: str) -> Path:
    """The bundle that an engine was tried with, in the work folder of `run`."""
    return work / f"{name}-{precision}"


def _try(
    folder: Path,
    name: str,
    precision: str,
    texts: Sequence[Text],
    seen: Sequence[Window],
    work: Path,
) -> Trial:
    """Load a model with an engine, as a predictor would, and read all texts."""
    own = _write(folder, name, precision, variant(work, name, precision))
    try:
        engines.prepare(bundle.locate(str(own)), seen if precision == "int8" else ())
    except BundleError as error:
        raise PipelineError(f"the model cannot be prepared: {error}") from error
    before, started = _resident_mb(), time.perf_counter()
    extractor = measure.load(own, precision)
    seconds = time.perf_counter() - started
    if extractor.engine.precision != precision:
        # Chosen as what it is not, it would be that on another machine, and nobody has measured it.
        raise PipelineError(
            f"this CPU has no {precision}, and computes in {extractor.engine.precision} instead"
        )
    found = measure.read(extractor, texts, f"{name} {precision}")
    row = EngineRow(
        engine=name,
        precision=precision,
        load_seconds=seconds,
        memory_mb=max(0.0, _resident_mb() - before),
        reason=_golden(extractor, folder),
    )
    return Trial(row, extractor, [scoring.given(one) for one in found])


def _write(folder: Path, name: str, precision: str, out: Path) -> Path:
    """The same bundle, asking for another engine, whose form is not written yet."""
    found = bundle.locate(str(folder))
    out.mkdir(parents=True)
    # A form is written there, and must not go through a link into the bundle.
    own = {"bundle.json", *exported.OPENVINO, exported.ONNX}
    for file in found.folder.resolve().iterdir():
        if file.name not in own:
            (out / file.name).symlink_to(file)
    manifest = replace(found.manifest, engine=name, precision=precision)
    (out / "bundle.json").write_text(json.dumps(asdict(manifest)), encoding="utf-8")
    return out


def _golden(extractor: Extractor, folder: Path) -> str:
    """Why a predictor would refuse to serve so; empty when it would not."""
    file = folder / golden.FILE
    try:
        if file.is_file():
            golden.check(extractor, file)
    except BundleError:
        return "does not give the bundle's golden answers: a predictor would not serve it"
    return ""


def _agreement(ours: Sequence[Collection[Any]], theirs: Sequence[Collection[Any]]) -> float:
    both = sum(len(set(one) & set(other)) for one, other in zip(ours, theirs, strict=True))
    either = sum(len(set(one) | set(other)) for one, other in zip(ours, theirs, strict=True))
    return both / either if either else 1.0


def _resident_mb() -> float:
    import resource

    gc.collect()
    if not _STATM.is_file():
        return 0.0
    return int(_STATM.read_text().split()[1]) * resource.getpagesize() / 1e6
