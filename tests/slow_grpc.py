"""A gRPC caller who begins a message and never ends it: HTTP/2 frames on a socket, since gRPC's
own clients send a message at once."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from servers import RunningServer

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_ACK = 1
_END_HEADERS = 4
_STATUSES = {code.value[0]: code.name for code in grpc.StatusCode}


@contextmanager
def half_sent(server: RunningServer, **headers: str) -> Iterator[socket.socket]:
    """A call of `ModelInfer` with the first byte of a message of 1,000."""
    host, port = server.grpc.split(":")
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        ":authority": "a",
        "te": "trailers",
        "content-type": "application/grpc",
        **{key.replace("_", "-"): value for key, value in headers.items()},
    }
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        block = b"".join(b"\0" + _string(key) + _string(one) for key, one in fields.items())
        connection.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, b"")
            + _frame(_HEADERS, _END_HEADERS, 1, block)
            + _frame(_DATA, 0, 1, struct.pack(">BI", 0, 1000) + b"a")
        )
        yield connection


def status(connection: socket.socket) -> str:
    """Wait until the server ends the call, and say with which status."""
    with connection.makefile("rb") as stream:
        while head := stream.read(9):
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            number, payload = int.from_bytes(head[5:], "big"), stream.read(size)
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                answer = payload if kind == _PING else b""
                connection.sendall(_frame(kind, _ACK, 0, answer))
            # Its names and values stand there as they are.
            if number and (found := re.search(rb"grpc-status.(\d+)", payload, re.DOTALL)):
                return _STATUSES[int(found[1])]
    return "none"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _string(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()
