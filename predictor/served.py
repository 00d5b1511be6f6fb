"""A model that is ready to serve, as one value: whoever holds it never meets another's parts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from predictor import engines, golden, hardware
from predictor.bundle import Bundle
from predictor.context import Identity
from predictor.extraction import Extractor, Label, Query
from predictor.presets import Preset
from predictor.protocol import Parser
from predictor.settings import Settings


@dataclass(frozen=True, eq=False)  # no slots: it is referenced weakly to see when it goes
class Served:
    """A loaded model with what a request needs of it.

    Attributes:
        bundle: where it came from.
        extractor: finds entities with it.
        parser: reads requests for it; no label may hold its markers.
        load_seconds: what loading, checking and warming up took.
    """

    bundle: Bundle
    extractor: Extractor
    parser: Parser
    identity: Identity
    load_seconds: float

    @property
    def facts(self) -> dict[str, Any]:
        """What people see of it: version, engine, precision and so on."""
        engine = self.extractor.engine
        return {
            "version": self.identity.version,
            "id": self.bundle.manifest.id,
            "digest": self.identity.digest,
            "engine": engine.name,
            "precision": engine.precision,
            "device": engine.device,
            "max_width": engine.limits.width,
            "max_words": engine.limits.words,
        }


def load(found: Bundle, settings: Settings, presets: Mapping[str, Preset]) -> Served:
    """Load a bundle's weights, hold it against its golden answers and warm it up.

    Raises:
        StartupError: it cannot be loaded, or is not what it was.
    """
    started = time.monotonic()
    device = hardware.choose_device(settings.device, found.manifest.engine)
    precision = hardware.choose_precision(settings.precision, device, found.manifest.precision)
    extractor = Extractor(
        engines.load(found, device, precision, settings.threads, compiled=settings.compile),
        window_words=settings.window_words,
        window_overlap=settings.window_overlap,
        batch_size=settings.batch_size,
        batch_positions=settings.batch_positions,
        max_candidates=settings.max_candidates,
    )
    golden_file = found.folder / golden.FILE
    if settings.golden_check and golden_file.is_file():
        golden.check(extractor, golden_file)
    else:
        warm_up = Query("Warm.", (Label("word", "word", 0.5),), flat_ner=True, multi_label=False)
        extractor.extract([warm_up])
    version = found.version or found.manifest.revision or found.manifest.id
    return Served(
        found,
        extractor,
        Parser(settings, presets, extractor.engine.markers),
        Identity(version, found.digest),
        time.monotonic() - started,
    )
