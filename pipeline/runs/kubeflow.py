"""The graphs on Kubeflow: compiled, uploaded, run and followed."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.text import Text

from pipeline import arguments as arguments_of
from pipeline import parameters
from pipeline.errors import PipelineError
from pipeline.runs import outcome as outcome_of
from pipeline.runs.connection import asking, connect, named, once, pages
from pipeline.settings import Settings

GRAPHS = ("refresh", "rollout")
POLL_SECONDS = 3.0
_LOST = ("FAILED", "CANCELING", "CANCELED", "SKIPPED")
_ENDED = {
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "CANCELED": "was cancelled",
    "SKIPPED": "was skipped",
}


@lru_cache(maxsize=4)
def _spec(text: str) -> Any:
    """The first document; the second is for Kubernetes. Parsing it takes a moment."""
    return next(yaml.safe_load_all(text))


@dataclass(frozen=True, slots=True)
class Package:
    """A compiled graph as it goes to Kubeflow.

    Attributes:
        graph: `refresh` or `rollout`.
        pipeline: its name there.
        text: the YAML, with the image that the settings name.
    """

    graph: str
    pipeline: str
    text: str

    @property
    def version(self) -> str:
        """The name of its version there: the same content has the same name."""
        return f"sha-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def steps(self) -> set[str]:
        """The names of its steps."""
        components = _spec(self.text)["components"]
        return {
            name.removeprefix("comp-") for name, one in components.items() if "executorLabel" in one
        }

    @classmethod
    def of(cls, graph: str, settings: Settings) -> Package:
        """The committed YAML of a graph."""
        text = (parameters.COMPILED / f"{graph}.yaml").read_text("utf-8")
        spec = _spec(text)
        if settings.image:
            executors = spec["deploymentSpec"]["executors"].values()
            for image in {one["container"]["image"] for one in executors}:
                text = text.replace(f"image: {image}\n", f"image: {settings.image}\n")
        return cls(graph, spec["pipelineInfo"]["name"], text)


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A package on Kubeflow.

    Attributes:
        new: whether it was not there before.
    """

    pipeline_id: str
    version_id: str
    new: bool


def compile_all(folder: Path = parameters.COMPILED) -> list[Path]:
    """Write the graphs as YAML."""
    from pipeline import graph  # kfp's compiler takes seconds to import

    return graph.compile_all(folder)


def upload(settings: Settings) -> list[str]:
    """Upload the graphs; what is there already stays as it is.

    Returns:
        What was done, a line for each graph.

    Raises:
        Unavailable: Kubeflow does not answer; doing it again is right.
        PipelineError: it refuses.
    """
    client = connect(settings)
    lines = []
    for package in (Package.of(graph, settings) for graph in GRAPHS):
        done = "uploaded" if put(package, client, settings).new else "is there already"
        lines.append(f"{package.pipeline} {package.version}: {done}")
    return lines


def put(package: Package, client: Any, settings: Settings) -> Uploaded:
    """Upload one package, once for its content."""
    from kfp_server_api import V2beta1Pipeline

    def find_pipeline() -> str | None:
        with asking(settings):
            return client.get_pipeline_id(package.pipeline)  # type: ignore[no-any-return]

    def make_pipeline() -> str:
        # `upload_pipeline` would make a first version too, named after the pipeline.
        wanted = V2beta1Pipeline(
            name=package.pipeline,
            display_name=package.pipeline,
            namespace=settings.kfp_namespace or None,
        )
        with asking(settings):
            made = client.pipelines.pipeline_service_create_pipeline(pipeline=wanted)
        return str(made.pipeline_id)

    pipeline_id, _ = once(find_pipeline, make_pipeline)

    def make_version() -> str:
        with tempfile.TemporaryDirectory() as folder, asking(settings):
            file = Path(folder) / f"{package.graph}.yaml"
            file.write_text(package.text, encoding="utf-8")
            made = client.upload_pipeline_version(
                str(file), package.version, pipeline_id=pipeline_id
            )
        return str(made.pipeline_version_id)

    version_id, new = once(
        lambda: find_version(package, pipeline_id, client, settings), make_version
    )
    return Uploaded(pipeline_id, version_id, new)


def find_version(package: Package, pipeline_id: str, client: Any, settings: Settings) -> str | None:
    """The id of a package's version, where it was uploaded."""
    with asking(settings):
        found = pages(
            client.list_pipeline_versions,
            "pipeline_versions",
            pipeline_id=pipeline_id,
            filter=named(package.version),
        )
        return next((str(one.pipeline_version_id) for one in found), None)


def start(
    graph: str, arguments: Mapping[str, Any], settings: Settings, name: str, client: Any = None
) -> tuple[str, bool]:
    """Start a run, unless one of this name runs or has ended well.

    Returns:
        Its id, and whether it was started now.
    """
    arguments_of.check(graph, arguments)
    client = client or connect(settings)
    uploaded = put(Package.of(graph, settings), client, settings)
    experiment = experiment_id(client, settings)

    def find() -> str | None:
        with asking(settings):
            found = pages(client.list_runs, "runs", experiment_id=experiment, filter=named(name))
            return next((str(one.run_id) for one in found if one.state not in _LOST), None)

    def make() -> str:
        with asking(settings):
            made = client.run_pipeline(
                experiment_id=experiment,
                job_name=name,
                params=dict(arguments),
                pipeline_id=uploaded.pipeline_id,
                version_id=uploaded.version_id,
                service_account=settings.kfp_service_account or None,
            )
        return str(made.run_id)

    return once(find, make)


def experiment_id(client: Any, settings: Settings) -> str:
    """Kubeflow's experiment for our runs; made where there is none."""
    with asking(settings):
        made = client.create_experiment(
            settings.experiment, namespace=settings.kfp_namespace or None
        )
    return str(made.experiment_id)


def run(
    graph: str,
    arguments: Mapping[str, Any],
    settings: Settings,
    *,
    wait: bool = True,
    console: Console | None = None,
) -> int:
    """Run a graph, and follow it to its end where asked to.

    Returns:
        The exit code of the command line: 0, that of what happened, or that of why MLflow does
        not say what happened.

    Raises:
        Unavailable: Kubeflow does not answer. A run that was started goes on.
    """
    console = console or Console(highlight=False)
    client = connect(settings)
    name = f"{graph}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    run_id, _ = start(graph, arguments, settings, name, client)
    console.print(Text(f"{name}: {run_url(run_id, settings)}"), soft_wrap=True)
    return follow(graph, run_id, client, settings, console) if wait else 0


def follow(graph: str, run_id: str, client: Any, settings: Settings, console: Console) -> int:
    """Show a run's steps until it ends, and what it came to.

    Returns:
        As `run`.
    """
    # Kubeflow's own tasks (drivers, branches) are in the list as well.
    steps = Package.of(graph, settings).steps
    shown: dict[str, str] = {}
    while True:
        with asking(settings):
            found = client.get_run(run_id)
        for task in (found.run_details and found.run_details.task_details) or ():
            step, state = str(task.display_name), str(task.state or "").lower()
            if step in steps and state != shown.get(step):
                shown[step] = state
                console.print(Text(f"  {step}: {state}"), soft_wrap=True)
        if found.state in _ENDED:
            break
        time.sleep(POLL_SECONDS)
    well, words = found.state == "SUCCEEDED", _ENDED[found.state]
    code, reason = PipelineError.exit_code, ""
    try:
        # Steps leave it there: that no step failed may as well be a refusal or a rollback.
        came_to = outcome_of.of(run_id, settings)
    except PipelineError as error:
        if well:
            code, reason = error.exit_code, f"what it came to is not known: {error}"
    else:
        reason = came_to.reason
        if well:
            code, words = came_to.exit_code, str(came_to)
    reason = reason or (found.error.message if found.error else "")
    why = f": {reason}" if reason else ""
    console.print(Text(f"{graph}: {words}{why}"), soft_wrap=True)
    return code


def run_url(run_id: str, settings: Settings) -> str:
    """A run's page."""
    return f"{settings.kfp_host.rstrip('/')}/#/runs/details/{run_id}"


def schedule(
    cron: str, arguments: Mapping[str, Any], settings: Settings, *, only_show: bool = False
) -> list[str]:
    """A recurring run of the refresh graph: `recurring.schedule`."""
    from pipeline.runs import recurring

    return recurring.schedule(cron, arguments, settings, only_show=only_show)
