"""Rollouts on one machine: real predictors, a real registry, real kills."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import registered
import servers

from pipeline.errors import NotServing, RolloutBusy
from pipeline.local.process import Process
from pipeline.registry import Registry, RunTag, Tag
from pipeline.rollout import controller, local
from pipeline.rollout.local import Local
from pipeline.rollout.plan import Plan
from pipeline.settings import Settings
from pipeline.steps import roll_out
from predictor import bundle, engines

pytestmark = [pytest.mark.server, pytest.mark.slow]

QUICK = Plan(steps=(50, 100), min_requests=10, hold_seconds=0, max_latency_ratio=50)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> dict[str, Path]:
    """Two good models, and one that does not give the answers it was recorded with."""
    import checkpoints

    folder = tmp_path_factory.mktemp("bundles")
    other = checkpoints.write(folder / "other", "bert", max_len=48)
    for model, name in ((tiny_bert, "good"), (other, "better")):
        written = bundle.write(str(model), folder / name)
        # As `optimise` leaves most models: their predictors are up without seconds of imports.
        manifest = json.loads((written.folder / "bundle.json").read_text())
        (written.folder / "bundle.json").write_text(json.dumps(manifest | {"engine": "openvino"}))
        engines.prepare(bundle.locate(str(written.folder)))
    shutil.copytree(folder / "good", folder / "broken")
    golden = json.loads((folder / "broken" / "golden.json").read_text())
    golden["requests"][0]["entities"] = [
        {"text": "Ada", "label": "person", "start": 0, "end": 3, "score": 0.99}
    ]
    (folder / "broken" / "golden.json").write_text(json.dumps(golden))
    return {name: folder / name for name in ("good", "better", "broken")}


@pytest.fixture(scope="module")
def following(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: Process, bundles: dict[str, Path]
) -> Iterator[Settings]:
    """Settings for a predictor that follows the champion, with version 1 in that place, a good
    version 2 and a broken version 3."""
    folder = tmp_path_factory.mktemp("local")
    name = f"local-{folder.name}"
    settings = Settings(
        tracking_uri=mlflow_server.url,
        model_name=name,
        experiment=name,
        home=folder,
        http_retries=1,
    )
    for kind in ("good", "better", "broken"):
        registered.register(settings, bundles[kind])
    registered.point(settings, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
        arguments = ("--model", f"models:/{name}@champion")
        with servers.running(folder, *arguments, settings={"follow_seconds": 0.5}) as predictor:
            yield settings.model_copy(update={"predictor_url": predictor.url})


def serving(settings: Settings) -> str:
    config = httpx.get(f"{settings.predictor_url}/api/v1/config", timeout=30).json()
    return str(config["model"]["digest"])


def test_promoted_and_rolled_back_by_hand(
    following: Settings, bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The serving predictor comes to the new version, and with one command back to the old."""
    registry = Registry(following)

    outcome = roll_out.run(2, job="good-job", plan=QUICK, settings=following)

    assert outcome == "promoted"
    assert serving(following) == bundle.digest(bundles["better"])
    run = registry.run("good-job").data.tags
    assert (run[RunTag.OUTCOME], run[RunTag.VERSION]) == ("promoted", "2")
    said = capsys.readouterr().out
    assert "version 2 at 50 %: 10 requests, 0.0% errors, p95 " in said
    assert "4 golden answers" in said

    controller.roll_back(registry, Local(following))

    champion = registry.champion()
    assert champion is not None
    assert champion.number == 1
    assert serving(following) == champion.digest


def test_a_broken_candidate_is_told_by_its_own_words(
    following: Settings, bundles: dict[str, Path]
) -> None:
    """A bundle that does not give its golden answers never takes a request."""
    outcome = roll_out.run(3, job="broken-job", plan=QUICK, settings=following)

    assert outcome == "rolled_back"
    reason = Registry(following).run("broken-job").data.tags[RunTag.REASON]
    assert reason.startswith("its predictor does not become ready: ")
    assert "no longer gives its golden answer: label 'person' at 0-3" in reason
    assert serving(following) == bundle.digest(bundles["good"])


SCRIPT = """
import sys
from pipeline.rollout.plan import Plan
from pipeline.steps import roll_out
plan = Plan(steps=(50, 100), min_requests=10, hold_seconds=120, max_latency_ratio=50)
roll_out.run(2, job="ended-job", plan=plan)
"""


@pytest.fixture
def under_way(following: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A rollout in a process and a folder of its own that has come to its first step."""
    environment = {
        "PIPELINE_TRACKING_URI": following.tracking_uri,
        "PIPELINE_PREDICTOR_URL": following.predictor_url,
        "PIPELINE_MODEL_NAME": following.model_name,
        "PIPELINE_EXPERIMENT": following.experiment,
        "PIPELINE_HOME": str(tmp_path / "elsewhere"),
    }
    registry = Registry(following)
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env={**os.environ, **environment})
    try:
        until(
            lambda: (
                tags(registry, 2).get(Tag.ROLLOUT) == "running"
                and tags(registry, 2).get(Tag.ROLLOUT_PERCENT) == "50"
            )
        )
        yield process
    finally:
        process.kill()
        process.wait()


def tags(registry: Registry, number: int) -> dict[str, str]:
    version = registry.version(number)
    assert version is not None
    return dict(version.tags)


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_a_signal_takes_the_candidate_back(
    following: Settings, under_way: subprocess.Popen[bytes], bundles: dict[str, Path]
) -> None:
    """SIGTERM ends a rollout in order: rolled back, told, no process left, exit code not 0."""
    children = psutil.Process(under_way.pid).children()

    with pytest.raises(RolloutBusy, match=r"by ended-job \(process \d+ on "):
        roll_out.run(2, job="second-job", plan=QUICK, settings=following)
    under_way.send_signal(signal.SIGTERM)
    code = under_way.wait(60)

    assert code == 128 + signal.SIGTERM
    found = tags(Registry(following), 2)
    assert (found[Tag.ROLLOUT], found[Tag.ROLLOUT_REASON]) == (
        "rolled_back",
        "interrupted (Terminated)",
    )
    assert len(children) == 1
    assert not children[0].is_running()
    assert serving(following) == bundle.digest(bundles["good"])


def test_killed_for_real_and_run_again(
    following: Settings, under_way: subprocess.Popen[bytes], bundles: dict[str, Path]
) -> None:
    """After `kill -9` the lock is free and the second predictor ends; the next run goes on."""
    [child] = psutil.Process(under_way.pid).children()
    under_way.kill()
    under_way.wait()
    child.wait(60)

    outcome = roll_out.run(2, job="again-job", plan=QUICK, settings=following)

    assert outcome == "promoted"
    assert serving(following) == bundle.digest(bundles["better"])
    controller.roll_back(Registry(following), Local(following))
    assert serving(following) == bundle.digest(bundles["good"])


def test_a_first_version_that_nobody_serves(
    settings: Settings,
    bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is put off with no verdict; the line that is said starts a predictor, which then gets
    the version."""
    registered.register(settings, bundles["good"])
    registry = Registry(settings)
    http_port, grpc_port = servers.free_ports(2)
    alone = settings.model_copy(update={"predictor_url": f"http://127.0.0.1:{http_port}"})
    monkeypatch.setattr(local, "_NOTICE_SECONDS", 1.0)
    monkeypatch.setattr(local, "_SILENT_SECONDS", 0.2)

    with pytest.raises(NotServing) as raised:
        roll_out.run(1, job="unserved-job", plan=QUICK, settings=alone)

    found = tags(registry, 1)
    assert (registry.champion(), found[Tag.ROLLOUT]) == (None, "put_off")
    assert Tag.STATUS not in found
    [said] = re.findall(r"start one with `(.+)`, or set PIPELINE_PREDICTOR_URL", str(raised.value))
    assert f"start one with `{said}`, or set PIPELINE_PREDICTOR_URL; waiting for one, " in (
        capsys.readouterr().out
    )
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with (tmp_path / "predictor.log").open("wb") as log:
        predictor = subprocess.Popen(
            ["bash", "-c", f"{said} --grpc_port {grpc_port}"],
            stderr=log,
            start_new_session=True,
        )
    try:
        monkeypatch.setattr(local, "_NOTICE_SECONDS", 60.0)
        assert roll_out.run(1, job="served-job", plan=QUICK, settings=alone) == "promoted"
        assert serving(alone) == bundle.digest(bundles["good"])
    finally:
        os.killpg(predictor.pid, signal.SIGTERM)
        predictor.wait(60)
