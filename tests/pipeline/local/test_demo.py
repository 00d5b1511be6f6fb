"""The demo's frame: ports that are taken, and how it ends when somebody interrupts it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from itertools import takewhile
from pathlib import Path

import programs
import pytest
from sqlalchemy import create_engine, text

from pipeline.__main__ import main
from pipeline.local import servers
from pipeline.local.process import free_port
from pipeline.registry import BUNDLE_PATH

ROOT = Path(__file__).parents[3]
PORTS = ("http-port", "grpc-port", "mlflow-port")
DEAD = "http://127.0.0.1:9"
FOUND = re.compile(r"^Marie Curie +person +[01]\.\d\d *$", re.MULTILINE)


def ports() -> dict[str, int]:
    return {name: free_port() for name in PORTS}


def arguments(chosen: dict[str, int], home: Path) -> list[str]:
    flags = [part for name, port in chosen.items() for part in (f"--{name}", str(port))]
    return ["demo", *flags, "--home", str(home)]


def start(home: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments(ports(), home), *options],
        cwd=ROOT,
        # A proxy that is down: nothing asks for anything outside of this machine.
        env=os.environ | {"HF_HUB_OFFLINE": "1", "http_proxy": DEAD, "https_proxy": DEAD},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background have it ignored, and so would the demo.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def up_to(process: subprocess.Popen[str], words: str) -> str:
    """What it says until a line begins with these words, or it ends."""
    assert process.stdout
    lines = takewhile(lambda line: not line.startswith(words), process.stdout)
    return "".join(lines)


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    try:
        listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    children = {int(child) for child in listed}
    return children.union(*(descendants(child) for child in children))


def gone(pids: set[int], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("flag", PORTS)
def test_taken_port_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str
) -> None:
    """Whoever has the port, the message names it and the way out, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken: int = other.getsockname()[1]

        code = main(arguments(ports() | {flag: taken}, tmp_path / "home"))

    variable = flag.upper().replace("-", "_")
    assert code == 2
    assert capsys.readouterr().err == (
        f"pipeline: port {taken} is taken; choose another with "
        f"`make demo {variable}=N` or `--{flag} N`\n"
    )
    assert not (tmp_path / "home").exists()


def test_impossible_port_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A port that cannot exist is said to be one."""
    code = main(arguments(ports() | {"http-port": 70000}, tmp_path / "home"))

    assert code == 2
    assert "port 70000 does not exist" in capsys.readouterr().err


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    """Asked to stop in the middle of a run, or killed, it takes every server with it."""
    process = start(tmp_path / "home")
    up_to(process, "1/3")
    time.sleep(3)
    below = descendants(process.pid)

    process.send_signal(number)
    process.communicate(timeout=60)

    assert len(below) >= 2
    # A step of the run has its own time to end.
    assert gone(below, 90)
    assert process.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.training
@pytest.mark.timeout(1900)
def test_whole_loop(tmp_path: Path) -> None:
    """A version is promoted, a worse one refused, a broken one taken back, no request lost."""
    home = tmp_path / "home"
    process = start(home, "--once")

    # Ten minutes alone on two cores with AVX2, more than fourteen beside other tests.
    output, errors = process.communicate(timeout=1800)

    assert process.returncode == 0, output + errors
    assert FOUND.search(output), output
    # Above the table of versions an entity is in a row of its own too: 3 May 2027.
    table = output.partition("\nversion ")[2]
    rows = re.findall(r"^ *(\d) ?(@champion)? +(\w+) ", table, re.MULTILINE)
    assert rows == [
        ("3", "", "rolled_back"),
        ("2", "", "refused"),
        ("1", "@champion", "champion"),
    ]
    assert re.search(r"version 3: rolling back: .* no longer gives its golden answer", output)
    assert re.search(r"^\d{2,} requests meanwhile, 0 failed \(\d+ by version 1\)$", output, re.M)
    for name in ("Page", "MLflow", "The last run"):
        assert re.search(rf"^{name} +http://\S+$", output, re.MULTILINE)
    # MLflow's SQLite knows all versions, and their files lie in its folder.
    found = stored(f"sqlite:///{home / 'mlflow' / 'mlflow.db'}")
    root = (home / "mlflow" / "artifacts").as_uri()
    assert list(found) == [1, 2, 3]
    assert all(where.startswith(f"{root}/") for where in found.values())


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not programs.MARIADB, reason=programs.NO_MARIADB)
def test_first_version_on_real_servers(tmp_path: Path) -> None:
    """MariaDB knows it, its files lie in S3, and the data was read from there.

    That is where what is stored, read and served goes another way than in the whole loop above: it
    is stopped before it goes on to the same with other versions.
    """
    home = tmp_path / "home"
    process = start(home, "--backends", "real")
    output = up_to(process, "2/3")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors

    with servers.mariadb(home / "mariadb") as database:
        found = stored(database.uri)

    assert FOUND.search(output), output
    assert list(found) == [1]
    assert found[1].startswith("s3://mlflow/artifacts/")
    # Nothing else has them: what the predictor served came out of the bucket.
    assert [file.name for file in (home / "mlflow").iterdir()] == ["mlflow.log"]
    [served] = (home / "models").glob("*/bundle/model.safetensors")
    first = home / "s3" / "buckets" / found[1].removeprefix("s3://") / BUNDLE_PATH
    assert served.read_bytes() == (first / served.name).read_bytes()
    assert "eval data from s3://data/eval: 90 texts" in output


def stored(database: str) -> dict[int, str]:
    """Versions in a database of MLflow, and where their files lie."""
    query = "SELECT version, storage_location FROM model_versions ORDER BY version"
    engine = create_engine(database)
    with engine.connect() as connection:
        found = {int(number): str(where) for number, where in connection.execute(text(query))}
    engine.dispose()
    return found
