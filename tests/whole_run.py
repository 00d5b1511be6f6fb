"""The refresh graph's steps one after the other, each called as kfp calls it.

Without kfp's own processes, of which each imports the model's libraries, a run takes seconds.
"""

from __future__ import annotations

import inspect
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from kfp.dsl import Artifact, PipelineTaskFinalStatus
from requests.adapters import HTTPAdapter  # type: ignore[import-untyped]

from pipeline import components, parameters
from pipeline.measuring import trials
from pipeline.registry import Registry, RunTag, Tag
from pipeline.settings import Settings

STEPS = (
    *("fetch_data", "prepare", "optimise", "evaluate", "register"),
    *("gate", "review", "roll_out", "notify"),
)
ENGINES = {"torch": ("fp32",)}
"""What `optimise` tries: all engines there are would take most of a run's time."""
_LIBRARIES = ["gliner", "kfp.dsl", "mlflow.pyfunc", "pandas", "torch", "transformers"]
_SAME = (
    *(Tag.STATUS, Tag.GATE, Tag.REVIEW, Tag.ROLLOUT, Tag.ROLLOUT_PERCENT, Tag.ROLLOUT_REASON),
    *(Tag.DATASET_DIGEST, "f1"),
)


@dataclass(frozen=True)
class Run:
    """One run of the graph.

    Attributes:
        folder: what the steps hand to each other.
        arguments: what differs from the graph's defaults.
    """

    job: str
    folder: Path
    arguments: dict[str, Any]

    @property
    def version(self) -> int:
        """What was registered."""
        return int((self.folder / "version").read_text())

    def step(self, name: str) -> Any:
        """Do a step.

        Raises:
            SystemExit: it failed, with its exit code.
        """
        defaults = {one.name: one.default for one in parameters.of("refresh")}
        values = {**defaults, **self.arguments, "job": self.job}
        given: dict[str, Any] = {"source": values["eval_data"], "mode": values["review"]}
        given["max_age_hours"] = values["max_data_age_hours"]
        given["status"] = PipelineTaskFinalStatus("SUCCEEDED", "", "", None, None)
        for artifact in ("data", "candidate", "report", "optimised"):
            given[artifact] = self._artifact(artifact)
        given["evaluation"] = given["data"]
        if name in ("evaluate", "register"):
            given["candidate"] = given["optimised"]
        if (self.folder / "version").exists():
            given["version"] = self.version
        function = getattr(components, name).python_func
        wanted = inspect.signature(function).parameters
        value = function(**{one: (values | given)[one] for one in wanted})
        if name == "register":
            (self.folder / "version").write_text(str(value))
        return value

    def _artifact(self, name: str) -> Artifact:
        return Artifact(name=name, uri=str(self.folder / name), metadata={})


def process(
    run: Run, settings: Settings, killed_at: tuple[str, int] = ("", 0)
) -> multiprocessing.process.BaseProcess:
    """A process that does all steps, or is killed at one of them once it has written so often.

    What the steps say is in `run.log`. It begins with the libraries imported.
    """
    from pipeline.runs.local import environment

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    own = {**os.environ, **environment(settings)}
    return context.Process(target=_all_steps, args=(run, own, killed_at))


def _all_steps(run: Run, environment: dict[str, str], killed_at: tuple[str, int]) -> None:
    os.environ.update(environment)
    run.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout = (run.folder / "run.log").open("a", encoding="utf-8")
    writes = Counter[str]()

    def die_in_time() -> None:
        writes[name] += 1
        if (name, writes[name]) == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch.object(trials, "PRECISIONS", ENGINES), after_writes(die_in_time):
        for name in STEPS:
            run.step(name)


@contextmanager
def after_writes(do: Callable[[], None]) -> Iterator[None]:
    """Do something whenever MLflow has changed something, before the step hears of it."""
    send = HTTPAdapter.send

    def sent(self: HTTPAdapter, request: Any, *args: Any, **options: Any) -> Any:
        answer = send(self, request, *args, **options)
        if request.method != "GET" and "search" not in request.url:
            do()
        return answer

    with mock.patch.object(HTTPAdapter, "send", sent):
        yield


def recorded(run: Run, settings: Settings) -> dict[str, Any]:
    """What a run has left in MLflow, without what differs each time."""
    registry = Registry(settings)
    found = registry.run(run.job)
    version = registry.version(run.version)
    assert version is not None
    assert found.inputs is not None
    same = [one for one in registry.versions() if one.digest == version.digest]
    models = registry.client.search_logged_models(
        [found.info.experiment_id], f"tags.{Tag.BUNDLE_DIGEST} = '{version.digest}'"
    )
    outcome = {
        key.removeprefix("pipeline."): one
        for key, one in found.data.tags.items()
        if key.startswith("pipeline.") and key not in (RunTag.JOB, RunTag.VERSION)
    }
    return {
        "versions": len(same),
        "files": [one.status for one in models],
        "aliases": version.aliases,
        "tags": {name: version.tags.get(name) for name in _SAME},
        "moves": sum(text.startswith("champion:") for _, text in version.events),
        "runs": sum(one.data.tags.get(RunTag.JOB) == run.job for one in registry.runs(100)),
        "run": found.info.status,
        "outcome": outcome,
        "data": [one.dataset.name for one in found.inputs.dataset_inputs],
        "params": sorted(found.data.params),
        "metrics": sorted(found.data.metrics),
        "tables": json.loads(found.data.tags["mlflow.loggedArtifacts"]),
        "artifacts": sorted(one.path for one in registry.client.list_artifacts(found.info.run_id)),
    }
