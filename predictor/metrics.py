"""Prometheus metrics beside KServe's own, on the same `/metrics`."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram, Info

from predictor.context import RequestContext
from predictor.extraction import Extraction

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_REQUEST = ("endpoint", "protocol")

REQUESTS = Counter("gliner_requests", "Requests answered", [*_REQUEST, "status"])
ERRORS = Counter("gliner_errors", "Requests refused or failed", ["kind", "protocol"])
LATENCY = Histogram(
    "gliner_request_seconds",
    "From a request's first byte to its answer",
    _REQUEST,
    buckets=_SECONDS,
)
QUEUE = Histogram("gliner_queue_seconds", "Wait before the model", buckets=_SECONDS)
IN_MODEL = Histogram(
    "gliner_model_seconds", "In the model, from the first window to the last", buckets=_SECONDS
)
QUEUE_WORK = Gauge("gliner_queue_work_seconds", "Work waiting or in the model, as estimated")
PENDING = Gauge("gliner_pending_requests", "Requests waiting for the model or in it")
BATCH_WINDOWS = Histogram(
    "gliner_batch_windows", "Windows in a forward pass", buckets=(1, 2, 4, 8, 16, 32, 64)
)
BATCH_POSITIONS = Histogram(
    "gliner_batch_positions",
    "Positions in a forward pass, padding included",
    buckets=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384),
)
POSITIONS = Counter("gliner_positions", "Positions that went through the model, with padding")
PADDING = Counter("gliner_padding_positions", "Those of them that were padding")
TEXTS = Counter("gliner_texts", "Texts read")
WORDS = Counter("gliner_words", "Words read")
WINDOWS = Counter("gliner_windows", "Windows that went through the model")
ENTITIES = Counter("gliner_entities", "Entities found, labels out of the presets only", ["label"])
LOAD = Gauge("gliner_load_seconds", "Time to load, warm up and check the model")
MODEL = Info("gliner_model", "The model that serves")
LOADED_AT = Gauge("gliner_model_loaded_timestamp_seconds", "When the model that serves was loaded")
SWAPS = Counter("gliner_swaps", "Changes to another version of the model", ["result"])
for _result in ("ok", "failed"):
    SWAPS.labels(_result)  # a rate needs the zero that it began with
FOLLOW_FAILED = Gauge(
    "gliner_follow_failed",
    "1 while the registry does not answer or names a version that cannot serve",
)
FOLLOW_CHECKED = Gauge(
    "gliner_follow_checked_timestamp_seconds", "When the registry last said what should serve"
)
FOLLOW_PERIOD = Gauge("gliner_follow_period_seconds", "How often the registry is asked")
READY = Gauge("gliner_ready", "1 while predictions are taken")


_FACTS = ("name", "version", "id", "digest", "engine", "precision", "device")


def show_model(facts: Mapping[str, Any], load_seconds: float) -> None:
    """Show the model that serves from now on, in place of the one before."""
    MODEL.info({name: facts[name] for name in _FACTS})
    LOAD.set(load_seconds)
    LOADED_AT.set_to_current_time()


class EntityLabels:
    """Counts entities by label with a bounded number of series.

    Callers name any label; each would become a series for good. Labels of the presets have
    their own, all others share `other`.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = frozenset(known)

    def count(self, results: Sequence[Extraction]) -> None:
        """Add what was found to the metrics."""
        found = Tally(entity.label for result in results for entity in result.entities)
        for label, count in found.items():
            ENTITIES.labels(label if label in self._known else "other").inc(count)


def count_results(context: RequestContext, results: Sequence[Extraction]) -> None:
    """Add what a request read and found to the metrics and to its log line."""
    words = sum(one.words for one in results)
    windows = sum(one.windows for one in results)
    TEXTS.inc(len(results))
    WORDS.inc(words)
    WINDOWS.inc(windows)
    context.counts.update(
        texts=len(results),
        words=words,
        windows=windows,
        entities=sum(len(one.entities) for one in results),
    )


def count_batch(positions: Sequence[int]) -> None:
    """Count a forward pass by the positions of its windows."""
    padded = len(positions) * max(positions)
    BATCH_WINDOWS.observe(len(positions))
    BATCH_POSITIONS.observe(padded)
    POSITIONS.inc(padded)
    PADDING.inc(padded - sum(positions))


def count_request(context: RequestContext, status: int | str) -> float:
    """Count an answered request.

    Returns:
        How long it took, in seconds.
    """
    seconds = time.monotonic() - context.started
    REQUESTS.labels(context.endpoint, context.protocol, str(status)).inc()
    LATENCY.labels(context.endpoint, context.protocol).observe(seconds)
    if context.error:
        ERRORS.labels(context.error, context.protocol).inc()
    return seconds
