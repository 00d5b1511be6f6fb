"""Objects held strictly against the typed models of `kserve` and `kubernetes`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

_PRIMITIVES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "datetime": (str,),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")


def problems(kind: str, found: Any, path: str = "") -> Iterator[str]:
    """What is wrong with a JSON value that should be of a type of the models.

    A field that the model does not have, a value of another type, a required field that is
    missing and a value that the model's own checks refuse, each named by its path.
    """
    if found is None:
        return
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(found, list):
            yield f"{path}: Invalid value: must be an array"
            return
        for index, one in enumerate(found):
            yield from problems(match[1], one, f"{path}[{index}]")
    elif match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(found, dict):
            yield f"{path}: Invalid value: must be an object"
            return
        for key, one in found.items():
            yield from problems(match[1], one, f"{path}.{key}")
    elif kind in _PRIMITIVES:
        yield from _primitive(kind, found, path)
    elif (model := models().get(kind)) is not None:
        yield from _object(model, found, path)


def _primitive(kind: str, found: Any, path: str) -> Iterator[str]:
    wrong = not isinstance(found, _PRIMITIVES[kind])
    if wrong or (kind in ("int", "float") and isinstance(found, bool)):
        yield f"{path}: Invalid value: {found!r} must be of type {kind}"
    elif kind == "datetime" and not _TIME.fullmatch(found):
        yield f"{path}: Invalid value: {found!r} is not a time of the form that Kubernetes reads"


def _object(model: Any, found: Any, path: str) -> Iterator[str]:
    if not isinstance(found, dict):
        yield f"{path}: Invalid value: must be an object"
        return
    # `sysctls.name` and the like never occur here; a plain name is the JSON one.
    names = {name: attribute for attribute, name in model.attribute_map.items()}
    for name, one in found.items():
        if name not in names:
            yield f'unknown field "{f"{path}.{name}".lstrip(".")}"'
        else:
            yield from problems(model.openapi_types[names[name]], one, f"{path}.{name}")
    try:
        model(**{names[name]: one for name, one in found.items() if name in names})
    except ValueError as error:
        yield f"{path}: {error}"


@cache
def models() -> dict[str, Any]:
    """The typed models by name."""
    import kubernetes.client.models as core

    # kserve reads the command line when it is imported.
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        import kserve.models as serving
    finally:
        sys.argv = arguments
    return {
        name: model
        for module in (core, serving)
        for name, model in vars(module).items()
        if hasattr(model, "openapi_types")
    }
