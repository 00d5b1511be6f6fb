"""The demo with a stand-in for the server: what it shows, and how it ends."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import servers
from rich.console import Console

from predictor import demo

FAKE = Path(__file__).with_name("fake_predictor.py")
ROOT = Path(__file__).parents[2]
ADA = {"text": "Ada", "label": "person", "start": 2, "end": 5, "score": 0.914}
LONDON = {"text": "London", "label": "location", "start": 9, "end": 15, "score": 0.5}
SENTENCE = demo.Sentence("🙂 Ada in London.", ("person", "location"))

Start = Callable[..., "subprocess.Popen[str]"]


def shown(entities: list[dict[str, Any]], **settings: Any) -> str:
    """What `show` prints."""
    out = io.StringIO()
    demo.show(Console(file=out, width=80, **settings), SENTENCE, entities, 12.3)
    return out.getvalue()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


def runs(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts demos whose server is the stand-in; none outlives its test."""
    started: list[subprocess.Popen[str]] = []

    def start(behaviour: str, *options: str, port: int | None = None) -> subprocess.Popen[str]:
        ports = servers.free_ports(2)
        port = port or ports[0]
        addresses = ["--http_port", str(port), "--grpc_port", str(ports[1])]
        script = (
            "import sys; from predictor import demo; "
            f"demo.command = lambda _: [sys.executable, {str(FAKE)!r}, '{port}', {behaviour!r}]; "
            "sys.exit(demo.main(sys.argv[1:]))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script, *addresses, *options],
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def up(process: subprocess.Popen[str]) -> list[str]:
    """Read what a demo prints until it says how to end it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            return lines
    raise AssertionError("".join(lines))


def test_table_lists_entities() -> None:
    """Each entity has a row with its label and its score."""
    output = shown([ADA, LONDON])

    assert re.search(r"^Ada +person +0\.91 *$", output, re.MULTILINE)
    assert re.search(r"^London +location +0\.50 *$", output, re.MULTILINE)
    assert "12 ms" in output


def test_text_without_colour_has_brackets() -> None:
    """Without a terminal, brackets mark the entities at their character offsets."""
    output = shown([ADA, LONDON])

    assert output.splitlines()[0] == "🙂 [Ada] in [London]."
    assert "\x1b[" not in output


def test_nested_entities_have_nested_brackets() -> None:
    """An entity inside another one is marked inside it."""
    outer = ADA | {"start": 2, "end": 15, "text": "Ada in London"}

    text = demo.highlighted(SENTENCE, [outer, LONDON], coloured=False)

    assert text.plain == "🙂 [Ada in [London]]."


def test_text_on_a_terminal_is_coloured() -> None:
    """On a terminal each label has its own colour and the text is as it was sent."""
    text = demo.highlighted(SENTENCE, [ADA, LONDON], coloured=True)

    assert text.plain == SENTENCE.text
    assert [(span.start, span.end) for span in text.spans] == [(2, 5), (9, 15)]
    assert len({str(span.style) for span in text.spans}) == 2


def test_text_is_never_read_as_markup() -> None:
    """Square brackets in a text or an entity are shown, not obeyed."""
    entity = ADA | {"text": "[red]Ada[/red]"}

    assert "[red]Ada[/red]" in shown([entity], force_terminal=True)


def test_nothing_found_is_said() -> None:
    """A sentence without entities has no empty table."""
    assert "nothing above 0.5" in shown([])


def test_once_shows_every_sentence_and_ends(start: Start, tmp_path: Path) -> None:
    """With --once the demo ends by itself, with code 0, and leaves no file behind."""
    [port] = servers.free_ports(1)
    process = start("ready", "--once", port=port)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    for sentence in demo.SENTENCES:
        assert sentence.text.split()[0] in output
    assert output.count("0.99") == len(demo.SENTENCES)
    assert f"curl http://localhost:{port}/v1/models/gliner:predict -H" in output
    assert f"http://localhost:{port}/api/docs" in output
    assert list(tmp_path.iterdir()) == []


def test_curl_command_is_one_line_that_a_shell_runs(start: Start) -> None:
    """The curl command is copied from the output as it is, and works."""
    process = start("ready")
    [curl] = [line for line in up(process) if line.startswith("curl ")]

    answer = subprocess.run(
        ["bash", "-c", f"{curl.strip()} --silent --noproxy localhost"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert '"predictions"' in answer.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_demo_and_server(start: Start, number: int) -> None:
    """Asked to stop, the demo ends its server first and then exits with 0."""
    process = start("ready")
    up(process)
    [child] = children(process.pid)

    process.send_signal(number)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 0
    assert errors == ""
    assert not runs(child)


def test_interrupt_while_loading_ends_at_once(start: Start) -> None:
    """A demo that is stopped before the model is ready leaves no server behind."""
    process = start("slow")
    assert wait_for(lambda: bool(children(process.pid)))
    time.sleep(0.5)
    [child] = children(process.pid)

    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Stopped." in output
    assert errors == ""
    assert not runs(child)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux's")
def test_killed_demo_leaves_no_server(start: Start) -> None:
    """Even a demo that cannot clean up takes its server with it."""
    process = start("ready")
    up(process)
    [child] = children(process.pid)

    process.kill()

    assert wait_for(lambda: not runs(child))


def test_server_that_breaks_is_quoted(start: Start) -> None:
    """The server's own last line comes first, then where the rest is."""
    process = start("breaks")
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 1
    first, *details = errors.splitlines()
    assert first == "the model is broken; try another"
    log = Path(details[-1].removeprefix("The server's log: "))
    assert "loading" in log.read_text()
    assert "Traceback" not in errors


def test_server_that_ends_later_is_noticed(start: Start) -> None:
    """A server that dies while the demo is up ends the demo with its last line."""
    process = start("ends-later")
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 1
    assert errors.splitlines()[0] == "out of memory"


@pytest.mark.parametrize("flag", ["http_port", "grpc_port"])
def test_taken_port_is_one_clear_line(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    """Whoever has the port, the message names it and the way out, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        http_port, grpc_port = servers.free_ports(2)
        ports = {"http_port": http_port, "grpc_port": grpc_port, flag: taken}
        arguments = [part for name, port in ports.items() for part in (f"--{name}", str(port))]

        code = demo.main([*arguments, "--once"])

    assert code == 1
    assert capsys.readouterr().err == (
        f"Port {taken} is taken; choose another with "
        f"`make demo {flag.upper()}=N` or `--{flag} N`.\n"
    )


def test_impossible_port_is_one_clear_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that cannot exist is said to be one."""
    assert demo.main(["--http_port", "70000"]) == 1
    assert "Port 70000 does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(503, "draining", "The server answered 503: draining"), (404, "", "The server answered 404")],
)
def test_refusal_is_quoted(status: int, body: str, message: str) -> None:
    """An answer that is not 200 ends the demo with what the server said."""
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))

    with (
        httpx.Client(transport=transport, base_url="http://test") as client,
        pytest.raises(demo.DemoError, match=message),
    ):
        demo.ask(client, SENTENCE)


def test_last_words_prefer_a_line_for_people(tmp_path: Path) -> None:
    """Of a log's lines, the last that is no JSON record is the one meant for a person."""
    log = tmp_path / "log"
    log.write_text('{"message": "a"}\nport 8080 is taken\n{"message": "bye"}\n\n')

    assert demo.last_words(log) == "port 8080 is taken"


def test_last_words_of_records_alone(tmp_path: Path) -> None:
    """A log of records only gives the message of the last one."""
    log = tmp_path / "log"
    log.write_text('{"message": "loading"}\n{"message": "no memory"}\n{"mess')

    assert demo.last_words(log) == "no memory"
