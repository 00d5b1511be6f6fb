"""Rollouts on one machine: a second predictor on trial, and one that follows the alias.

There is no ingress in front of a laptop's predictor. Steps below 100 % therefore move no caller:
only the rollout's own probes reach the candidate, which runs as a process of its own beside the
one that serves. The promotion is the move of the alias `champion`, which the serving predictor
notices; it loads the version beside the old one and swaps without dropping a request.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import NotServing, PipelineError, RolloutFailed, Unavailable
from pipeline.local import lock
from pipeline.local.process import Process, answers, free_port
from pipeline.progress import say
from pipeline.registry import Version
from pipeline.rollout import Route, State
from pipeline.rollout.follower import Follower
from pipeline.settings import Settings

READY_SECONDS = 300.0
"""How long a predictor may take to load a version."""
_POLL_SECONDS = 0.2
_SILENT_SECONDS = 15.0
"""After these it is said that a predictor is waited for."""
_NOTICE_SECONDS = 30.0
"""In these one that waits for the first champion has noticed it."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The second predictor."""

    version: Version
    process: Process
    ready: Callable[[], bool]


class Local:
    """The backend of one machine. See `rollout.Backend`.

    The candidate's process ends with this one, however that ends.
    """

    def __init__(self, settings: Settings, *, ready_seconds: float = READY_SECONDS) -> None:
        self._settings = settings
        self._ready_seconds = ready_seconds
        self._candidate: _Candidate | None = None
        self._serving = Follower(settings)
        self._took = 0.0

    @contextmanager
    def lock(self, owner: str) -> Iterator[None]:
        """Hold a lock file, which the system releases when its owner dies."""
        busy = "a rollout is under way, by {owner}; wait for its end"
        with lock.held("rollout", self._settings, busy, owner=owner):
            try:
                yield
            finally:
                self._stop_candidate()

    def state(self) -> State:
        """What the serving predictor says of itself, and the candidate's process."""
        config, trial = self._serving.config(), self._candidate
        following = (config or {}).get("following") or {}
        ready, reason = config is not None, str(following.get("reason", ""))
        if trial:
            ready = trial.ready()
            reason = "" if ready else _last_line(trial.process) or "it does not answer"
        elif config is None:
            reason = f"no predictor answers at {self._serving.url}"
        return State(
            stable=str(config["model"]["digest"]) if config else "",
            canary=trial.version.digest if trial else "",
            ready=ready,
            reason=reason,
        )

    def check(self, champion: Version | None) -> None:
        """Whether a predictor serves that follows the alias.

        Before the first champion none may answer: one that waits for it does not listen yet.
        """
        try:
            self._serving.check()
        except Unavailable:
            if champion:
                raise

    def start(self, version: Version, stable: Version | None) -> None:
        """Start a second predictor with the version, and wait until it is ready.

        Raises:
            RolloutFailed: it is not; the text is its own last line.
            NotServing: there is a stable version and no predictor serves.
            PipelineError: the predictor that serves does not follow the alias.
        """
        self._stop_candidate()
        if stable:
            try:
                self._serving.check()
            except Unavailable as error:
                raise NotServing(str(error)) from error
        # Of its own for each model: rollouts of two may be under way at once.
        home = self._settings.folder("rollout", lock.key(self._settings))
        port = free_port()
        log = home / f"version-{version.number}.log"
        log.unlink(missing_ok=True)
        name = self._serving.name()
        process = Process(
            "the candidate's predictor",
            [
                *(sys.executable, "-m", "predictor"),
                *("--model", f"models:/{self._settings.model_name}/{version.number}"),
                *("--model_name", name, "--http_port", str(port), "--enable_grpc", "false"),
            ],
            log,
            {
                "MLFLOW_TRACKING_URI": self._settings.tracking_uri,
                "GLINER_CACHE_DIR": str(home / "cache"),
                "GLINER_LINGER_SECONDS": "0",  # nobody but the rollout asks it
            },
        )
        process.url = f"http://127.0.0.1:{port}"
        ready = answers(f"{process.url}/v2/models/{name}/ready")
        self._candidate = _Candidate(version, process, ready)
        began = time.monotonic()
        process.start()
        try:
            process.wait(ready, self._ready_seconds)
        except PipelineError as error:
            reason = _last_line(process) or str(error).splitlines()[0]
            raise RolloutFailed(f"its predictor does not become ready: {reason}") from error
        self._took = time.monotonic() - began

    def step(self, percent: int) -> None:
        """Nothing to move: see this module's first lines."""
        if self._candidate is None:
            raise RolloutFailed(f"nothing was started that could take {percent} %")

    def candidate(self) -> Route:
        """The second predictor."""
        if self._candidate is None:
            raise RolloutFailed("the candidate's predictor was not started")
        headers = self._settings.caller_headers("")
        return Route(self._candidate.process.url, headers, self._serving.name())

    def stable(self) -> Route | None:
        """The serving predictor: until the promotion it has the stable version."""
        return self.public() if self._serving.config() else None

    def public(self) -> Route:
        """The predictor that callers use."""
        return Route(self._serving.url, self._serving.headers, self._serving.name())

    def promote(self, version: Version) -> None:
        """Wait until the serving predictor has followed the alias to this version.

        Raises:
            RolloutFailed: it cannot take it up; the text is the predictor's reason.
            NotServing: no predictor was there all the while.
            Unavailable: the one that was there does not answer any more.
        """
        # Its memory is needed: the serving predictor loads the version beside the old one.
        self._stop_candidate()
        seconds = self._ready_seconds
        if not self._serving.seen:
            # One that waits for a champion loads it as the candidate's did, if there is one.
            seconds = min(seconds, _NOTICE_SECONDS + 3 * self._took)
        try:
            self._until_serving(version, seconds)
        except Unavailable as error:
            if self._serving.seen:
                raise
            raise NotServing(str(error)) from error

    def roll_back(self, version: Version, stable: Version | None) -> None:
        """End the second predictor, and wait until the serving one has the stable version."""
        self._stop_candidate()
        if stable is None:
            return
        try:
            self._until_serving(stable, self._ready_seconds)
        except RolloutFailed as error:
            raise Unavailable(str(error)) from error

    def _until_serving(self, version: Version, seconds: float) -> None:
        """Wait until the predictor has a version.

        Args:
            seconds: how long none may answer; one that does has the time to load it.
        """
        began, told = time.monotonic(), False
        while True:
            waited = time.monotonic() - began
            config = self._serving.config()
            if config is None:
                if waited > seconds:
                    raise Unavailable(self._serving.missing)
                if waited > _SILENT_SECONDS and not told:
                    left = f"waiting for one, {seconds - waited:.0f} s at most"
                    say(f"{self._serving.missing}; {left}")
                    told = True
            elif config["model"]["digest"] == version.digest:
                return
            else:
                following = self._serving.following(config)
                wanted = following.get("wanted_version") == str(version.number)
                if wanted and following.get("state") == "failed":
                    raise RolloutFailed(
                        f"the serving predictor cannot take version {version.number} up: "
                        f"{following.get('reason')}"
                    )
                if waited > self._ready_seconds:
                    raise RolloutFailed(
                        f"the serving predictor does not come to version {version.number} within "
                        f"{self._ready_seconds:.0f} s: {following.get('state')} "
                        f"{following.get('reason') or ''}".rstrip()
                    )
            time.sleep(_POLL_SECONDS)

    def _stop_candidate(self) -> None:
        if self._candidate:
            self._candidate.process.stop()
            self._candidate = None


def _last_line(process: Process) -> str:
    """The last thing it said before it ended, empty while it runs."""
    try:
        process.check()
    except PipelineError:
        lines = [line for line in process.tail().splitlines()[:-1] if line.strip()]
        return lines[-1].removeprefix("predictor: ") if lines else "it ended without a word"
    return ""
