"""What can go wrong in the lifecycle, each with the exit code that scripts see."""

from __future__ import annotations

from typing import ClassVar


class PipelineError(Exception):
    """The root of our errors. Its text is one line: what was wrong and what would be right."""

    exit_code: ClassVar[int] = 1


class SettingsError(PipelineError):
    """A setting or an argument is missing or out of bounds."""

    exit_code = 2


class DataError(PipelineError):
    """The data set cannot be used: missing, malformed, too old or overlapping.

    The text names the file and the line.
    """

    exit_code = 3


class Refused(PipelineError):
    """A gate or a reviewer said no. The version stays registered as refused."""

    exit_code = 4


class RolloutFailed(PipelineError):
    """The candidate misbehaved and was taken back; the champion serves as before."""

    exit_code = 5


class RolloutBusy(PipelineError):
    """Another rollout is under way."""

    exit_code = 6


class Unavailable(PipelineError):
    """MLflow, S3, Kubernetes or another server does not answer. Trying again may help."""

    exit_code = 7


class NotServing(Unavailable):
    """No predictor is there that a rollout could move, which says nothing about the version.

    Somebody has to start one: trying again by itself does not help.
    """
