"""What differs between KServe's deployment modes: how a canary is written and how it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pipeline.rollout.objects import Model, Object


@dataclass(frozen=True, slots=True)
class Trial:
    """Who serves, as an InferenceService was told.

    Attributes:
        stable: the model that takes the rest of the traffic.
        canary: the model on trial; None when there is none.
        percent: the share of traffic that it was given.
    """

    stable: Model
    canary: Model | None = None
    percent: int = 0


@dataclass(frozen=True, slots=True)
class Address:
    """Where one of the two models answers alone: behind the ingress, or inside the cluster.

    Attributes:
        host: the ingress's name for it.
        service: the Kubernetes Service before it.
    """

    host: str = ""
    service: str = ""


class Mode(Protocol):
    """A deployment mode.

    The methods that return an `Object` return a merge patch, or None when the service says so
    already. Fields that are not ours never stand in it.
    """

    @property
    def annotations(self) -> Mapping[str, str]:
        """What a new InferenceService needs besides the mode itself."""
        ...

    def trial(self, isvc: Object) -> Trial:
        """Who serves, by its spec."""
        ...

    def start(self, isvc: Object, candidate: Model, stable: Model | None) -> Object | None:
        """Bring a model up with no traffic, or with all of it where nothing serves."""
        ...

    def step(self, isvc: Object, percent: int) -> Object | None:
        """Give the candidate this share."""
        ...

    def promote(self, isvc: Object) -> Object | None:
        """Make the candidate the stable model."""
        ...

    def silence(self, isvc: Object, stable: Model) -> Object | None:
        """Take all traffic from what is not `stable`, where that can be done at once."""
        ...

    def address(self, isvc: Object, *, canary: bool) -> Address | None:
        """Where the canary answers alone, or the stable model; None where it has no address.

        Without a canary both are the one model that serves.
        """
        ...

    def waits_for(self, isvc: Object) -> str:
        """What is still missing until the cluster does as the spec says; empty when nothing is."""
        ...

    def noise(self, isvc: Object) -> str:
        """What still gives traffic to the newest model; empty when nothing does."""
        ...
