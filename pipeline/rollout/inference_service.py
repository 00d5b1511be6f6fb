"""One InferenceService: read, changed where nobody else wrote in between, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from pipeline.errors import PipelineError, RolloutFailed, Unavailable
from pipeline.rollout import objects, readiness
from pipeline.rollout.cluster import Cluster, Conflict
from pipeline.rollout.lease import SECONDS
from pipeline.rollout.modes import Mode
from pipeline.rollout.objects import Model, Object
from pipeline.settings import Settings

_CONFLICTS = 12


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take, in seconds.

    Attributes:
        ready: until a model is up or the traffic has moved: pulling an image and loading take
            minutes.
        failed: how long a failure may last before it counts: Kubernetes tries again by itself.
        poll: between two looks.
        lease: duration of the lease.
    """

    ready: float = 900
    failed: float = 60
    poll: float = 2
    lease: float = SECONDS


class InferenceService:
    """The InferenceService that the settings name.

    Args:
        check: called before each look and each change; raises where they are not allowed.
    """

    def __init__(
        self, settings: Settings, mode: Mode, pace: Pace, check: Callable[[], None]
    ) -> None:
        self.name = settings.inference_service
        self.cluster = Cluster(settings)
        self._settings = settings
        self._mode = mode
        self._pace = pace
        self._check = check

    def find(self) -> Object | None:
        """It as it is now; None when there is none.

        Raises:
            PipelineError: it is in another deployment mode than the settings say.
        """
        self._check()
        isvc = self.cluster.find()
        mode = objects.mode_of(isvc) if isvc else ""
        if mode and mode != self._settings.deployment_mode:
            raise PipelineError(
                f"InferenceService {self.name} is in {mode} mode, which cannot be changed: set "
                f"PIPELINE_DEPLOYMENT_MODE={mode}, or delete the service"
            )
        return isvc

    def get(self) -> Object:
        """It as it is now.

        Raises:
            PipelineError: there is none, or as `find`.
        """
        isvc = self.find()
        if isvc is None:
            raise PipelineError(
                f"there is no InferenceService {self.name} in namespace "
                f"{self.cluster.namespace}: start a rollout, which makes it"
            )
        return isvc

    def change(
        self, edit: Callable[[Object], Object | None], *, create: Model | None = None
    ) -> bool:
        """Read, decide, write; all of it again when somebody else wrote in between.

        Args:
            edit: takes it as it is and gives a merge patch, or None when it is right already.
            create: the model to make one with when there is none.

        Returns:
            Whether it was written.
        """

        def attempt() -> bool:
            isvc = self.find()
            if isvc is None and create is not None:
                new = objects.new(self._settings, create, self._mode.annotations)
                self.cluster.create(new)
                return True
            patch = edit(isvc or self.get())
            if isvc is None or patch is None:
                return False
            read = {"resourceVersion": isvc["metadata"]["resourceVersion"]}
            self.cluster.patch({**patch, "metadata": {**patch.get("metadata", {}), **read}})
            return True

        try:
            return Retrying(
                retry=retry_if_exception_type(Conflict),
                stop=stop_after_attempt(_CONFLICTS),
                wait=wait_random_exponential(multiplier=self._pace.poll / 10, max=5),
            )(attempt)
        except RetryError as error:
            raise Unavailable(
                f"InferenceService {self.name} was changed by somebody else {_CONFLICTS} times in "
                "a row; try again"
            ) from error

    def missing(self, isvc: Object) -> str:
        """What is missing until the cluster does as it says, in one line; empty when nothing is."""
        waits = self._mode.waits_for(isvc)
        if not waits and readiness.is_ready(isvc):
            return ""
        why = readiness.failure(isvc) or readiness.reason(isvc)
        return ": ".join(filter(None, (waits, why)))

    def settle(self, what: str) -> None:
        """Wait until the cluster does as it says.

        Raises:
            RolloutFailed: it took too long, or is known to fail; the text says what kept it.
        """
        failing_since: float | None = None

        def missing() -> str:
            nonlocal failing_since
            isvc = self.get()
            why = self.missing(isvc)
            failure = readiness.failure(isvc, self._pods(isvc)) if why else ""
            if not failure:
                failing_since = None
                return why
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > self._pace.failed:
                raise RolloutFailed(f"{what} failed: {failure}")
            return failure

        self._until(missing, what, self._pace.ready)

    def hush(self) -> None:
        """Wait until the newest model gets no traffic, but not for long."""
        # What comes next ends in the right state even where this does not.
        with suppress(RolloutFailed):
            self._until(lambda: self._mode.noise(self.get()), "", self._pace.failed)

    def delete(self) -> None:
        """Take it away and wait until it is gone."""
        self.cluster.delete()
        self._until(lambda: "still there" if self.find() else "", "removal", self._pace.ready)

    def _until(self, missing: Callable[[], str], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while why := missing():
            if time.monotonic() > deadline:
                raise RolloutFailed(f"{what} is not done after {seconds:g} s: {why}")
            time.sleep(self._pace.poll)

    def _pods(self, isvc: Object) -> list[Any]:
        """The pods of the newest model; none where we may not look."""
        trial = self._mode.trial(isvc)
        version = (trial.canary or trial.stable).version
        with suppress(PipelineError):
            return self.cluster.pods(
                f"{objects.GROUP}/inferenceservice={self.name},{objects.VERSION_LABEL}={version}"
            )
        return []
