"""The small default model: `model/` is what ships, the modules beside it are its recipe."""

import pathlib


def path() -> pathlib.Path:
    """The folder of the shipped model, ready for `GLiNER.from_pretrained`."""
    return pathlib.Path(__file__).resolve().parent / "model"
