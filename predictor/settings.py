"""The predictor's settings: each default, bound and meaning in one place.

Every field is read from the environment as ``GLINER_<NAME>``; ``docs/settings.md`` lists
them and a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Settings(BaseSettings):
    """Settings of one predictor process. A value out of bounds stops the start."""

    model_config = SettingsConfigDict(
        env_prefix="GLINER_", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    model: str = Field("embedded", min_length=1)
    """Where the model comes from: `embedded`, a folder, a folder that contains one
    (`/mnt/models`), a hub id such as `urchade/gliner_medium-v2.1[@revision]`, or
    `models:/NAME@ALIAS` and `models:/NAME/VERSION` in MLflow's registry."""

    follow_seconds: float = Field(15, ge=0, le=86_400)
    """With `models:/NAME@ALIAS`, how often the registry is asked where the alias points, in
    seconds, at most ten times in one; 0 never asks again after the start."""

    wait_seconds: float = Field(0, ge=0, le=86_400)
    """How long a start waits for a registry that does not answer, or for an alias that is not
    there yet."""

    cache_dir: Path | None = None
    """Where versions of the registry are downloaded to, a folder of this predictor's own with
    room for three of them; empty takes one in the system's temporary folder that goes with the
    process."""

    labels: str = ""
    """Labels used when a request names none: a preset's name or a comma-separated list.
    Empty means that every request must bring its own."""

    threshold: float = Field(0.5, ge=0, le=1)
    """An entity's score must be above this, where a request does not say."""

    flat_ner: bool = True
    """Entities never overlap, where a request does not say; false allows nested ones."""

    multi_label: bool = False
    """A span may carry several labels, where a request does not say."""

    presets_file: Path | None = None
    """A YAML file of label presets which replaces those that ship with the project."""

    max_instances: int = Field(256, ge=1, le=100_000)
    """Most texts in one request."""

    max_labels: int = Field(100, ge=1, le=1_000)
    """Most labels for one text."""

    max_label_chars: int = Field(256, ge=1, le=10_000)
    """Longest label or label description, in characters."""

    max_text_chars: int = Field(1_000_000, ge=1, le=100_000_000)
    """Longest text, in characters (Unicode code points)."""

    max_body_bytes: int = Field(16 * 1024 * 1024, ge=1024, le=2**31 - 1)
    """Largest request body over HTTP and message over gRPC, in bytes."""

    max_candidates: int = Field(200_000, ge=1, le=10_000_000)
    """Most spans above the threshold in all texts of a request. More means that the threshold is
    too low to be useful, and is refused before it costs the server its memory."""

    window_words: int = Field(0, ge=0, le=100_000)
    """Longest window over a text, in words; 0 takes the model's own limit."""

    window_overlap: int = Field(48, ge=0, le=10_000)
    """Words that neighbouring windows share; raised to twice the model's widest span."""

    batch_size: int = Field(16, ge=1, le=1024)
    """Most windows in one forward pass."""

    batch_positions: int = Field(1024, ge=1, le=10_000_000)
    """Most subwords in one forward pass, padding included, above a single window: bounds its
    memory, and how long a short request waits beside a long text. Raise it on a GPU."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    """`auto` takes a GPU when there is one, but for a bundle whose engine is OpenVINO or ONNX
    Runtime; else the CPU."""

    precision: Precision = "auto"
    """`auto` is fp32 on a CPU, bf16 on a GPU that has it and fp16 on another."""

    threads: int = Field(0, ge=0, le=1024)
    """CPU threads for the model; 0 takes what the container is allowed."""

    compile: bool = False
    """On a GPU, fuse the model's kernels with torch.compile. It takes a C compiler, which our
    image has not, and minutes before the server is ready; no GPU has run it yet."""

    golden_check: bool = True
    """Refuse to become ready when the bundle does not give its golden answers."""

    max_queue_seconds: float = Field(10, gt=0, le=86_400)
    """Most work waiting or running, in seconds as estimated from what recent work took; a request
    above it is answered 429 with Retry-After. A queue that is nearly empty takes any."""

    max_pending: int = Field(1024, ge=1, le=100_000)
    """Most requests in the queue at once, however little work they are; one more is answered
    429 too."""

    request_timeout_seconds: float = Field(120, gt=0, le=86_400)
    """Longest time for one request, its body on the way included; a caller may ask for
    less with `x-request-timeout`."""

    drain_seconds: float = Field(30, ge=0, le=3_600)
    """After SIGTERM, how long requests in flight may take to finish."""

    linger_seconds: float = Field(5, ge=0, le=3_600)
    """After SIGTERM, how long the doors stay open at least, to answer 503 in place of a refused
    connection: Kubernetes goes on sending callers for some seconds. Part of the drain and not on
    top of it."""

    api_keys_file: Path | None = None
    """A file with the callers who may ask, as lines `NAME=SHA256` of each one's key, read again
    when it changes; empty lets everybody ask. Probes, `/metrics` and the page's files need no
    key."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level that is logged."""
