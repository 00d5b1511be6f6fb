"""What no client of good manners sends: raw HTTP, odd headers and addresses, hostile texts."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
import wire
from mistakes import ASKED, TEXT
from servers import RunningServer

pytestmark = pytest.mark.server

PAYLOAD: dict[str, Any] = {"instances": [TEXT], "parameters": {**ASKED, "threshold": 0.001}}


def speak(server: RunningServer, raw: bytes, seconds: float = 20) -> bytes:
    """Send bytes, no more, and read until the server closes the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(raw)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize("path", ["/", "/v2/health/live", "/v2/models/gliner/ready", "/metrics"])
def test_head(server: RunningServer, path: str) -> None:
    """HEAD gives what GET gives, without the body."""
    get, head = server.http.get(path), server.http.head(path)

    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


def test_pipelining(server: RunningServer) -> None:
    """Requests sent without waiting are answered in their order."""
    body = json.dumps(PAYLOAD).encode()
    predict = (
        f"POST {wire.V1} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"X-Request-Id: first\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    live = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nX-Request-Id: %s\r\n%s\r\n"

    answer = speak(
        server, predict + live % (b"second", b"") + live % (b"third", b"Connection: close\r\n")
    )

    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert answer.index(b"first") < answer.index(b"second") < answer.index(b"third")
    assert b'"predictions"' in answer


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n" % (b"9" * 5000),
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["TLS", "version", "negative", "digits", "two lengths", "chunk", "address"],
)
def test_broken_http(server: RunningServer, raw: bytes) -> None:
    """What is no HTTP is answered 4xx or not at all, and the next caller is served."""
    answer = speak(server, raw)

    assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert b"Traceback" not in answer
    assert wire.post(server, wire.V1, PAYLOAD).ok


def test_body_cut_off(server: RunningServer) -> None:
    """A caller who goes away in mid-body is no failure of ours."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {wire.V1} HTTP/1.1\r\nHost: a\r\nX-Request-Id: cut-off\r\n"
            "Content-Length: 1000\r\n\r\n{".encode()
        )

    assert wire.post(server, wire.V1, PAYLOAD).ok
    lines = [one for one in server.log_lines() if one.get("request_id") == "cut-off"]
    assert [(one["level"], one["status"], one["error"]) for one in lines] == [
        ("INFO", 499, "cancelled")
    ]


FORM = b"".join(
    b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % pair
    for pair in ((b"text", b"Ada"), (b"labels", b"person"), (b"threshold", b"0.9"))
)


@pytest.mark.parametrize("left_out", [5, 2, 0])
def test_form_cut_off(server: RunningServer, left_out: int) -> None:
    """A form without its end is refused: its last field would be lost, and a default taken."""
    headers = {"content-type": "multipart/form-data; boundary=x"}
    cut = FORM[: len(FORM) - left_out]

    reply = wire.http(server, "POST", "/predict", cut, headers)

    assert (reply.status, reply.body["code"]) == (400, "invalid_request")
    assert reply.error == "the form is cut off; it must end with its closing boundary"
    assert wire.http(server, "POST", "/predict", FORM + b"--x--\r\n", headers).ok


@pytest.mark.parametrize(
    "headers",
    [
        {"accept": "text/html"},
        {"accept": "nonsense;;;"},
        {"accept": "application/json;q=0"},
        {"x-anything": "é\xff"},
        {"cookie": "a" * 4000},
        {"x-request-timeout": ""},
        {"x-request-timeout": "1e9"},
        {"traceparent": "0" * 5000},
        {"content-encoding": "identity"},
        {"expect": "100-continue"},
        {"authorization": "Bearer nonsense"},
    ],
    ids=lambda one: str(one)[:40],
)
def test_odd_headers(server: RunningServer, headers: dict[str, str]) -> None:
    """Headers of no meaning to us change nothing."""
    expected = wire.post(server, wire.V1, PAYLOAD)

    raw = [(key.encode(), value.encode("latin-1")) for key, value in headers.items()]
    answer = server.http.post(
        wire.V1,
        content=json.dumps(PAYLOAD),
        headers=[(b"content-type", b"application/json"), *raw],
    )

    assert answer.json() == expected.body


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/gl%69ner:predict",
        "/v1/models/gliner%3Apredict",
        "/v1/models/gliner:predict?model=bert&x=%ff",
    ],
)
def test_encoded_addresses(server: RunningServer, path: str) -> None:
    """Percent-encoded and decorated addresses lead where they say."""
    assert (
        wire.post(server, path, PAYLOAD).entities()
        == wire.post(server, wire.V1, PAYLOAD).entities()
    )


TEXTS = {
    "empty": "",
    "spaces": " \t\r\n\u2003\u200b",
    "control": "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "control around": "\x00Ada\x00 \x01Lovelace\x02",
    "combining": "Ȧ̶d̵a̴ " + "e" + "\u0301" * 50,
    "emoji": "👩‍👩‍👧‍👦 Ada 🏳️‍🌈 in 🇬🇧",
    "right to left": "\u202eadA\u202c ולד עדה בלונדון",
    "CJK": "阿达·洛夫莱斯出生于伦敦。" * 20,
    "markers": "<<ENT>> person <<SEP>> Ada [CLS] [SEP] [PAD]",
    "nulls": "\x00" * 300,
    "punctuation": "." * 300,
    "last plane": "\U0010ffff\ufffe\uffff Ada",
    "HTML": "<script>alert(1)</script> Ada &amp; Bob",
    "many words": "a " * 500,
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(server: RunningServer, name: str) -> None:
    """Any text has exact offsets, and the same entities over each protocol."""
    text = TEXTS[name]
    parameters = {**ASKED, "threshold": 0.001}
    scalars = {**parameters, "labels": json.dumps(ASKED["labels"])}

    v1 = wire.post(server, wire.V1, {"instances": [text], "parameters": parameters})
    v2 = wire.post(
        server, wire.V2, {"inputs": [wire.tensor("text", [text])], "parameters": scalars}
    )
    grpc = wire.call(server, wire.message([text], parameters=scalars))

    [found] = v1.entities()
    wire.check_offsets(text, found, ASKED["labels"])
    assert v2.entities() == grpc.entities() == [found]


def test_duplicate_keys(server: RunningServer) -> None:
    """Of a key that stands twice in JSON the last counts, as everywhere."""
    last = b'{"instances": ["x"], "instances": ["Ada", "Bob"], "parameters": {"labels": ["a"]}}'

    reply = wire.post(server, wire.V1, last)

    assert len(reply.entities()) == 2


def test_words_of_one_megabyte(server: RunningServer) -> None:
    """A word of a million letters is read to its end."""
    text = "Ada " + "x" * 999_990 + " Bob"

    [prediction] = server.predict(text, labels=["person"], threshold=0.5)

    wire.check_offsets(text, prediction["entities"], ["person"])
    assert prediction["words"] > 2
