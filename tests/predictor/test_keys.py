"""API keys: who is let in, what is open to all, and a list that changes while it is in use."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from predictor import keys
from predictor.__main__ import main
from predictor.errors import StartupError, Unauthenticated
from predictor.keys import Keys, open_call, open_to_all


def line(name: str, key: str) -> str:
    return f"{name}={hashlib.sha256(key.encode()).hexdigest()}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A list with two callers."""
    path = tmp_path / "keys"
    path.write_text("# who may ask\n\n" + line("acme", "key-a") + line("globex", "key-b"))
    return path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at with each request."""
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0.0)


def replace(file: Path, text: str) -> None:
    """Put another file in its place, as Kubernetes does."""
    new = file.with_name("new")
    new.write_text(text)
    new.replace(file)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "key-b"},
        {"x-api-key": " key-b "},
        {"authorization": "Bearer key-b"},
        {"authorization": "bearer  key-b"},
        {"authorization": "Bearer token-of-a-mesh", "x-api-key": "key-b"},
    ],
)
def test_a_key_names_its_caller(file: Path, headers: dict[str, str]) -> None:
    """In either header; where both are there, `Authorization` may be for somebody else."""
    assert Keys(file).caller(headers) == "globex"


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "an API key is needed"),
        ({"x-api-key": ""}, "an API key is needed"),
        ({"authorization": "Basic key-a"}, "an API key is needed"),
        ({"authorization": "Bearer"}, "an API key is needed"),
        ({"x-api-key": "key-c"}, "not known"),
        ({"x-api-key": "KEY-A"}, "not known"),
        ({"x-api-key": "acme"}, "not known"),
        ({"x-api-key": "\xff\u2028"}, "not known"),
        ({"x-api-key": hashlib.sha256(b"key-a").hexdigest()}, "not known"),
    ],
)
def test_others_are_sent_away(file: Path, headers: dict[str, str], says: str) -> None:
    """Without a key, with another's, and with what stands in the file, which is no key."""
    with pytest.raises(Unauthenticated, match=says) as caught:
        Keys(file).caller(headers)

    shown = [value for value in headers.values() if value not in ("", "Bearer")]
    assert [value for value in shown if value in str(caught.value)] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no caller"),
        ("# nobody\n", "no caller"),
        ("key-in-the-clear\n", "line 1"),
        (line("acme", "key-a") + "acme=secret\n", "line 2"),
        (line("a b", "key-a"), "line 1"),
    ],
)
def test_a_list_that_is_none_stops_the_start(
    tmp_path: Path,
    text: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line says where it is wrong, and does not show what stands there."""
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(StartupError, match=says) as caught:
        Keys(file)
    monkeypatch.setenv("GLINER_API_KEYS_FILE", str(tmp_path / "missing"))

    assert "secret" not in str(caught.value)
    assert "key-in-the-clear" not in str(caught.value)
    assert main(["--http_port=0", "--grpc_port=0"]) == 1
    assert "GLINER_API_KEYS_FILE" in capsys.readouterr().err


@pytest.mark.usefixtures("impatient")
def test_a_list_that_changes_is_read_again(file: Path) -> None:
    """A caller comes and another goes, without a restart; an empty list lets nobody in."""
    known = Keys(file)
    replace(file, line("acme", "key-a") + line("acme", "key-new"))

    assert known.caller({"x-api-key": "key-a"}) == "acme"
    assert known.caller({"x-api-key": "key-new"}) == "acme"
    with pytest.raises(Unauthenticated):
        known.caller({"x-api-key": "key-b"})
    replace(file, "")
    with pytest.raises(Unauthenticated):
        known.caller({"x-api-key": "key-a"})


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("broken", ["no line\n", None])
def test_a_list_that_breaks_changes_nothing(
    file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Who was let in still is, and the log says so once."""
    known = Keys(file)
    if broken is None:
        file.unlink()
    else:
        replace(file, broken)
    with caplog.at_level(logging.ERROR, "predictor"):
        found = [known.caller({"x-api-key": "key-a"}) for _ in range(3)]

    assert found == ["acme"] * 3
    assert [one.message for one in caplog.records] == ["api keys stay as they were"]


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/page/page.js", "/api/docs", "/api/redoc", "/api/openapi.json",
     "/api/assets/x.css", "/v1/models/gliner", "/v2/health/live", "/v2/health/ready",
     "/v2/models/gliner/ready"],
)  # fmt: skip
def test_what_probes_and_browsers_need_is_open(path: str) -> None:
    """No key for it: Kubernetes and Prometheus have none, and there is nothing to protect."""
    assert open_to_all(path)


@pytest.mark.parametrize(
    "path",
    ["/predict", "/api/v1/predict", "/api/v1/config", "/v1/models", "/v1/models/gliner:predict",
     "/v1/models/gliner:explain", "/v1/models/a\n:predict", "/v2", "/v2/models",
     "/v2/models/gliner", "/v2/models/gliner/infer", "/v2/models/gliner/ready/infer",
     "/v2/models/gliner/versions/1/infer", "/v2/repository/index",
     "/v2/repository/models/ready/unload", "//metrics", "/metrics\n", "/nothing"],
)  # fmt: skip
def test_all_else_is_shut(path: str) -> None:
    """Also addresses that nobody thought of yet."""
    assert not open_to_all(path)


def test_calls_that_say_something_of_the_model_are_shut() -> None:
    """Over gRPC probes alone are open."""
    assert [one for one in ("ServerLive", "ServerReady", "ModelReady") if not open_call(one)] == []
    assert [
        one
        for one in ("ModelInfer", "ModelMetadata", "ServerMetadata", "RepositoryModelUnload", "")
        if open_call(one)
    ] == []
