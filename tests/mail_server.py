"""A local mail server: takes whatever it is given, and remembers it."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Mail:
    """What arrived.

    Attributes:
        address: `host:port`.
        taken: the messages.
        logins: user and password of each session.
    """

    address: str = ""
    taken: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)

    def to(self, recipient: str) -> list[EmailMessage]:
        """The messages to one address."""
        return [one for one in self.taken if recipient in str(one["To"])]


@contextmanager
def running() -> Iterator[Mail]:
    """Run it on this machine alone."""
    mail = Mail()

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            for line in self.rfile:
                verb, *rest = line.decode().split()
                if verb == "EHLO":
                    self._say("250-here\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    _, user, password = base64.b64decode(rest[1]).decode().split("\0")
                    mail.logins.append((user, password))
                    self._say("235 welcome")
                elif verb == "DATA":
                    self._say("354 go on")
                    text = b"".join(iter(self.rfile.readline, b".\r\n"))
                    mail.taken.append(message_from_bytes(text, policy=policy.default))
                    self._say("250 taken")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        server.daemon_threads = True
        mail.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield mail
        finally:
            server.shutdown()
            thread.join()
