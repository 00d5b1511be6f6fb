"""`mlflow/` as `kubectl kustomize` builds it, with components, by an overlay."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from itertools import takewhile
from pathlib import Path

import kustomized
import yaml
from kustomized import CLOUDS, ROOT, Object

_COMPONENTS = ROOT / "mlflow" / "components"
COMBINATIONS = (
    "",
    "backup-outside",
    "external-secrets",
    "managed",
    "managed+no-keys",
    "managed+backup-outside",
    *CLOUDS,
    *(f"{one}+backup-outside" for one in CLOUDS),
)
"""Components that make sense together, in their order; the clouds bring `managed`."""


def build(name: str) -> list[Object]:
    """The objects of the base with components such as `managed+backup-outside`."""
    return list(yaml.load_all(_text(name), Loader=yaml.CSafeLoader))


def example(component: str) -> Object:
    """The generator that a component's header tells overlays to write; none for most."""
    header = (
        (_COMPONENTS / component / "kustomization.yaml").read_text().partition("apiVersion:")[0]
    )
    _, found, text = header.partition("configMapGenerator:\n")
    # The list ends at a line without indentation.
    lines = [one.removeprefix("#") for one in text.splitlines()]
    [*listed] = takewhile(lambda line: line.startswith("    "), lines)
    generator: Object = yaml.safe_load("\n".join(listed))[0] if found else {}
    return generator


@cache
def _text(name: str) -> str:
    components = [one for one in name.split("+") if one]
    examples = [generator for one in components if (generator := example(one))]
    with tempfile.TemporaryDirectory() as folder:
        above = Path(folder).resolve()
        overlay: Object = {
            "resources": [os.path.relpath(ROOT / "mlflow" / "base", above)],
            "components": [os.path.relpath(_COMPONENTS / one, above) for one in components],
            "configMapGenerator": examples,
        }
        (above / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return kustomized.kustomize(above)
