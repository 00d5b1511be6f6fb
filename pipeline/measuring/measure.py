"""Runs a model over a data set, with the code that will serve it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.dataset import File, Row, text_of
from pipeline.errors import DataError, PipelineError
from pipeline.evaluation import Latency, Subject
from pipeline.progress import say
from pipeline.scoring import THRESHOLD, Found, Tally
from predictor.engines import Window
from predictor.errors import InvalidRequest, StartupError
from predictor.extraction import Extraction, Extractor, Label, Query

LOWEST = 0.05
"""The threshold that models are read at: scores at every higher one follow from it."""
TIMED = 200
"""Most texts that latency is measured on."""
CALIBRATED = 128
"""Most texts that the activations of a model in int8 are measured on."""
_WARM_UP = 5
_AT_ONCE = 64
_MOST_CANDIDATES = 10_000_000
"""Far above what a server allows: a poor model is sure of everything, and must get its score."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a data set as a model is asked about it.

    Attributes:
        place: its file and line.
        words: how many words its row has.
    """

    text: str
    labels: tuple[str, ...]
    row: Row
    place: str

    @property
    def words(self) -> int:
        return len(self.row.words)

    def query(self, threshold: float) -> Query:
        """The question for a model: flat, one label a span."""
        labels = tuple(Label(name, name, threshold) for name in self.labels)
        return Query(self.text, labels, flat_ner=True, multi_label=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A model to measure.

    Attributes:
        name: `candidate` or `champion`.
        folder: its bundle.
    """

    name: str
    folder: Path
    subject: Subject


@dataclass(frozen=True, slots=True)
class Reading:
    """What a model gave for each text, and how that counts at the usual threshold.

    Attributes:
        engine: as in `Measured`.
    """

    model: Model
    found: list[tuple[Found, ...]]
    tally: Tally
    latency: Latency
    engine: str = ""


def texts(files: Sequence[File]) -> list[Text]:
    """All texts of a data set, each with the labels of its own file."""
    return [
        Text(text_of(row.words)[0], file.labels, row, f"{file.name} line {row.line}")
        for file in files
        for row in file.rows
    ]


def load(folder: Path, precision: str = "", engine: str = "") -> Extractor:
    """A bundle's model, with the settings (`GLINER_*`) that a predictor here would take.

    Args:
        precision: other than what the bundle and the settings say.
        engine: other than the bundle's.

    Raises:
        PipelineError: the folder holds no model that can be served here.
    """
    import torch

    from predictor import bundle, engines, hardware
    from predictor.settings import Settings

    serving = Settings()
    try:
        found = bundle.locate(str(folder))
        if engine:
            found = replace(found, manifest=replace(found.manifest, engine=engine))
        device = hardware.choose_device(serving.device, found.manifest.engine)
        asked = precision or serving.precision
        chosen = hardware.choose_precision(asked, device, found.manifest.precision)
        torch.set_num_threads(hardware.choose_threads(serving.threads))
        loaded = engines.load(found, device, chosen, serving.threads)
    except StartupError as error:
        raise PipelineError(f"the model cannot be loaded: {error}") from error
    return Extractor(
        loaded,
        window_words=serving.window_words,
        window_overlap=serving.window_overlap,
        batch_size=serving.batch_size,
        batch_positions=serving.batch_positions,
        max_candidates=_MOST_CANDIDATES,
    )


def windows(extractor: Extractor, asked: Sequence[Text], most: int = CALIBRATED) -> list[Window]:
    """Texts as a model reads them, spread evenly over the data.

    Raises:
        DataError: the model cannot be asked for the labels of a file; names file and line.
    """
    chosen = [asked[index] for index in _spread(len(asked), most)]
    with _named(chosen):
        found = list(extractor.read([one.query(THRESHOLD) for one in chosen]))
    return [row.window for one in found for row in one.rows][:most]


def read(extractor: Extractor, asked: Sequence[Text], name: str) -> list[tuple[Found, ...]]:
    """What a model gives for each text above the lowest threshold, in order.

    Args:
        name: what the lines about progress call the model.

    Raises:
        DataError: the model cannot be asked for the labels of a file; names file and line.
    """
    started, told, windowed = time.monotonic(), 0, 0
    found: list[tuple[Found, ...]] = []
    for start in range(0, len(asked), _AT_ONCE):
        for one in _extract(extractor, asked[start : start + _AT_ONCE]):
            windowed += one.windows > 1
            found.append(tuple(Found(e.start, e.end, e.label, e.score) for e in one.entities))
        tenths = 10 * len(found) // len(asked)
        if tenths > told:
            told = tenths
            seconds = time.monotonic() - started
            say(f"{name}: {len(found)} of {len(asked)} texts read, {seconds:.0f} s")
    if windowed:
        say(
            f"{name}: {windowed} of {len(asked)} texts are longer than the "
            f"{extractor.engine.limits.words} words that the model takes at once, and were read "
            "in windows"
        )
    return found


def latency(extractors: Sequence[Extractor], asked: Sequence[Text]) -> list[Latency]:
    """How long one text at a time takes each model.

    The models take turns text by text, so that what else the machine does is shared. The texts
    are spread evenly over the data.
    """
    chosen = [asked[index] for index in _spread(len(asked), TIMED)]
    for extractor in extractors:
        for one in chosen[:_WARM_UP]:
            _extract(extractor, [one], THRESHOLD)
    seconds: list[list[float]] = [[] for _ in extractors]
    for turn, one in enumerate(chosen):
        for offset in range(len(extractors)):
            # Whoever goes second finds the text's words in the processor's cache.
            which = (turn + offset) % len(extractors)
            started = time.perf_counter()
            _extract(extractors[which], [one], THRESHOLD)
            seconds[which].append(time.perf_counter() - started)
    return [_latency(spent) for spent in seconds]


def _extract(
    extractor: Extractor, asked: Sequence[Text], threshold: float = LOWEST
) -> list[Extraction]:
    with _named(asked):
        return extractor.extract([one.query(threshold) for one in asked])


@contextmanager
def _named(asked: Sequence[Text]) -> Iterator[None]:
    """Say of which text it is that it cannot be asked about."""
    try:
        yield
    except InvalidRequest as error:
        place = asked[error.instance or 0].place
        raise DataError(f"{place}: the model cannot be asked this: {error.reason}") from error


def _spread(count: int, most: int) -> Iterator[int]:
    """At most so many indices below `count`, evenly spread."""
    taken = min(count, most)
    return (index * count // taken for index in range(taken))


def _latency(seconds: Sequence[float]) -> Latency:
    if not seconds:
        return Latency(p50_ms=0, p95_ms=0, p99_ms=0, texts_per_second=0)
    p50, p95, p99 = (1000 * np.percentile(seconds, [50, 95, 99])).round(3).tolist()
    return Latency(
        p50_ms=p50, p95_ms=p95, p99_ms=p99, texts_per_second=round(len(seconds) / sum(seconds), 2)
    )
