"""`python -m predictor` serves a model; `bundle SOURCE OUT` packs one, `optimise BUNDLE DATA`
chooses its engine."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client import disable_created_metrics
from pydantic import ValidationError

from predictor import (
    bundle,
    context,
    engines,
    following,
    hardware,
    logs,
    memory,
    otlp,
    presets,
    registry,
    served,
)
from predictor.downloads import Downloads
from predictor.errors import StartupError
from predictor.keys import Keys
from predictor.origin import Origin
from predictor.settings import Settings

if TYPE_CHECKING:
    from predictor.model import GlinerModel
    from predictor.routes import Site
    from predictor.traces import Traces

_LAST_SECONDS = 5.0
"""How long a version that is being taken up may hold up the exit, and spans that are left."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the three commands.

    Returns:
        0 when it ended well, 1 when it could not start, with one line on standard error.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Weights come from a bundle or a hub; progress bars and advice of libraries are noise.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # FastAPI would export what `predictor.traces` leaves out.
    os.environ["FASTAPI_OTEL_AUTO_CONFIGURE"] = "false"
    try:
        if arguments[:1] == ["bundle"]:
            write_bundle(arguments[1:])
        elif arguments[:1] == ["optimise"]:
            choose_engine(arguments[1:])
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
    parser.add_argument(
        "source", help="embedded, a folder, a hub id with @revision, or models:/NAME@ALIAS"
    )
    parser.add_argument("out", type=Path, help="a new or empty folder")
    given = parser.parse_args(arguments)
    written = bundle.write(given.source, given.out)
    sys.stdout.write(f"{written.folder}  {written.manifest.id}  sha256:{written.digest}\n")


def choose_engine(arguments: Sequence[str]) -> None:
    """Try all engines on labelled texts and write the best that is accurate into a bundle."""
    parser = argparse.ArgumentParser(
        prog="python -m predictor optimise",
        description="Measure a model with every engine and write the fastest that is accurate, "
        "with the table behind the choice, into its bundle.",
    )
    parser.add_argument("bundle", type=Path, help="a folder with a bundle")
    parser.add_argument("data", type=Path, help="a folder with labelled texts as JSON lines")
    parser.add_argument("--out", type=Path, help="write there and leave the bundle as it is")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.005,
        help="most F1 that the choice may lose against torch in fp32 (%(default)s)",
    )
    given = parser.parse_args(arguments)
    try:
        from rich.console import Console

        # Scoring is the pipeline's; a server that never measures does without it.
        from pipeline.errors import PipelineError
        from pipeline.measuring import choice
    except ImportError as error:
        raise StartupError(f"measuring needs the extra `pipeline` as well: {error}") from error
    out = given.out or given.bundle
    try:
        rows = choice.choose(given.bundle, given.data, out, tolerance=given.tolerance)
    except PipelineError as error:
        raise StartupError(str(error)) from error
    choice.show(rows, Console())


def serve(arguments: Sequence[str]) -> None:
    """Load the model, check it, and serve until a signal comes."""
    settings = _settings()
    options = _options(arguments, settings)
    logs.configure(settings.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every one, which nobody charts
    # Torch reads it when it is imported, which only some models need.
    os.environ["OMP_NUM_THREADS"] = str(hardware.choose_threads(settings.threads))
    # KServe parses sys.argv when imported, so it is imported here and nowhere above.
    from predictor.server import Server, check_ports

    ports = [options.http_port, *([options.grpc_port] if options.enable_grpc else [])]
    check_ports(*ports)
    exported = _traces()
    known = presets.load(settings.presets_file)
    keys = Keys(settings.api_keys_file) if settings.api_keys_file else None
    site = replace(_site(options, settings, known), keys=keys)
    server = Server(
        site.model,
        site.install,
        drain_seconds=settings.drain_seconds,
        linger_seconds=settings.linger_seconds,
        max_message_bytes=settings.max_body_bytes,
        keys=keys,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        enable_grpc=options.enable_grpc,
        max_threads=options.max_threads,
        event_loop=options.event_loop,
        timeout_keep_alive=options.timeout_keep_alive,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )
    logging.getLogger(logs.OURS).info("serving", extra={"fields": site.model.facts})
    server.serve()
    if exported:
        exported.stop(_LAST_SECONDS)
    if site.follower and not site.follower.stop(_LAST_SECONDS):
        # It hangs in a download, or is in the middle of torch, which a thread that dies with
        # the interpreter may take down with an abort.
        os._exit(0)


def _traces() -> Traces | None:
    """Trace requests where OpenTelemetry's variables say where to."""
    if not (endpoint := otlp.endpoint()):
        return None
    from predictor.spans import RequestTracer
    from predictor.traces import Traces

    log = logging.getLogger(logs.OURS)
    address = {"fields": {"endpoint": urlsplit(endpoint).netloc.rpartition("@")[2]}}

    def tell(well: bool) -> None:
        if well:
            log.info("traces are exported again", extra=address)
        else:
            log.warning("traces are not exported", extra=address)

    exported = Traces("gliner-predictor", tell)
    context.trace_requests(RequestTracer(exported.tracer))
    return exported


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
        epilog="`python -m predictor bundle SOURCE OUT` packs a model, `python -m predictor "
        "optimise BUNDLE DATA` chooses its engine. Settings: docs/settings.md",
        parents=[kserve_flags],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(model_name="gliner")
    parser.add_argument(
        "--model",
        metavar="SOURCE",
        default=settings.model,
        help="embedded, a folder, a hub id, or models:/NAME@ALIAS; also GLINER_MODEL",
    )
    options = parser.parse_args(arguments)
    if options.workers != 1:
        parser.error("--workers must be 1: KServe pickles the model for more; scale pods instead")
    return options


def _site(
    options: argparse.Namespace, settings: Settings, known: Mapping[str, presets.Preset]
) -> Site:
    """The model with its routes, loaded and checked; and what changes it where it follows."""
    from predictor.routes import Site

    settle = functools.cache(memory.settle)

    def load(found: bundle.Bundle) -> served.Served:
        engines.bring(found)
        settle()  # with the libraries of the first model, and none of a later one's weights
        return served.load(found, settings, known)

    if not options.model.startswith(registry.SCHEME):
        first = load(bundle.locate(options.model))
        return Site(settings, known, _model(options.model_name, first, settings, known))
    origin = Origin(options.model, Downloads(settings.cache_dir), load)
    version, first = origin.first(settings.wait_seconds)
    model = _model(options.model_name, first, settings, known)
    if not (origin.source.alias and settings.follow_seconds):
        return Site(settings, known, model)
    follower = following.Follower(origin, version, first, model.swap, settings.follow_seconds)
    follower.start()
    return Site(settings, known, model, follower)


def _model(
    name: str,
    first: served.Served,
    settings: Settings,
    known: Mapping[str, presets.Preset],
) -> GlinerModel:
    from predictor import metrics
    from predictor.batching import WorkQueue
    from predictor.model import GlinerModel

    queue = WorkQueue(
        max_pending=settings.max_pending,
        max_seconds=settings.max_queue_seconds,
        timeout_seconds=settings.request_timeout_seconds,
    )
    labels = metrics.EntityLabels({label for one in known.values() for label in one.labels})
    model = GlinerModel(name, first, queue, labels)
    model.load()
    return model


if __name__ == "__main__":
    sys.exit(main())
