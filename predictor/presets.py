"""Named sets of labels, so that callers need not spell out the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from predictor.errors import StartupError

SHIPPED = Path(__file__).with_name("presets.yaml")


class Preset(BaseModel):
    """One named set: labels, each with a description or none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    description: str = ""
    labels: dict[str, str | None] = Field(min_length=1)


class _Presets(RootModel[dict[str, Preset]]):
    pass


def load(file: Path | None) -> Mapping[str, Preset]:
    """Read the presets.

    Args:
        file: a YAML file, or None for the one that ships.

    Raises:
        StartupError: the file cannot be read or a preset is not well formed.
    """
    file = file or SHIPPED
    try:
        return _Presets.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))).root
    except (OSError, yaml.YAMLError) as error:
        raise StartupError(f"{file}: cannot read presets: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StartupError(f"{file}: preset {where}: {first['msg']}") from error
