"""Whole runs while MLflow goes away, their process is killed, or another runs at the same time.

What must come of each is what comes of a run that nothing happens to.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cutting_proxy
import pytest
import registered
import servers
import slack_server
import whole_run
from cutting_proxy import CuttingProxy
from pydantic import SecretStr
from slack_server import Slack
from whole_run import STEPS, Run

from pipeline.errors import RolloutBusy
from pipeline.local.process import Process, free_port
from pipeline.measuring import trials
from pipeline.registry import Registry, Tag, Version
from pipeline.runs.local import environment
from pipeline.settings import Settings
from predictor import bundle

pytestmark = [pytest.mark.server, pytest.mark.slow]

AWAY_SECONDS = 1.5
HOLD_SECONDS = 5.0
"""Long enough for a test to see that a rollout is under way."""
ROWS = [
    {"tokenized_text": ["Ada", "met", "Bob", "in", str(number)], "ner": [[0, 0, "person"]]}
    for number in range(6)
]


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        found.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        found.setattr(trials, "PRECISIONS", whole_run.ENGINES)
        yield found


@pytest.fixture(scope="module")
def proxy(mlflow_server: Process) -> Iterator[CuttingProxy]:
    """The way to MLflow."""
    with cutting_proxy.to(mlflow_server.url) as started:
        yield started


@pytest.fixture(scope="module")
def slack() -> Iterator[Slack]:
    with slack_server.running() as started:
        yield started


@pytest.fixture
def told(slack: Slack) -> Slack:
    """Slack, which has not heard of anything yet."""
    slack.taken.clear()
    return slack


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_bert: Path,
    mlflow_server: Process,
    slack: Slack,
    patch: pytest.MonkeyPatch,
) -> Iterator[Settings]:
    """A predictor that follows the champion, which is not one of the runs' candidates."""
    folder = tmp_path_factory.mktemp("faults")
    name = f"faults-{folder.name}"
    found = Settings(
        tracking_uri=mlflow_server.url,
        model_name=name,
        experiment=name,
        home=folder,
        http_retries=2,
        slack_webhook_url=SecretStr(slack.url),
    )
    bundle.write(str(tiny_bert), folder / "first")
    registered.register(found, folder / "first")
    registered.point(found, 1)
    patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
    arguments = ("--model", f"models:/{name}@champion")
    with servers.running(folder, *arguments, settings={"follow_seconds": 0.5}) as predictor:
        yield found.model_copy(update={"predictor_url": predictor.url})


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Run]:
    """Makes runs that end with a promotion, each with a model of its own."""
    import checkpoints

    def made(length: int) -> Run:
        folder = tmp_path_factory.mktemp("run")
        data = folder / "eval"
        data.mkdir()
        (data / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        arguments = {
            "eval_data": str(data),
            "model": str(checkpoints.write(folder / "model", max_len=length)),
            "min_examples": 1,
            "force": True,
            "review": "none",
            "canary_steps": [100],
            "min_requests": 5,
            "hold_seconds": 0.0,
            "max_latency_ratio": 100.0,
        }
        return Run(f"job-{folder.name}-{length}", folder / "outputs", arguments)

    return made


def use(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    for name, value in environment(settings).items():
        patch.setenv(name, value)


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to.

    Attributes:
        writes: how often each step wrote into MLflow.
    """

    run: Run
    recorded: dict[str, Any]
    writes: Counter[str]


@pytest.fixture(scope="module")
def undisturbed(
    settings: Settings, a_run: Callable[[int], Run], slack: Slack, patch: pytest.MonkeyPatch
) -> Undisturbed:
    use(settings, patch)
    run, writes = a_run(40), Counter[str]()
    for name in STEPS:
        with whole_run.after_writes(partial(writes.update, [name])):
            run.step(name)
    found = whole_run.recorded(run, settings)
    assert found["aliases"] == ("champion",)
    assert len(slack.taken) == 1
    return Undisturbed(run, found, writes)


def test_mlflow_goes_away_at_each_step_and_comes_back(
    undisturbed: Undisturbed,
    settings: Settings,
    proxy: CuttingProxy,
    a_run: Callable[[int], Run],
    told: Slack,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step waits for it, and the run ends as one that was not disturbed."""
    use(settings.model_copy(update={"tracking_uri": proxy.url}), monkeypatch)
    run, waited = a_run(44), []
    for name in STEPS:
        proxy.down_for(AWAY_SECONDS)
        run.step(name)
        if "does not answer" in (said := capsys.readouterr().out) and "; again in 2 s" in said:
            waited.append(name)

    assert tuple(waited) == STEPS
    assert whole_run.recorded(run, settings) == undisturbed.recorded
    assert len(told.titles) == 1


@pytest.mark.parametrize("name", STEPS[:-1])
def test_a_step_ends_in_one_line_where_mlflow_stays_away(
    name: str,
    undisturbed: Undisturbed,
    settings: Settings,
    told: Slack,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names the server, and the exit code says that trying again may help."""
    url = f"http://127.0.0.1:{free_port()}"
    use(settings.model_copy(update={"tracking_uri": url, "http_retries": 0}), monkeypatch)

    with pytest.raises(SystemExit) as caught:
        undisturbed.run.step(name)

    said = capsys.readouterr().out.splitlines()
    assert caught.value.code == 7
    assert [line for line in said if line.startswith("error ")] == said[-1:]
    assert said[-1].startswith(f"error 7: MLflow at {url} does not answer: ")
    assert told.taken == []


def test_a_full_disk_is_one_line(
    undisturbed: Undisturbed,
    settings: Settings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a library or Python itself raises of it is no bug of ours."""
    use(settings, monkeypatch)
    folder = shutil.copytree(undisturbed.run.folder, tmp_path / "outputs")
    (folder / "report" / "evaluation.json").unlink()
    (folder / "report" / "evaluation.json").symlink_to("/dev/full")

    with pytest.raises(SystemExit) as caught:
        dataclasses.replace(undisturbed.run, job="full", folder=folder).step("evaluate")

    assert caught.value.code == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("error 1: the disk is full; ")


def test_killed_at_each_step_and_run_again(
    undisturbed: Undisturbed, settings: Settings, a_run: Callable[[int], Run], told: Slack
) -> None:
    """Killed amid its writes into MLflow, and run again from the start: as if nothing had been."""
    run, codes = a_run(48), []
    for step in (*STEPS, ""):
        killed_at = (step, (undisturbed.writes[step] + 1) // 2)
        process = whole_run.process(run, settings, killed_at)
        process.start()
        process.join()
        codes.append(process.exitcode)

    assert codes == [-signal.SIGKILL] * len(STEPS) + [0]
    assert whole_run.recorded(run, settings) == undisturbed.recorded
    assert len(told.titles) == 1


def test_two_runs_of_the_same_model_at_once(
    settings: Settings, a_run: Callable[[int], Run], tmp_path: Path
) -> None:
    """One version comes of both; one rolls it out, and the other is told so."""
    before = len(Registry(settings).versions())
    first = a_run(52)
    # So that the quicker one has not ended before the other comes to the same.
    first.arguments["hold_seconds"] = HOLD_SECONDS
    second = dataclasses.replace(first, job=f"{first.job}-2", folder=tmp_path / "outputs")

    processes = [whole_run.process(run, settings) for run in (first, second)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    [version] = Registry(settings).versions()[:-before]
    codes = sorted(process.exitcode or 0 for process in processes)
    said = [(run.folder / "run.log").read_text() for run in (first, second)]
    assert codes == [0, RolloutBusy.exit_code], said
    assert version.aliases == ("champion",)
    assert rollouts(version) == 1


def test_a_run_from_the_command_line_while_another_rolls_out(
    settings: Settings, a_run: Callable[[int], Run]
) -> None:
    """Each model has its version; one is rolled out, and the other's run says who was first."""
    registry = Registry(settings)
    before = len(registry.versions())
    first, second = a_run(56), a_run(60)
    first.arguments["hold_seconds"] = HOLD_SECONDS
    process = whole_run.process(first, settings)
    process.start()
    command = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", "--local", *flags(second.arguments)],
        env={**os.environ, **environment(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: rolls_out(first, registry))
        # It stands still at its rollout for as long as the other takes, which kfp makes long.
        os.kill(process.pid or 0, signal.SIGSTOP)
        said, _ = command.communicate()
        os.kill(process.pid or 0, signal.SIGCONT)
        process.join()
    finally:
        command.kill()
        process.kill()

    found = registry.versions()[:-before]
    assert (process.exitcode, command.returncode) == (0, RolloutBusy.exit_code)
    assert f"roll-out: a rollout is under way, by {first.job} (" in said
    assert len({one.digest for one in found}) == len(found) == 2
    assert sorted((one.aliases, rollouts(one)) for one in found) == [((), 0), (("champion",), 1)]


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)


def rolls_out(run: Run, registry: Registry) -> bool:
    """Whether its version is being rolled out."""
    if not (run.folder / "version").is_file():
        return False
    version = registry.version(run.version)
    return version is not None and version.tags.get(Tag.ROLLOUT) == "running"


def flags(arguments: Mapping[str, Any]) -> list[str]:
    return [
        f"--{name.replace('_', '-')}={json.dumps(one) if isinstance(one, list) else one}"
        for name, one in arguments.items()
    ]


def rollouts(version: Version) -> int:
    """How often one was begun."""
    return sum(text.startswith("rollout started") for _, text in version.events)
