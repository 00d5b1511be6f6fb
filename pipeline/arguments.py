"""The arguments of a graph: checked before anything starts, and again where a step reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline import parameters
from pipeline.errors import SettingsError

Model = TypeVar("Model", bound=BaseModel)


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


def read(model: type[Model], values: Mapping[str, Any]) -> Model:
    """A value from the numbers and texts that people gave.

    Raises:
        SettingsError: one is unknown or out of bounds; the text names it.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or model.__name__
        raise SettingsError(f"{name}: {first['msg']}, got {first['input']!r}") from None
