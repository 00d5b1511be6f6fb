"""The demo: starts the server, sends it real sentences and shows what it finds.

    python -m predictor.demo [--once] [--http_port N] [--grpc_port N] [--model SOURCE]

Everything goes through the same door as a caller's request: a server process of its own,
asked over HTTP. The demo stays up until Ctrl-C and takes its server with it when it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

READY = "/v2/models/gliner/ready"
PREDICT = "/v1/models/gliner:predict"
START_SECONDS = 600.0
"""Longest wait for the model: a large one is downloaded first."""
STOP_SECONDS = 40.0
"""Longest wait for the server to drain, a little over its own limit."""
LOG_TAIL = 10
COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")


class DemoError(Exception):
    """The demo cannot go on; its first line says why, more lines may follow."""


class Interrupted(Exception):
    """The demo was asked to stop before it had shown everything."""


@dataclass(frozen=True)
class Sentence:
    """A text to show and the labels to look for in it."""

    text: str
    labels: tuple[str, ...]

    @property
    def payload(self) -> dict[str, Any]:
        """The request's body, in the V1 protocol."""
        return {"instances": [{"text": self.text, "labels": list(self.labels), "threshold": 0.5}]}


SENTENCES = (
    Sentence(
        "Marie Curie moved from Warsaw to Paris in 1891 and shared a Nobel Prize with her husband.",
        ("person", "location", "date", "award"),
    ),
    Sentence(
        "Satya Nadella said on Tuesday that Microsoft will open a research centre in Nairobi.",
        ("person", "company", "location", "date"),
    ),
    Sentence(
        "Write to Ana Souza at ana.souza@example.com or call +49 30 5550 1234 before 3 May 2027.",
        ("person", "email", "phone number", "date"),
    ),
    Sentence(
        "🎉 Zoë Müller and 山田太郎 met in São Paulo, where Nestlé sponsored a race for children.",
        ("person", "organization", "location"),
    ),
)


class Server:
    """The predictor as a child process that ends with the demo, however the demo ends.

    Args:
        command: the program and its arguments.
        log: the file that takes all it writes.
        stop: set once the demo has been asked to stop.
    """

    def __init__(self, command: Sequence[str], log: Path, stop: threading.Event) -> None:
        self._command = command
        self._log = log
        self._stop = stop
        self._child: subprocess.Popen[bytes] | None = None
        self._asked = False

    def start(self) -> None:
        """Start the process."""
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None

        def end_with_parent() -> None:
            pr_set_pdeathsig = 1
            if libc is not None:
                libc.prctl(pr_set_pdeathsig, signal.SIGTERM)

        with self._log.open("wb") as log:
            # A session of its own: Ctrl-C then reaches the demo alone, which lets the server
            # drain. Should the demo be killed, the kernel ends the server.
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def wait_until_ready(self, client: httpx.Client) -> float:
        """Block until the model takes requests, and return how many seconds that took.

        Raises:
            DemoError: the server ended, or took too long.
            Interrupted: the demo was asked to stop meanwhile.
        """
        started = time.monotonic()
        while time.monotonic() - started < START_SECONDS:
            self.check()
            with contextlib.suppress(httpx.HTTPError):
                if client.get(READY).status_code == httpx.codes.OK:
                    return time.monotonic() - started
            if self._stop.wait(0.2):
                raise Interrupted
        raise self._failure(f"The server was not ready after {START_SECONDS:.0f} s.")

    def check(self) -> None:
        """Raise where the server has ended on its own."""
        code = None if self._child is None else self._child.poll()
        if code is not None and not self._stop.is_set():
            raise self._failure(last_words(self._log) or f"The server ended with code {code}.")

    def ask_to_stop(self) -> None:
        """Let the server finish what it has begun; asked twice it might not."""
        if self._child is not None and not self._asked and self._child.poll() is None:
            self._asked = True
            self._child.terminate()

    def close(self) -> int:
        """Wait for the server's end, which comes by force when draining takes too long.

        Returns:
            Its exit code.
        """
        if self._child is None:
            return 0
        self.ask_to_stop()
        try:
            return self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def _failure(self, reason: str) -> DemoError:
        lines = read_lines(self._log)
        details = lines[-LOG_TAIL:] if lines[-1:] != [reason] or len(lines) > 1 else []
        return DemoError("\n".join([reason, *details, f"The server's log: {self._log}"]))


def read_lines(log: Path) -> list[str]:
    """The lines of a log that are not empty."""
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]


def last_words(log: Path) -> str:
    """What the server said last to a person; failing that, the message of its last record."""
    lines = read_lines(log)
    plain = [line for line in lines if not line.startswith("{")]
    if plain:
        return plain[-1].strip()
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            return str(json.loads(line).get("message", ""))
    return ""


def require_free(port: int, variable: str) -> None:
    """Raise when the port is taken: whoever has it might answer in our server's place."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            why = "is taken" if isinstance(error, OSError) else "does not exist"
            if isinstance(error, PermissionError):
                why = "needs more rights"
            raise DemoError(
                f"Port {port} {why}; choose another with "
                f"`make demo {variable.upper()}=N` or `--{variable} N`."
            ) from error


def ask(client: httpx.Client, sentence: Sentence) -> tuple[list[dict[str, Any]], float]:
    """The entities of a sentence and the milliseconds from request to answer."""
    started = time.perf_counter()
    answer = client.post(PREDICT, json=sentence.payload)
    took = (time.perf_counter() - started) * 1000
    if answer.status_code != httpx.codes.OK:
        raise DemoError(f"The server answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()["predictions"][0]["entities"], took


def highlighted(sentence: Sentence, entities: Sequence[dict[str, Any]], coloured: bool) -> Text:
    """The text with its entities in the colour of their label, or in brackets without colour."""
    colour = dict(zip(sentence.labels, COLOURS * len(sentence.labels), strict=False))
    if coloured:
        text = Text(sentence.text)
        for one in entities:
            text.stylize(f"bold {colour.get(one['label'], 'white')}", one["start"], one["end"])
        return text
    # From the end, so that a bracket does not move the offsets still to come.
    marks = [(one["start"], 1, "[") for one in entities] + [
        (one["end"], 0, "]") for one in entities
    ]
    plain = sentence.text
    for at, _, mark in sorted(marks, reverse=True):
        plain = plain[:at] + mark + plain[at:]
    return Text(plain)


def show(
    console: Console, sentence: Sentence, entities: Sequence[dict[str, Any]], ms: float
) -> None:
    """Print a sentence and the table of what was found in it."""
    console.print(highlighted(sentence, entities, console.is_terminal), soft_wrap=True)
    table = Table(box=SIMPLE, show_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("entity", min_width=24)
    table.add_column("label", min_width=14)
    table.add_column("score", justify="right")
    for one in entities:
        table.add_row(Text(one["text"]), Text(one["label"]), f"{one['score']:.2f}")
    console.print(table if entities else Text("nothing above 0.5", "dim"))
    asked = ", ".join(sentence.labels)
    console.print(Text(f"asked for {asked}; answered in {ms:.0f} ms\n", "dim"), soft_wrap=True)


def show_addresses(console: Console, base: str) -> None:
    """Print what to try next."""
    body = json.dumps(SENTENCES[0].payload, ensure_ascii=False)
    curl = f"curl {base}{PREDICT} -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    console.print(Text("The same with curl:", "bold"))
    console.print(Text(f"{curl}\n"), soft_wrap=True)
    for name, path in (("Page", "/"), ("API docs", "/api/docs"), ("Metrics", "/metrics")):
        console.print(Text.assemble((f"{name:<10}", "bold"), (f"{base}{path}", "underline")))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m predictor.demo", description="Show GLiNER on real sentences."
    )
    parser.add_argument("--once", action="store_true", help="end after the sentences")
    parser.add_argument("--http_port", type=int, default=8080)
    parser.add_argument("--grpc_port", type=int, default=8081)
    parser.add_argument("--model", default="embedded", help="`embedded`, a folder or a hub id")
    return parser.parse_args(argv)


def command(options: argparse.Namespace) -> list[str]:
    """How the server is started."""
    ports = ["--http_port", str(options.http_port), "--grpc_port", str(options.grpc_port)]
    return [sys.executable, "-m", "predictor", *ports, "--model", options.model]


def run(options: argparse.Namespace, console: Console) -> int:
    """The demo from start to end; returns the exit code."""
    require_free(options.http_port, "http_port")
    require_free(options.grpc_port, "grpc_port")
    stop = threading.Event()
    folder = Path(tempfile.mkdtemp(prefix="gliner-demo-"))
    server = Server(command(options), folder / "server.log", stop)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        server.ask_to_stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    try:
        code = present(options, console, server, stop)
    except Interrupted:
        console.print("Stopped.")
        code = 128 + signal.SIGINT
    except httpx.HTTPError as error:
        server.check()
        if not stop.is_set():
            raise DemoError(f"The server did not answer: {error}") from error
        code = 128 + signal.SIGINT
    finally:
        ended = server.close()
    if ended != 0 and code == 0:
        raise DemoError(f"The server ended with code {ended}.\nIts log: {folder / 'server.log'}")
    shutil.rmtree(folder)
    return code


def present(
    options: argparse.Namespace, console: Console, server: Server, stop: threading.Event
) -> int:
    """Start the server, show the sentences, and stay until asked to stop."""
    base = f"http://localhost:{options.http_port}"
    # Never through a proxy: the server is on this machine.
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{options.http_port}", timeout=60, trust_env=False
    )
    with client:
        server.start()
        with console.status(f"Starting GLiNER ({options.model}) …"):
            if not console.is_terminal:
                console.print(f"Starting GLiNER ({options.model}) …")
            seconds = server.wait_until_ready(client)
        console.print(Text(f"Ready after {seconds:.1f} s.\n", "bold green"))
        for sentence in SENTENCES:
            if stop.is_set():
                raise Interrupted
            entities, ms = ask(client, sentence)
            show(console, sentence, entities, ms)
        show_addresses(console, base)
    if not options.once:
        console.print("\nCtrl-C ends it.")
        while not stop.wait(0.5):
            server.check()
        console.print("\nStopping the server …")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; a reason to give up is one clear line on standard error."""
    options = parse(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal's encoding lacks must not end the demo.
            stream.reconfigure(errors="replace")
    try:
        return run(options, Console(highlight=False))
    except DemoError as error:
        reason, _, details = str(error).partition("\n")
        complaint = Console(stderr=True, highlight=False, soft_wrap=True)
        complaint.print(Text(reason, "bold red"))
        if details:
            complaint.print(Text(details))
        return 1


if __name__ == "__main__":
    sys.exit(main())
