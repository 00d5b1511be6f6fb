"""The demo: the whole loop on this machine, with real servers.

    python -m pipeline demo [--once] [--backends real]

MLflow starts, the predictor follows `models:/gliner-ner@champion`, and the compiled graph runs
three times: a first version is measured, registered, judged and rolled out; one that was
taught wrong labels is refused by the gate; one that is broken passes the gate by force and is
taken back by the rollout. A caller sends requests all the while.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from rich.console import Console
from rich.text import Text

from pipeline import settings as settings_of
from pipeline.errors import PipelineError, SettingsError
from pipeline.local import candidates, sentences, servers
from pipeline.local import home as home_of
from pipeline.local.process import Process
from pipeline.local.traffic import Traffic
from pipeline.local.versions import versions_table

if TYPE_CHECKING:
    from pipeline.runs.local import Result
    from pipeline.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
NAME = "gliner-ner"
FOLLOW_SECONDS = 1
"""How often the predictor looks at its alias; in production 15 seconds are plenty."""
ZEALOUS = {"epochs": 2, "encoder_rate": 3e-4, "head_rate": 1e-3}
"""Rates at which a model unlearns within seconds; the defaults barely move it on 60 sentences."""


@dataclass(frozen=True)
class Options:
    """What the demo was asked for."""

    once: bool = False
    backends: str = "embedded"
    model: str = "embedded"
    http_port: int = 8080
    grpc_port: int = 8081
    mlflow_port: int = 5000
    home: Path = home_of.DEFAULT

    def check(self) -> None:
        """Raise for a port that is taken: whoever has it might answer in our server's place."""
        for name in ("http_port", "grpc_port", "mlflow_port"):
            _require_free(getattr(self, name), name)


def run(options: Options, console: Console) -> None:
    """The demo from start to end.

    Raises:
        PipelineError: something did not go as the loop promises.
        KeyboardInterrupt: it was asked to stop.
    """
    options.check()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with (
        home_of.held(options.home),
        _servers(options, console) as settings,
        _predictor(options, settings) as predictor,
    ):
        loop = Loop(options, settings, console)
        loop.first_version(predictor)
        with Traffic(settings.predictor_url) as traffic:
            loop.worse_candidate()
            loop.broken_candidate()
        console.print(f"{traffic}\n")
        if traffic.failed:
            raise PipelineError(f"{traffic.failed} requests failed while versions changed")
        loop.summary()
        if not options.once:
            console.print("\nCtrl-C ends it.")
            _stay(predictor, console)


def _stay(predictor: Process, console: Console) -> None:
    """Keep everything up until somebody asks for its end."""
    try:
        while True:
            predictor.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("\nStopping the servers …")


class Loop:
    """The three runs of the graph, and what is shown of them."""

    def __init__(self, options: Options, settings: Settings, console: Console) -> None:
        self._options = options
        self._settings = settings
        self._console = console
        self._last: Result | None = None

    def first_version(self, predictor: Process) -> None:
        """Measured, registered, judged, rolled out, served."""
        self._title(1, "a first version")
        self._run("promoted", model=self._options.model)
        predictor.check()
        with httpx.Client(
            base_url=self._settings.predictor_url, timeout=60, trust_env=False
        ) as client:
            self._console.print()
            for sentence in sentences.SENTENCES:
                sentences.show(self._console, sentence, *sentences.ask(client, sentence))

    def worse_candidate(self) -> None:
        """Taught wrong labels: the gate refuses it."""
        self._title(2, "a candidate that learned from mislabelled data")
        wrong = candidates.mislabelled(EXAMPLES / "train", self._options.home / "mislabelled")
        self._run(
            "refused",
            model=self._options.model,
            train_data=self._published(wrong, "mislabelled"),
            training=ZEALOUS,
        )

    def broken_candidate(self) -> None:
        """Let through by force: the rollout takes it back."""
        self._title(3, "a damaged candidate, forced through the gate")
        from predictor import bundle

        source = self._options.home / "damaged"
        whole = bundle.locate(self._options.model)
        self._run("rolled_back", model=str(candidates.damaged(whole.folder, source)), force=True)

    def summary(self) -> None:
        """The table of versions, and where to look further."""
        from pipeline.registry import Registry

        registry = Registry(self._settings)
        self._console.print(versions_table(registry))
        base = self._settings.predictor_url
        self._console.print(Text(sentences.curl(base), "dim"), soft_wrap=True)
        links = [("Page", f"{base}/"), ("MLflow", f"{self._settings.tracking_uri}/")]
        if self._last:
            links.append(("The last run", self._last.url))
        self._console.print()
        for name, url in links:
            self._console.print(
                Text.assemble((f"{name:<13}", "bold"), (url, "underline")), soft_wrap=True
            )

    def _title(self, number: int, text: str) -> None:
        self._console.rule(Text(f"{number}/3  {text}", "bold"), align="left")

    def _run(self, expected: str, **arguments: Any) -> None:
        from pipeline.runs import local as localrun

        self._last = localrun.run(
            "refresh",
            {
                "eval_data": self._published(EXAMPLES / "eval", "eval"),
                "review": "none",
                # One caller and no night to wait for: enough to judge by, and soon done.
                "min_requests": 20,
                "hold_seconds": 0.0,
            }
            | arguments,
            self._settings,
            self._console,
        )
        if self._last.outcome != expected:
            raise PipelineError(
                f"the run came to {self._last.outcome!r} and not to {expected!r}: "
                f"{self._last.reason}"
            )

    def _published(self, folder: Path, name: str) -> str:
        """Where the graph reads the data: the folder itself, or a bucket."""
        if self._options.backends != "real":
            return str(folder.resolve())
        import boto3

        client = boto3.client("s3")
        for file in sorted(folder.glob("*.jsonl")):
            client.upload_file(str(file), "data", f"{name}/{file.name}")
        return f"s3://data/{name}"


@contextmanager
def _servers(options: Options, console: Console) -> Iterator[Settings]:
    """MLflow, with MariaDB and S3 behind it where asked for; the settings that lead there."""
    home = options.home
    started = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_environment(_unproxied()))
        env: dict[str, str] = {}
        where: dict[str, str] = {}
        with console.status("Starting servers …"):
            if options.backends == "real":
                database = stack.enter_context(servers.mariadb(home / "mariadb"))
                store = stack.enter_context(servers.s3(home / "s3", buckets=("mlflow", "data")))
                env.update(store.env)
                where = {"store": database.uri, "artifacts": "s3://mlflow/artifacts"}
            mlflow = stack.enter_context(
                servers.mlflow(home / "mlflow", port=options.mlflow_port, env=env, **where)
            )
        what = "MariaDB, an S3 server and MLflow are" if where else "MLflow is"
        console.print(f"{what} up after {time.monotonic() - started:.0f} s: {mlflow.url}\n")
        # The step at work and the predictor under traffic share the cores: threads of both that
        # wait for each other would make either many times slower.
        half = str(max(1, (os.cpu_count() or 2) // 2))
        env |= {
            "OMP_NUM_THREADS": half,
            "GLINER_THREADS": half,
            "PIPELINE_TRACKING_URI": mlflow.url,
            "MLFLOW_TRACKING_URI": mlflow.url,
            "PIPELINE_MODEL_NAME": NAME,
            "PIPELINE_EXPERIMENT": NAME,
            "PIPELINE_PREDICTOR_URL": f"http://127.0.0.1:{options.http_port}",
            "PIPELINE_ROLLOUT": "local",
            "PIPELINE_HOME": str(home.resolve()),
        }
        with _environment(env):
            yield settings_of.load()


@contextmanager
def _predictor(options: Options, settings: Settings) -> Iterator[Process]:
    """The predictor, which waits for the first champion and then follows the alias."""
    command = [
        *(sys.executable, "-m", "predictor", "--model", f"models:/{settings.model_name}@champion"),
        *("--http_port", str(options.http_port), "--grpc_port", str(options.grpc_port)),
    ]
    env = {
        "GLINER_FOLLOW_SECONDS": str(FOLLOW_SECONDS),
        "GLINER_WAIT_SECONDS": "3600",
        "GLINER_LINGER_SECONDS": "0",
        "GLINER_CACHE_DIR": str(options.home.resolve() / "models"),
    }
    process = Process("the predictor", command, options.home / "predictor.log", env)
    process.url = settings.predictor_url
    try:
        process.start()
        yield process
    finally:
        process.stop()


def _unproxied() -> dict[str, str]:
    """Where a proxy leads outside, the servers on this machine are asked past it."""
    others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    hosts = ",".join(filter(None, (others, "127.0.0.1")))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Steps are processes of their own: they learn by their environment where the servers are."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_free(port: int, name: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            why = "is taken" if isinstance(error, OSError) else "does not exist"
            if isinstance(error, PermissionError):
                why = "needs more rights"
            flag = name.replace("_", "-")
            raise SettingsError(
                f"port {port} {why}; choose another with `make demo {name.upper()}=N` "
                f"or `--{flag} N`"
            ) from error


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
