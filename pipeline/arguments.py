"""The arguments of a graph, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline import parameters
from pipeline.errors import SettingsError


def check(graph: str, arguments: Mapping[str, Any]) -> None:
    """Hold arguments against a compiled graph.

    Raises:
        SettingsError: the graph has no such parameter, or needs one that is not given.
    """
    known = {one.name: one for one in parameters.of(graph)}
    if unknown := sorted(set(arguments) - set(known)):
        raise SettingsError(
            f"the graph {graph} has no parameter {unknown[0]}; it has {', '.join(known)}"
        )
    for one in known.values():
        if one.default is None and one.name not in arguments:
            raise SettingsError(f"the graph {graph} needs a value for {one.name}")
