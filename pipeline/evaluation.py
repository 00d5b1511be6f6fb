"""The values that steps hand to each other: what was measured and what was decided.

They travel as JSON files between steps, so they are pydantic models: frozen, strict about
unknown fields, and readable by people.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

FILE = "evaluation.json"
VERDICT_FILE = "verdict.json"


class Value(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def write(self, file: Path) -> None:
        """Write it as JSON."""
        file.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


class Dataset(Value):
    """The data that something was measured on.

    Attributes:
        uri: where it was fetched from.
        digest: SHA-256 of its canonical rows, hexadecimal.
        rows: texts in it.
        mentions: labelled mentions in it.
        labels: the labels that occur.
        newest: when its newest file was written, where known; aware.
    """

    uri: str
    digest: str
    rows: int
    mentions: int
    labels: tuple[str, ...]
    newest: datetime | None = None


class Score(Value):
    """Entity-level scores at threshold 0.5, exact span and label.

    Attributes:
        f1_low, f1_high: 95 % bootstrap interval over texts.
        support: true mentions.
        found: mentions that the model gave.
    """

    precision: float
    recall: float
    f1: float
    f1_low: float
    f1_high: float
    support: int
    found: int


class Latency(Value):
    """One text at a time on the machine that evaluated: milliseconds, and texts a second."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    texts_per_second: float


class Subject(Value):
    """A model that was measured.

    Attributes:
        id: its name, such as a hub id.
        revision: its version there.
        digest: SHA-256 over the files that decide its answers (`predictor.bundle.digest`).
        size_bytes: of its weights.
        version: its number in the registry, where it has one.
    """

    id: str
    digest: str
    revision: str = ""
    size_bytes: int = 0
    version: int | None = None


class Measured(Value):
    """One model's scores: all labels together, their mean, each label, each text length.

    Attributes:
        engine: what it was measured with, such as `openvino int8`: what its bundle asks for, as
            far as the machine has it.
    """

    subject: Subject
    micro: Score
    macro_f1: float
    labels: dict[str, Score]
    by_length: dict[str, Score] = Field(default_factory=dict)
    latency: Latency
    engine: str = ""


class Difference(Value):
    """Candidate minus champion in F1, with its paired 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Comparison(Value):
    """The candidate against the champion on the same texts."""

    micro: Difference
    labels: dict[str, Difference]


class Evaluation(Value):
    """What the evaluate step found.

    Attributes:
        created_at: when, aware.
        champion: None when nothing serves yet, or when the candidate is the champion.
    """

    created_at: datetime
    dataset: Dataset
    candidate: Measured
    champion: Measured | None = None
    comparison: Comparison | None = None


class Check(Value):
    """One condition of the gate.

    Attributes:
        name: such as `min_f1` or `regression:person`.
        value: what was measured.
        limit: what was asked.
        detail: one sentence for a reviewer.
    """

    name: str
    passed: bool
    value: float
    limit: float
    detail: str


class Verdict(Value):
    """What the gate decided.

    Attributes:
        passed: every check passed.
        forced: some did not, and a person let it through all the same.
    """

    passed: bool
    forced: bool = False
    checks: tuple[Check, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the version may go on."""
        return self.passed or self.forced

    @property
    def reason(self) -> str:
        """The failed checks in one line; empty when there are none."""
        return "; ".join(check.detail for check in self.checks if not check.passed)
