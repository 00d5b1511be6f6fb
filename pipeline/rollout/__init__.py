"""A rollout: `start(version) → step(percent) → check → promote | roll_back(reason)`.

`Backend` is what differs between a laptop and a cluster; `controller` is the same on both.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

# A plan is read before anything starts, and MLflow's library takes seconds.
if TYPE_CHECKING:
    from pipeline.registry import Version


@dataclass(frozen=True, slots=True)
class Route:
    """An address that reaches a model.

    Attributes:
        url: the base, without a path.
        headers: such as `Host` for an ingress, and the API key.
        model: the model's name in addresses, `/v1/models/<model>:predict`.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    model: str = "gliner"


@dataclass(frozen=True, slots=True)
class State:
    """What serves just now, as the backend itself sees it.

    Attributes:
        stable: bundle digest of what takes the traffic, empty when nothing serves.
        canary: bundle digest of what is on trial, empty when nothing is.
        percent: share of traffic that the canary takes.
        ready: whether what was last asked for is up and takes requests.
        reason: why not, in one line.
    """

    stable: str = ""
    canary: str = ""
    percent: int = 0
    ready: bool = True
    reason: str = ""


class Backend(Protocol):
    """Moves traffic between versions. Calls may be repeated: each states what should be.

    A rollout calls, under `lock`: `check`, `start`, then `step` with rising shares (not at all
    where there is no stable version), then, once the alias `champion` names the candidate,
    `promote`. A rollback restores the alias first and then calls `roll_back`. Alias before
    backend, in both directions, is what makes a killed rollout repairable: the alias is the
    decision, the backend follows it.

    Every method raises `Unavailable` when its server does not answer after retries, and
    `RolloutFailed` when the candidate itself cannot be brought up. `NotServing` means that
    nothing is there whose traffic could move, and that the backend is as it was before.
    """

    def lock(self, owner: str) -> AbstractContextManager[None]:
        """Hold the right to move traffic; `RolloutBusy` names who holds it.

        The right of an owner that died ends by itself.
        """
        ...

    def state(self) -> State:
        """What serves now."""
        ...

    def check(self, champion: Version | None) -> None:
        """Raise where a rollout would find nothing that it could move, before anything is begun.

        Raises:
            Unavailable: nothing serves, though there is a champion.
            PipelineError: what serves cannot be moved; the text says what would be right.
        """
        ...

    def start(self, version: Version, stable: Version | None) -> None:
        """Bring a version up beside the stable one, with no traffic, and wait until it is ready.

        With no stable version it is simply brought up.
        """
        ...

    def step(self, percent: int) -> None:
        """Give the candidate this share of the traffic, and wait until that is so."""
        ...

    def candidate(self) -> Route:
        """A route that reaches the candidate alone."""
        ...

    def stable(self) -> Route | None:
        """A route that reaches the stable version alone; None when there is none."""
        ...

    def public(self) -> Route:
        """The route that callers use."""
        ...

    def promote(self, version: Version) -> None:
        """Make the candidate the stable version."""
        ...

    def roll_back(self, version: Version, stable: Version | None) -> None:
        """Give all traffic to `stable` and take `version` away, whatever state things are in."""
        ...
