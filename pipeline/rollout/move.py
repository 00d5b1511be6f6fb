"""One version's way to the callers, step by step, and back from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import NotServing, PipelineError, RolloutBusy, Unavailable
from pipeline.registry import CHALLENGER, CHAMPION, Registry, Tag, Version
from pipeline.rollout import Backend
from pipeline.rollout.plan import Plan
from pipeline.rollout.trial import Passed, check_public, on_trial

RUNNING = "running"
"""Tag of a version whose rollout has begun and not ended."""
ROLLING_BACK = "rolling_back"
"""Tag of a champion that is to be taken back, by hand."""
PUT_OFF = "put_off"
"""Tag of a version whose rollout found nobody who could have served it."""
_STARTED = "rollout started"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rollout or a rollback came to.

    Attributes:
        state: `unchanged` when the version serves already.
        version: the number that it was about.
        champion: the number that serves now, None when none does.
        reason: why it was rolled back or left, in one line.
        steps: the steps that were passed.
    """

    state: Literal["promoted", "rolled_back", "unchanged"]
    version: int
    champion: int | None
    reason: str = ""
    steps: tuple[Passed, ...] = ()


class Move:
    """One version's way to the callers, or back from them.

    Args:
        candidate: the version.
        stable: the one that serves when this one does not; None for the first.
        owner: who begins it, for others to read.
    """

    def __init__(
        self,
        registry: Registry,
        backend: Backend,
        plan: Plan,
        report: Callable[[str], None],
        candidate: Version,
        stable: Version | None,
        owner: str = "",
    ) -> None:
        self.registry = registry
        self.backend = backend
        self.plan = plan
        self.report = report
        self.candidate = candidate
        self.stable = stable
        self.owner = owner
        self.name = f"version {candidate.number}"
        self.passed: list[Passed] = []

    def outcome(self, reason: str) -> Outcome:
        """That it was taken back."""
        champion = self.stable.number if self.stable else None
        return Outcome("rolled_back", self.candidate.number, champion, reason, tuple(self.passed))

    def run(self) -> Outcome:
        """Go all the way, or be taken back."""
        self._mark()
        decided = False
        try:
            self._try_out()
            decided = True
            self.registry.point(CHAMPION, self.candidate, f"promoted after {self._shares()} %")
            self._follow()
        except RolloutBusy:
            raise  # the lock was lost: whoever has it now repairs this
        except NotServing as error:
            self.put_off(str(error), decided=decided)
            raise
        except PipelineError as error:
            self.undo(str(error), decided=decided)
            return self.outcome(str(error))
        except BaseException as error:
            self.undo(f"interrupted ({type(error).__name__})", decided=decided)
            raise
        self._close_promoted()
        number = self.candidate.number
        return Outcome("promoted", number, number, steps=tuple(self.passed))

    def repair(self) -> bool:
        """Finish or undo what a killed run left. Returns whether the version serves now."""
        if self.candidate.tags.get(Tag.ROLLOUT) == ROLLING_BACK:
            self.undo(self.candidate.tags.get(Tag.ROLLOUT_REASON, ""))
            return False
        champion = self.registry.champion()
        if champion is None or champion.number != self.candidate.number:
            self.undo("its rollout was killed")
            return False
        self.report(f"{self.name}: a killed run had decided for it; finishing that")
        if not self._told_of_move():
            self.registry.event(self.candidate, f"{CHAMPION}: promoted by a run that was killed")
        try:
            self._follow()
        except (RolloutBusy, Unavailable):
            raise
        except PipelineError as error:
            self.undo(str(error))
            return False
        self._close_promoted()
        return True

    def undo(self, reason: str, *, decided: bool = True) -> None:
        """Take the version back.

        Args:
            decided: whether the alias may name it. Otherwise traffic comes first and MLflow,
                which may be what is down, comes after.
        """
        self.report(f"{self.name}: rolling back: {reason}")
        unknown: Unavailable | None = None
        if decided:
            try:
                self._restore_alias(reason)
            except Unavailable as error:
                unknown = error
        try:
            self.backend.roll_back(self.candidate, self.stable)
            if unknown:
                raise unknown
            self._close_undone(reason)
        except Unavailable as error:
            raise Unavailable(
                f"{self.name} was to be rolled back ({reason}) and is not wholly: {error}; the "
                "next run completes it, `python -m pipeline rollback` does so at once"
            ) from error
        self.report(f"{self.name} rolled back; {self._serving()}")

    def put_off(self, reason: str, *, decided: bool) -> None:
        """Leave the version as it was before, with no verdict: the next run rolls it out.

        Args:
            decided: as in `undo`.
        """
        if decided:
            self._restore_alias(reason)
        self.registry.event(self.candidate, f"rollout put off: {reason}")
        self.registry.tag(self.candidate, {Tag.ROLLOUT_PERCENT: 0, Tag.ROLLOUT: PUT_OFF})
        self.report(f"{self.name}: put off; {self._serving()}")

    def _mark(self) -> None:
        self._wanted_back(self.candidate)
        text = f"{_STARTED}: {self.plan.strategy} {self._shares()} %, {self._serving()}"
        self.registry.event(self.candidate, text)
        # Last of all: what is cut off before it has not begun.
        self.registry.tag(
            self.candidate,
            {
                Tag.ROLLOUT_PREVIOUS: self.stable.number if self.stable else "",
                Tag.ROLLOUT_BY: self.owner,
                Tag.ROLLOUT_PERCENT: 0,
                Tag.ROLLOUT_REASON: "",
                Tag.ROLLOUT: RUNNING,
            },
        )
        self.report(f"{self.name}: {text}")

    def _try_out(self) -> None:
        self.backend.start(self.candidate, self.stable)
        with on_trial(self.registry, self.backend, self.plan, self.candidate, self.stable) as trial:
            # The first version serves alone: there is no traffic to share.
            for percent in self.plan.shares if self.stable else (100,):
                if percent and self.stable:
                    self.backend.step(percent)
                self.registry.tag(self.candidate, {Tag.ROLLOUT_PERCENT: percent})
                passed = trial.hold(percent)
                self.passed.append(passed)
                self.registry.event(self.candidate, f"rollout at {percent} %: {passed}")
                self.report(f"{self.name} at {percent} %: {passed}")

    def _follow(self) -> None:
        """The alias names the candidate: let the backend follow, and see that callers get it."""
        self.backend.promote(self.candidate)
        check_public(self.registry, self.backend, self.plan, self.candidate)

    def _close_promoted(self) -> None:
        """Callers have the version: what is interrupted from here on, the next run completes."""
        if self.stable:
            self.registry.tag(self.stable, {Tag.STATUS: "retired"})
        self.registry.tag(self.candidate, {Tag.STATUS: "champion", Tag.ROLLOUT_PERCENT: 100})
        self._drop_challenger()
        self._close("promoted", "rollout promoted")
        self.report(f"{self.name} is the champion now")

    def _told_of_move(self) -> bool:
        """Whether its history has the move of the alias: one may be killed between the two."""
        told = (f"{CHAMPION}:", _STARTED)
        lines = [text for _, text in self.candidate.events if text.startswith(told)]
        return bool(lines) and not lines[-1].startswith(_STARTED)

    def _restore_alias(self, reason: str) -> None:
        champion = self.registry.champion()
        if champion is None or champion.number != self.candidate.number:
            # Not moved yet, or a person moved it meanwhile: what it names is what should serve.
            self.stable = champion or self.stable
        elif self.stable:
            self.registry.point(CHAMPION, self.stable, f"back from {self.name}: {reason}")
        else:
            self.registry.drop(CHAMPION)

    def _close_undone(self, reason: str) -> None:
        if self.stable:
            self._wanted_back(self.stable)
            self.registry.tag(self.stable, {Tag.STATUS: "champion"})
        self.registry.tag(self.candidate, {Tag.STATUS: "rolled_back", Tag.ROLLOUT_REASON: reason})
        self._drop_challenger()
        self._close("rolled_back", f"rolled back: {reason}")

    def _wanted_back(self, version: Version) -> None:
        """Forget that a person once took it back."""
        if version.tags.get(Tag.ROLLED_BACK_BY):
            self.registry.tag(version, {Tag.ROLLED_BACK_BY: ""})

    def _close(self, state: str, text: str) -> None:
        """The last line of its history, written once however often this is repeated."""
        fresh = self.registry.version(self.candidate.number)
        if fresh is None or [line for _, line in fresh.events][-1:] != [text]:
            self.registry.event(self.candidate, text)
        self.registry.tag(self.candidate, {Tag.ROLLOUT: state})

    def _drop_challenger(self) -> None:
        challenger = self.registry.challenger()
        if challenger and challenger.number == self.candidate.number:
            self.registry.drop(CHALLENGER)

    def _shares(self) -> str:
        return ", ".join(map(str, self.plan.shares if self.stable else (100,)))

    def _serving(self) -> str:
        return f"version {self.stable.number} serves" if self.stable else "no version served before"


def unfinished(registry: Registry) -> list[Version]:
    """Versions whose rollout or rollback did not come to its end."""
    wanted = (RUNNING, ROLLING_BACK)
    return [one for one in registry.versions() if one.tags.get(Tag.ROLLOUT) in wanted]
