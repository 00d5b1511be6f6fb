"""An alias that leads nowhere good: the version that serves goes on, and says why."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import registered
from followed import config, gauge, lines, serves, state, until
from servers import RunningServer, running

from pipeline.local import servers as real
from pipeline.local.process import Process, free_port
from pipeline.settings import Settings

pytestmark = pytest.mark.server

FAST = {"follow_seconds": 0.2}


@dataclass(frozen=True)
class Place:
    """A registered model, and a server that follows it."""

    settings: Settings
    server: RunningServer

    @property
    def source(self) -> str:
        return f"models:/{self.settings.model_name}@champion"


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: Process, bundles: tuple[Path, Path]
) -> Iterator[Place]:
    """One server for all tests, which leave it in good health."""
    name = f"followed-{uuid4().hex[:8]}"
    settings = Settings(tracking_uri=mlflow_server.url, model_name=name, experiment=name)
    registered.point(settings, registered.register(settings, bundles[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)
        arguments = ("--model", f"models:/{name}@champion")
        with running(tmp_path_factory.mktemp("place"), *arguments, settings=FAST) as server:
            yield Place(settings, server)


def answers(server: RunningServer) -> bool:
    return bool(server.predict("Ada was here .", labels=["person"])[0]["words"] == 4)


def _golden(folder: Path) -> None:
    file = folder / "golden.json"
    golden = json.loads(file.read_text())
    entity = {"text": "Ada", "label": "person", "start": 0, "end": 3, "score": 0.999}
    row = {"text": "Ada was here .", "labels": ["person"], "entities": [entity]}
    file.write_text(json.dumps({"requests": [*golden["requests"], row]}))


def _weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def _engine(folder: Path) -> None:
    file = folder / "bundle.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"engine": "abacus"}))


def _config(folder: Path) -> None:
    (folder / "gliner_config.json").unlink()


def _nothing(_folder: Path) -> None:
    """Only its tag is wrong."""


@pytest.mark.parametrize(
    ("spoil", "digest", "says"),
    [
        (_golden, None, "no longer gives its golden answer"),
        (_weights, None, "cannot load: SafetensorError"),
        (_engine, None, "bundle.json asks for the engine 'abacus'; those here are torch"),
        (_config, None, "no gliner_config.json here or up to 4 folders below"),
        (_nothing, "0" * 64, "its tag bundle_digest says 0000000000000000…"),
    ],
)
def test_version_that_cannot_serve(
    place: Place,
    bundles: tuple[Path, Path],
    tmp_path: Path,
    spoil: Callable[[Path], None],
    digest: str | None,
    says: str,
) -> None:
    """The old one serves on, metric, log and config say why, and the next good one is taken."""
    server = place.server
    folder = Path(shutil.copytree(bundles[1], tmp_path / "broken"))
    spoil(folder)
    before = config(server)["model"]
    broken = registered.register(place.settings, folder, digest)
    good = registered.register(place.settings, bundles[1])

    registered.point(place.settings, broken)
    until(lambda: state(server) == "failed")
    time.sleep(0.5)  # two more questions
    shown, failed = config(server), gauge(server, "gliner_follow_failed")
    answered = answers(server)
    told = [one for one in lines(server, "swap failed") if one["new_version"] == str(broken)]
    registered.point(place.settings, good)
    until(lambda: serves(server, good) and state(server) == "current")

    assert answered
    assert shown["model"] == before
    following = shown["following"]
    assert (following["source"], following["wanted_version"]) == (place.source, str(broken))
    assert says in following["reason"]
    assert not following["reason"].startswith("/")
    assert failed == 1
    assert [(one["level"], one["reason"]) for one in told] == [("ERROR", following["reason"])]
    assert config(server)["following"] == {
        "source": place.source,
        "state": "current",
        "wanted_version": str(good),
        "reason": "",
    }
    assert gauge(server, "gliner_follow_failed") == 0


def test_alias_that_is_deleted(place: Place, bundles: tuple[Path, Path]) -> None:
    """Without its alias a server goes on with what it has, and says so once."""
    server = place.server
    serving = config(server)["model"]["version"]
    client = registered.client(place.settings)

    client.delete_registered_model_alias(place.settings.model_name, "champion")
    until(lambda: state(server) == "missing")
    time.sleep(0.5)
    following = config(server)["following"]
    failed = gauge(server, "gliner_follow_failed")
    told = lines(server, "following failed")
    registered.point(place.settings, int(serving))
    until(lambda: state(server) == "current")

    assert following["wanted_version"] == ""
    assert "alias champion not found" in following["reason"]
    assert failed == 1
    assert [(one["level"], one["state"]) for one in told] == [("ERROR", "missing")]
    assert serves(server, int(serving))
    assert gauge(server, "gliner_follow_failed") == 0


def test_registry_that_comes_goes_and_comes_back(
    start_server: Callable[..., AbstractContextManager[RunningServer]],
    bundles: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start waits for its first version; while MLflow is down a server goes on, and says so;
    then it follows as before."""
    port = free_port()
    source, url = "models:/ner@champion", f"http://127.0.0.1:{port}"
    settings = Settings(tracking_uri=url, model_name="ner", experiment="ner")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")

    def publish_when_waited_for() -> int:
        until(
            lambda: any(
                "waiting for a model" in log.read_text() for log in tmp_path.glob("predictor-*.log")
            ),
            120,
        )
        number = registered.register(settings, bundles[0])
        registered.point(settings, number)
        return number

    with (
        real.mlflow(tmp_path / "mlflow", port=port) as mlflow,
        ThreadPoolExecutor(1) as publisher,
    ):
        first = publisher.submit(publish_when_waited_for)
        with start_server("--model", source, settings={**FAST, "wait_seconds": 80}) as server:
            began = serves(server, first.result())
            second = registered.register(settings, bundles[1])
            mlflow.kill()
            until(lambda: state(server) == "unreachable")
            time.sleep(0.5)
            reason = config(server)["following"]["reason"]
            failed = gauge(server, "gliner_follow_failed")
            asked = gauge(server, "gliner_follow_checked_timestamp_seconds")
            answered = answers(server)
            with real.mlflow(tmp_path / "mlflow", port=port):
                until(lambda: state(server) == "current")
                back = gauge(server, "gliner_follow_failed")
                registered.point(settings, second)
                until(lambda: serves(server, second))
                asked_again = gauge(server, "gliner_follow_checked_timestamp_seconds")
                log = [(one["level"], one["message"]) for one in server.log_lines()]

    assert began
    assert answered
    assert reason.startswith(f"{source}: MLflow at {url} does not answer")
    assert (failed, back) == (1, 0)
    assert asked < asked_again
    assert log.count(("WARNING", "waiting for a model")) == 1
    assert log.count(("ERROR", "following failed")) == 1
    assert log.count(("INFO", "following again")) == 1
    assert [level for level, _ in log if level not in ("INFO", "DEBUG")] == ["WARNING", "ERROR"]
