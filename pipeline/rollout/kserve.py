"""Rollouts on KServe: an InferenceService whose canary takes a growing share of the traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipeline.errors import PipelineError, RolloutFailed, Unavailable
from pipeline.progress import say
from pipeline.registry import Registry, Version
from pipeline.rollout import Route, State, objects
from pipeline.rollout.checks import check
from pipeline.rollout.inference_service import InferenceService, Pace
from pipeline.rollout.knative import Knative
from pipeline.rollout.lease import Lease
from pipeline.rollout.modes import Address, Mode
from pipeline.rollout.objects import Model, Object
from pipeline.rollout.standard import Standard
from pipeline.settings import Settings

__all__ = ["KServe", "Pace", "check"]


class KServe:
    """The backend that moves an InferenceService. See `rollout.Backend`.

    What it knows it reads from the cluster each time, so another process can go on where one
    died. Only fields that name the model and its share are written.

    Args:
        settings: names the cluster's objects and the ingress.
        uri: where a version's bundle lies; asks MLflow by default.
        pace: how long things may take.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        uri: Callable[[Version], str] | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._settings = settings
        self._uri = uri or (lambda version: Registry(settings).bundle_uri(version))
        self._pace = pace or Pace()
        self._mode: Mode = Knative() if settings.deployment_mode == "Knative" else Standard()
        self._service = InferenceService(settings, self._mode, self._pace, self._check_lease)
        self._lease: Lease | None = None

    @contextmanager
    def lock(self, owner: str) -> Iterator[None]:
        """Hold the right to move traffic. Losing it shows at the next call of any method."""
        with Lease(self._settings, owner, seconds=self._pace.lease) as lease:
            self._lease = lease
            try:
                yield
            finally:
                self._lease = None

    def state(self) -> State:
        """What serves now, by the InferenceService alone."""
        isvc = self._service.find()
        if isvc is None:
            name = self._service.name
            return State(ready=False, reason=f"there is no InferenceService {name} yet")
        trial = self._mode.trial(isvc)
        missing = self._service.missing(isvc)
        return State(
            stable=trial.stable.digest,
            canary=trial.canary.digest if trial.canary else "",
            percent=trial.percent,
            ready=not missing,
            reason=missing,
        )

    def check(self, champion: Version | None) -> None:
        """Nothing: an InferenceService that is not there is made, and one that is can be moved."""

    def start(self, version: Version, stable: Version | None) -> None:
        """Bring a version up beside the stable one, with no traffic, and wait until it is ready."""
        candidate = self._model(version)
        # Where the stable one lies is what the service says now.
        before = Model(stable.number, stable.digest, "") if stable else None
        self._service.change(
            lambda isvc: self._mode.start(isvc, candidate, before), create=candidate
        )
        self._service.settle(f"bringing version {version.number} up")

    def step(self, percent: int) -> None:
        """Give the candidate this share of the traffic, and wait until that is so."""
        self._service.change(lambda isvc: self._mode.step(isvc, percent))
        self._service.settle(f"the step to {percent} %")

    def candidate(self) -> Route:
        """The newest revision's tag behind the ingress, or the canary's Service."""
        found = self._mode.address(self._service.get(), canary=True)
        if found is None:
            raise Unavailable(
                f"InferenceService {self._service.name} gives its newest revision no address: "
                f"set its annotation {objects.TAG_ROUTING} to true"
            )
        return self._route(found)

    def stable(self) -> Route | None:
        """As `candidate`. In Knative mode the old revision has no address at 100 %: None."""
        found = self._mode.address(self._service.get(), canary=False)
        return None if found is None else self._route(found)

    def public(self) -> Route:
        """The ingress with the service's host."""
        host = self._settings.predictor_host
        if not host:
            isvc = self._service.get()
            host = objects.host((isvc.get("status") or {}).get("url", ""))
            if not host:
                raise Unavailable(
                    f"InferenceService {self._service.name} has no address yet: "
                    f"{self._service.missing(isvc) or 'its status.url is empty'}"
                )
        headers = self._settings.caller_headers(host)
        return Route(self._settings.predictor_url, headers, self._service.name)

    def promote(self, version: Version) -> None:
        """Make the candidate the stable version; KServe takes the one before down."""

        def edit(isvc: Object) -> Object | None:
            trial = self._mode.trial(isvc)
            if (trial.canary or trial.stable).digest != version.digest:
                raise PipelineError(
                    f"version {version.number} is not what InferenceService {self._service.name} "
                    "has on trial: somebody changed it; start the rollout again"
                )
            return self._mode.promote(isvc)

        self._service.change(edit)
        self._service.settle(f"the promotion of version {version.number}")

    def roll_back(self, version: Version, stable: Version | None) -> None:
        """Take traffic from the version first, then bring the stable one back for good.

        With 0 % alone the next edit of the service would roll the version out again.
        """
        try:
            if stable:
                self._restore(self._model(stable))
            else:
                self._undo_first(version)
        except RolloutFailed as error:
            # It is not the candidate that failed here; trying again may help.
            raise Unavailable(str(error)) from error

    def _restore(self, target: Model) -> None:
        if self._service.find() and self._service.change(
            lambda isvc: self._mode.silence(isvc, target)
        ):
            self._service.hush()
        self._service.change(lambda isvc: self._mode.start(isvc, target, None), create=target)
        self._service.settle(f"bringing version {target.version} back")
        self._service.change(self._mode.promote)
        self._service.settle(f"the return to version {target.version}")

    def _undo_first(self, version: Version) -> None:
        """Take away a version that no version served before."""
        isvc = self._service.find()
        if isvc is None:
            return
        trial = self._mode.trial(isvc)
        before = objects.previous_of(objects.predictor(isvc))
        if trial.canary:
            self._restore(trial.stable)
        elif trial.stable.digest != version.digest:
            say(f"InferenceService {self._service.name} does not serve version {version.number}")
        elif objects.is_ours(isvc):
            self._service.delete()
        elif before and before.uri:
            # It was not up before either, so there is nothing to wait for.
            self._service.change(lambda isvc: self._mode.start(isvc, before, None))
        else:
            say(f"InferenceService {self._service.name} was not made by a rollout: it is left")

    # Small parts

    def _check_lease(self) -> None:
        if self._lease:
            self._lease.check()

    def _model(self, version: Version) -> Model:
        return Model(version.number, version.digest, objects.checked(self._uri(version)))

    def _route(self, address: Address) -> Route:
        if address.host:
            headers = self._settings.caller_headers(address.host)
            return Route(self._settings.predictor_url, headers, self._service.name)
        cluster = self._service.cluster
        found = cluster.service(address.service)
        if found is None:
            raise Unavailable(
                f"there is no Service {address.service}: is KServe's controller running?"
            )
        first = found.spec.ports[0]
        # A headless Service does not translate ports: its name leads to the pods themselves.
        port = first.target_port if found.spec.cluster_ip == "None" else first.port
        url = f"http://{address.service}.{cluster.namespace}.svc:{port}"
        return Route(url, self._settings.caller_headers(""), self._service.name)
