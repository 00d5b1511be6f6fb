"""Who tells Slack what: composes from the registry, and tells each thing once.

What was told is a tag ``told.<kind>`` on the version or the run, set once Slack has taken the
message. A step that is tried again finds the tag and is silent. Where the process ends between
the two, or MLflow is down, the message comes twice: twice is better than never.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline import slack
from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.registry import Registry, Version, now
from pipeline.slack import messages
from pipeline.slack.messages import Facts, Message

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.settings import Settings

TOLD = "told."
"""What these tags begin with; the kind of message follows."""


class Messenger:
    """Tells Slack about versions and runs.

    Args:
        send: delivers a message and says whether it was taken.
    """

    def __init__(
        self, registry: Registry, send: Callable[[Message, Settings], bool] = slack.send
    ) -> None:
        self.registry = registry
        self.settings = registry.settings
        self._send = send

    def facts(self, version: Version | None = None, run: Run | None = None) -> Facts:
        """What messages say about a version, compared with the champion, or the one before it."""
        registry = self.registry
        links = [] if version is None else [("Version", registry.version_url(version.number))]
        if run is not None:
            links.append(("Run", registry.run_url(run)))
        links.append(("Dashboard", self.settings.dashboard_url))
        other = None if version is None else self._compared(version)
        return Facts(
            model=registry.name,
            number=None if version is None else version.number,
            scores={} if version is None else messages.scores_of(version.tags),
            against=None if other is None else other.number,
            against_scores={} if other is None else messages.scores_of(other.tags),
            links=tuple(links),
        )

    def about_version(self, version: Version, message: Message, occasion: str) -> bool:
        """Tell it, unless this occasion was told before. Returns whether it is told by now."""
        tag = f"{TOLD}{message.kind}"
        if version.tags.get(tag) == occasion:
            return True
        return self._tell(message, lambda: self.registry.tag(version, {tag: occasion}))

    def about_run(self, run: Run, message: Message) -> bool:
        """Tell it, unless it was told before. Returns whether it is told by now."""
        tag = f"{TOLD}{message.kind}"
        tags: Mapping[str, str] = run.data.tags
        if tag in tags:
            return True
        return self._tell(message, lambda: self.registry.note(run.info.run_id, {tag: now()}))

    def rolled_back(self, number: int, reason: str, by: str) -> None:
        """Tell that a person rolled a version back, which MLflow or Slack being down undoes not."""
        try:
            version = self.registry.version(number)
            if version is not None:
                message = messages.rolled_back(self.facts(version), reason, by)
                self.about_version(version, message, now())
        except PipelineError as error:
            say(f"Slack was not told of it: {error}")

    def thresholds(self, version: Version, run: Run | None, *, serving: bool) -> None:
        """Tell when the version's F1 has crossed a set value since it was last looked at."""
        if version.f1 is None:
            return
        low, high = self.settings.alert_f1_below, self.settings.alert_f1_above
        for limit, above, crossed in (
            (low, False, version.f1 < low),
            (high, True, 0 < high < version.f1),
        ):
            kind = f"threshold_{'above' if above else 'below'}"
            if crossed:
                message = messages.threshold_crossed(
                    self.facts(version, run), limit=limit, above=above, serving=serving
                )
                self.about_version(version, message, f"{limit:g}")
            elif version.tags.get(f"{TOLD}{kind}", "no") != "no":
                # It came back: the next crossing is news again.
                self.registry.tag(version, {f"{TOLD}{kind}": "no"})

    def _tell(self, message: Message, remember: Callable[[], None]) -> bool:
        if not self._send(message, self.settings):
            return False
        try:
            remember()
        except PipelineError as error:
            say(f"Slack was told of {message.kind}; it may be told again: {error}")
        return True

    def _compared(self, version: Version) -> Version | None:
        champion = self.registry.champion()
        if champion is None or champion.number != version.number:
            return champion
        return self.registry.previous(version)
