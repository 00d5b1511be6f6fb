"""The lifecycle of a model version: measured, registered, judged, reviewed, rolled out, watched."""

from predictor import __version__

__all__ = ["__version__"]
