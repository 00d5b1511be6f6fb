"""How a rollout goes: its steps, how long each is held, and what the candidate must keep to."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import SettingsError
from pipeline.rollout.evidence import Reading


class Plan(BaseModel):
    """A rollout's steps and limits. Use `Plan.parse` for values that people gave."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    strategy: Literal["canary", "blue_green"] = "canary"
    """`canary` goes through the steps. `blue_green` judges the candidate with probes before it
    gets any traffic, and then gives it all at once."""

    steps: tuple[int, ...] = (10, 50, 100)
    """The candidate's shares of the traffic in percent, rising, the last one 100."""

    min_requests: int = Field(50, ge=1, le=1_000_000)
    """How many requests the candidate must have answered before a step is judged."""

    hold_seconds: float = Field(30, ge=0, le=86_400)
    """How long a step is held at least."""

    max_seconds: float = Field(600, gt=0, le=86_400)
    """A step that is not through after this is rolled back."""

    max_error_rate: float = Field(0.01, ge=0, lt=1)
    """Share of requests that the candidate may fail, whatever the champion does. With fewer than
    1/share requests a single failure is too many."""

    max_latency_ratio: float = Field(1.5, ge=1, le=100)
    """The candidate's p95 latency may be this many times the champion's."""

    latency_floor_ms: float = Field(100, ge=0, le=600_000)
    """A p95 latency up to this is never too slow, whatever the champion's is."""

    golden: bool = True
    """Whether the bundle's golden requests must give their answers through the route."""

    @field_validator("steps", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Accept `10,50,100` and `[10, 50, 100]` as texts."""
        if not isinstance(value, str):
            return value
        return [one.strip() for one in value.strip().strip("[]").split(",")]

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        shown = ", ".join(map(str, steps))
        if not steps or steps[-1] != 100:
            raise ValueError(f"must end at 100, such as 10, 50, 100; got {shown or 'nothing'}")
        if any(low >= high for low, high in zip((0, *steps), steps, strict=False)):
            raise ValueError(f"must rise from above 0, such as 10, 50, 100; got {shown}")
        return steps

    @model_validator(mode="after")
    def _time_to_judge(self) -> Plan:
        if self.max_seconds <= self.hold_seconds:
            raise ValueError(
                f"max_seconds ({self.max_seconds:g}) must be more than hold_seconds "
                f"({self.hold_seconds:g}), or no step can pass"
            )
        return self

    @classmethod
    def parse(cls, **values: Any) -> Plan:
        """A plan from values as people give them: texts, numbers, None for a default.

        Raises:
            SettingsError: one is unknown or out of bounds; the text names it.
        """
        try:
            return cls(**{key: value for key, value in values.items() if value is not None})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"][:1]) or "plan"
            reason = first["msg"].removeprefix("Value error, ")
            got = "" if name in ("plan", "steps") else f", got {json.dumps(first['input'])}"
            raise SettingsError(f"rollout {name}: {reason}{got}") from None

    @property
    def shares(self) -> tuple[int, ...]:
        """The shares that are judged, in order; 0 is the candidate before any traffic."""
        return self.steps if self.strategy == "canary" else (0, 100)

    def errors(self, reading: Reading) -> str:
        """Why the candidate fails too often, in one line; empty when it does not so far.

        Said as soon as there are more errors than the whole step may have.
        """
        new, old = reading.candidate, reading.champion
        if new.errors <= self.max_error_rate * max(new.requests, self.min_requests):
            return ""
        first = f" ({new.detail})" if new.detail else ""
        beside = f"; the champion fails {old.error_rate:.1%}" if old else ""
        return (
            f"{new.errors} of {new.requests} requests failed{first}, "
            f"allowed are {self.max_error_rate:.1%}{beside}"
        )

    def latency(self, reading: Reading) -> str:
        """Why the candidate is too slow, in one line; empty when it is not, or nothing is known."""
        new = reading.candidate.p95_ms
        old = reading.champion.p95_ms if reading.champion else None
        if new is None or old is None or new <= self.latency_floor_ms:
            return ""
        if new <= self.max_latency_ratio * old:
            return ""
        return (
            f"p95 latency is {new:.0f} ms where the champion's is {old:.0f} ms, "
            f"allowed are {self.max_latency_ratio:g} times that"
        )
