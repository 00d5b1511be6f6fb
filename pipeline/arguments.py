"""The arguments of a graph, checked before anything starts.

A step finds a wrong value as well, but perhaps after hours of training: what can be known before
is said before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import parameters
from pipeline.errors import SettingsError
from pipeline.limits import GateLimits
from pipeline.rollout.plan import Plan
from pipeline.training import TrainParameters

REVIEWS = ("none", "required")
"""Whether a person has to decide before a version is rolled out."""
_PLAN = {"canary_steps": "steps"}
"""What a plan calls differently."""
_NOT_BELOW_0 = ("max_data_age_hours", "min_examples")


def check(graph: str, arguments: Mapping[str, Any]) -> None:
    """Hold arguments against a compiled graph and against what its steps take.

    Raises:
        SettingsError: the graph has no such parameter, needs one that is not given, or one is
            out of bounds; the text names it.
    """
    known = {one.name: one for one in parameters.of(graph)}
    if unknown := sorted(set(arguments) - set(known)):
        raise SettingsError(
            f"the graph {graph} has no parameter {unknown[0]}; it has {', '.join(known)}"
        )
    for one in known.values():
        if one.default is None and one.name not in arguments:
            raise SettingsError(f"the graph {graph} needs a value for {one.name}")
    _check_values({**{name: one.default for name, one in known.items()}, **arguments})


def _check_values(values: Mapping[str, Any]) -> None:
    GateLimits.parse(
        **{name: value for name, value in values.items() if name in GateLimits.model_fields}
    )
    Plan.parse(
        **{
            _PLAN.get(name, name): value
            for name, value in values.items()
            if _PLAN.get(name, name) in Plan.model_fields
        }
    )
    TrainParameters.parse(values.get("training", {}))
    check_review(values.get("review", REVIEWS[0]))
    check_tolerance(values.get("tolerance", 0))
    for name in _NOT_BELOW_0:
        value = values.get(name, 0)
        # Written so that a value that is no number passes nothing.
        if not value >= 0:
            raise SettingsError(f"{name} is {value:g}; it must be 0 or more")


def check_review(mode: str) -> None:
    """Whether a mode of review is one that there is.

    Raises:
        SettingsError: it is not; the text names those that there are.
    """
    if mode not in REVIEWS:
        raise SettingsError(f"review is {mode!r}; it must be 'none' or 'required'")


def check_tolerance(tolerance: float) -> None:
    """Whether an engine's loss of F1 could be this.

    Raises:
        SettingsError: it could not.
    """
    if not 0 <= tolerance <= 1:
        raise SettingsError(f"tolerance is {tolerance:g}; it must be from 0 to 1")
