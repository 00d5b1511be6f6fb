"""`python -m predictor` serves a model; `python -m predictor bundle SOURCE OUT` packs one."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from predictor import bundle, golden, hardware, logs, presets
from predictor.errors import StartupError
from predictor.extraction import Extractor, Label, Query
from predictor.settings import Settings

if TYPE_CHECKING:
    from predictor.routes import Site


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the two commands.

    Returns:
        0 when it ended well, 1 when it could not start, with one line on standard error.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Weights come from a bundle or a hub; progress bars and advice of libraries are noise.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        if arguments[:1] == ["bundle"]:
            write_bundle(arguments[1:])
        else:
            serve(arguments)
    except StartupError as error:
        sys.stderr.write(f"predictor: {error}\n")
        return 1
    return 0


def write_bundle(arguments: Sequence[str]) -> None:
    """Write a self-contained bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m predictor bundle",
        description="Write a model as a folder that loads with no network, with golden answers.",
    )
    parser.add_argument("source", help="embedded, a folder, or a hub id with @revision")
    parser.add_argument("out", type=Path, help="a new or empty folder")
    given = parser.parse_args(arguments)
    written = bundle.write(given.source, given.out)
    sys.stdout.write(f"{written.folder}  {written.manifest.id}  sha256:{written.digest}\n")


def serve(arguments: Sequence[str]) -> None:
    """Load the model, check it, and serve until a signal comes."""
    settings = _settings()
    options = _options(arguments, settings)
    logs.configure(settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every one, which nobody charts
    # KServe parses sys.argv when imported, so it is imported here and nowhere above.
    from predictor.server import Server, check_ports

    ports = [options.http_port, *([options.grpc_port] if options.enable_grpc else [])]
    check_ports(*ports)
    known = presets.load(settings.presets_file)
    found = bundle.locate(options.model)
    extractor, seconds = load(found, settings)
    site = _site(settings, known, extractor, found, options.model_name, seconds)
    server = Server(
        site.model,
        site.install,
        drain_seconds=settings.drain_seconds,
        max_message_bytes=settings.max_body_bytes,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        enable_grpc=options.enable_grpc,
        max_threads=options.max_threads,
        event_loop=options.event_loop,
        timeout_keep_alive=options.timeout_keep_alive,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )
    logging.getLogger(logs.OURS).info("serving", extra={"fields": dict(site.facts)})
    server.serve()


def load(found: bundle.Bundle, settings: Settings) -> tuple[Extractor, float]:
    """Load a bundle's weights, warm the model up and hold it against its golden answers.

    Returns:
        The model ready to serve, and the seconds that took.

    Raises:
        StartupError: it cannot be loaded, or is not what it was.
    """
    import torch

    from predictor.engines.torch import TorchEngine

    started = time.monotonic()
    torch.set_num_threads(hardware.choose_threads(settings.threads))
    device = hardware.choose_device(settings.device)
    precision = hardware.choose_precision(settings.precision, device, found.manifest.precision)
    extractor = Extractor(
        TorchEngine.load(found.folder, device, precision),
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
    return extractor, time.monotonic() - started


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"GLINER_{first['loc'][0]}".upper()
        raise StartupError(f"{name}={first['input']!r}: {first['msg']}") from error


def _options(arguments: Sequence[str], settings: Settings) -> argparse.Namespace:
    """KServe's flags and ours."""
    from kserve.model_server import parser as kserve_flags

    parser = argparse.ArgumentParser(
        prog="python -m predictor",
        description="Serve GLiNER over KServe's V1, V2 and gRPC protocols.",
        epilog="`python -m predictor bundle SOURCE OUT` packs a model. Settings: docs/settings.md",
        parents=[kserve_flags],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(model_name="gliner")
    parser.add_argument(
        "--model",
        metavar="SOURCE",
        default=settings.model,
        help="embedded, a folder, or a hub id; also GLINER_MODEL",
    )
    options = parser.parse_args(arguments)
    if options.workers != 1:
        parser.error("--workers must be 1: KServe pickles the model for more; scale pods instead")
    return options


def _site(
    settings: Settings,
    known: Mapping[str, presets.Preset],
    extractor: Extractor,
    found: bundle.Bundle,
    name: str,
    load_seconds: float,
) -> Site:
    """The model with its routes, from parts that are ready."""
    from predictor import metrics
    from predictor.batching import WorkQueue
    from predictor.model import GlinerModel
    from predictor.protocol import Parser
    from predictor.routes import Site

    engine = extractor.engine
    queue = WorkQueue(
        extractor,
        max_pending=settings.max_pending,
        timeout_seconds=settings.request_timeout_seconds,
    )
    labels = metrics.EntityLabels({label for one in known.values() for label in one.labels})
    model = GlinerModel(name, Parser(settings, known, engine.markers), queue, labels)
    facts = {
        "name": name,
        "version": found.manifest.revision or found.manifest.id,
        "id": found.manifest.id,
        "digest": found.digest,
        "engine": engine.name,
        "precision": engine.precision,
        "device": engine.device,
    }
    metrics.MODEL.info(facts)
    metrics.LOAD.set(load_seconds)
    model.load()
    return Site(
        settings,
        known,
        model,
        {**facts, "max_width": engine.limits.width, "max_words": engine.limits.words},
    )


if __name__ == "__main__":
    sys.exit(main())
