"""Start the rollout of a version that was approved, on Kubeflow or on this machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline import settings as settings_of
from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.registry import Registry, Tag, Version
from pipeline.runs.outcome import FAILED
from pipeline.settings import Settings

GRAPH = "rollout"
LOCK = "running"
DONE = "done"
LOG = "launch.log"
"""What each try came to, and where its own log is."""


def rollout(version: int, settings: Settings, reason: str = "", *, wait: bool = False) -> str:
    """Start the rollout graph for a version, once for each time that its review was asked.

    One that failed or was killed is started again by the next call.

    Args:
        reason: why, for the log.
        wait: on this machine, return when the rollout has ended, not when it has begun. A
            rollout that does not wait goes on when this process ends.

    Returns:
        The run's id: Kubeflow's, or the local one.

    Raises:
        PipelineError: there is no such version.
        SettingsError: `PIPELINE_HOME` cannot be used.
        Unavailable: MLflow or Kubeflow does not answer; calling again is right.
    """
    found = Registry(settings).version(version)
    if found is None:
        raise PipelineError(f"MLflow has no version {version} of {settings.model_name}")
    name = run_name(found)
    if settings.kfp_host:
        from pipeline.runs import kubeflow

        run_id, new = kubeflow.start(GRAPH, {"version": version}, settings, name)
        where = kubeflow.run_url(run_id, settings)
    else:
        run_id, new = name, _start_here(name, version, settings, wait)
        where = str(_folder(name, settings) / LOG)
    why = f" ({reason})" if reason else ""
    say(f"{name}: {f'started{why}' if new else 'had been started'}; {where}")
    return run_id


def run_name(version: Version) -> str:
    """The name of a version's rollout: the same until its review is asked again."""
    asked = version.tags.get(Tag.REVIEW_ASKED_AT, "")
    key = hashlib.sha256(f"{version.digest} {asked}".encode()).hexdigest()[:8]
    return f"rollout-v{version.number}-{key}"


def _start_here(name: str, version: int, settings: Settings, wait: bool) -> bool:
    """Start it on this machine, unless it has ended well or is under way.

    Returns:
        Whether it was started now.
    """
    folder = _folder(name, settings)
    if (folder / DONE).exists() or _runs(folder):
        return False
    if wait:
        return _run(name, version, settings)
    from pipeline.runs.local import environment

    with (folder / LOG).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.runs.launch", name, str(version)],
            env={**os.environ, **environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives whoever approved
        )
    return True


def _run(name: str, version: int, settings: Settings) -> bool:
    """Run it in this process; not where another process does."""
    from pipeline.runs import local as localrun

    folder = _folder(name, settings)
    try:
        with FileLock(folder / LOCK, timeout=0):
            if (folder / DONE).exists():
                return False
            result = localrun.run(GRAPH, {"version": version}, settings, job=name)
            if result.outcome != FAILED:
                (folder / DONE).touch()
            why = f": {result.reason}" if result.reason else ""
            say(f"{name}: {result.outcome}{why}; {result.log}")
    except Timeout:
        return False
    return True


def _runs(folder: Path) -> bool:
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True


def _folder(name: str, settings: Settings) -> Path:
    # Not the run's own folder: that is emptied when the run has ended well.
    return settings.folder("launches", name)


if __name__ == "__main__":
    _run(sys.argv[1], int(sys.argv[2]), settings_of.load())
