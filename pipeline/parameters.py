"""The graph's parameters, read from its compiled form: one place for names, defaults and meaning.

The command line makes its flags from them, so it needs neither kfp nor a list of its own.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import SettingsError

COMPILED = Path(__file__).with_name("compiled")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a graph.

    Attributes:
        name: as the graph has it.
        kind: kfp's type, such as `NUMBER_DOUBLE`.
        default: None where the caller must give a value.
        description: what it means.
    """

    name: str
    kind: str
    default: Any
    description: str

    def read(self, text: str) -> Any:
        """A value from the command line.

        Raises:
            SettingsError: the text is not of this parameter's type.
        """
        try:
            return _READERS[self.kind](text)
        except ValueError:
            raise SettingsError(
                f"--{self.name.replace('_', '-')} {text}: must be {_NAMES[self.kind]}"
            ) from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _no_number(text: str) -> Any:
    """NaN and Infinity, which Python takes for JSON: no limit holds them."""
    raise ValueError(text)


def _json(text: str, kind: type) -> Any:
    value = json.loads(text, parse_constant=_no_number)
    if not isinstance(value, kind):
        raise ValueError(text)
    return value


_READERS: dict[str, Callable[[str], Any]] = {
    "STRING": str,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": _number,
    "BOOLEAN": _boolean,
    "LIST": lambda text: _json(text, list),
    "STRUCT": lambda text: _json(text, dict),
}
_NAMES = {
    "STRING": "a text",
    "NUMBER_INTEGER": "a whole number",
    "NUMBER_DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "LIST": "a JSON array",
    "STRUCT": "a JSON object",
}


def of(graph: str) -> tuple[Parameter, ...]:
    """The parameters of a compiled graph, `refresh` or `rollout`, in alphabetical order."""
    # The second document, where there is one, is the platform's part (secrets, limits).
    spec = next(yaml.safe_load_all((COMPILED / f"{graph}.yaml").read_text("utf-8")))
    found = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return tuple(
        Parameter(name, one["parameterType"], one.get("defaultValue"), one.get("description", ""))
        for name, one in sorted(found.items())
    )


def add_flags(parser: argparse.ArgumentParser, parameters: Sequence[Parameter]) -> None:
    """Give a command a flag for each parameter; what is not given keeps the graph's default."""
    group = parser.add_argument_group("parameters of the graph")
    for one in parameters:
        default = "" if one.default in (None, "") else f" (default: {_shown(one.default)})"
        group.add_argument(
            f"--{one.name.replace('_', '-')}",
            dest=f"graph_{one.name}",
            metavar=one.kind.rsplit("_", 1)[-1].lower(),
            required=one.default is None,
            help=f"{one.description}{default}".replace("%", "%%"),
        )


def _shown(default: Any) -> str:
    # YAML of compiled graphs knows one kind of number.
    return json.dumps(
        json.loads(
            json.dumps(default),
            parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text),
        )
    )


def given(options: argparse.Namespace, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """The parameters that the command line named, each in its own type."""
    values = {one.name: getattr(options, f"graph_{one.name}") for one in parameters}
    return {
        one.name: one.read(values[one.name]) for one in parameters if values[one.name] is not None
    }
