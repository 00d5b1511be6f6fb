"""A review: asked once, decided by a person in the MLflow UI, or expired.

A reviewer sets the tag ``review`` of the challenger to ``approved`` or ``rejected``. Whoever
notices (the webhook, polling, the command line) calls `decide`. What came of it stands in the
tag ``review_decision``, which a reviewer does not write: it is ``open`` from the question to
the decision, and only an open review of the current challenger can be decided. MLflow does not
say who set a tag; the command line does.

A rollout that was started may fail, as where another one is under way. The version then stays
the approved challenger, and later looks start its rollout again.

On one machine a lock file lets one process decide at a time. Where several machines notice,
`launch` has to know a rollout that it has started already. A process that dies after it has
launched and before it has recorded so launches again, which `launch` has to know too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.errors import PipelineError, Refused
from pipeline.progress import say
from pipeline.registry import CHALLENGER, Registry, Tag, Version, now
from pipeline.review import tags as review_tags
from pipeline.review.lock import deciding
from pipeline.review.tags import APPROVED, EXPIRED, NOT_REQUIRED, OPEN, PENDING, REJECTED, ReviewTag
from pipeline.slack import messages
from pipeline.slack.messenger import TOLD, Messenger

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.settings import Settings

Launch = Callable[[int, "Settings", str], object]
"""Starts the rollout of a version, with the reason: `pipeline.runs.launch.rollout`.

It starts none where one of this version has been started since its review was asked.
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """What came of looking at a review.

    Attributes:
        outcome: approved, rejected and expired happened just now; ignored is a tag without
            effect; pending waits; unchanged was decided before.
        reason: one line.
    """

    version: int
    outcome: Literal["approved", "rejected", "expired", "pending", "ignored", "unchanged"]
    reason: str = ""


def waive(number: int, registry: Registry) -> None:
    """No review is asked for this version.

    Raises:
        Refused: a person rejected exactly this version before, or rolled it back by hand.
    """
    with deciding(registry.settings):
        version = existing(number, registry)
        _insist_on_no_refusal(version)
        if review_tags.held(version):
            raise Refused(review_tags.why_held(version))
        if version.tags.get(ReviewTag.DECISION) != APPROVED:
            registry.tag(version, {Tag.REVIEW: NOT_REQUIRED, ReviewTag.DECISION: NOT_REQUIRED})


def ask(number: int, registry: Registry, run: Run) -> Literal["approved", "pending"]:
    """Ask for a review, and tell; asking again changes nothing.

    The version becomes the challenger. An older one that still waits is expired. An approval
    counts for good, unless the version was rolled back since.

    Args:
        run: the MLflow run, for the link in the message.

    Raises:
        Refused: the gate or a reviewer refused this version before.
    """
    with deciding(registry.settings):
        version = existing(number, registry)
        _insist_on_no_refusal(version)
        if review_tags.approval_counts(version):
            return "approved"
        before = registry.challenger()
        current = before is not None and before.number == number
        messenger = Messenger(registry)
        waits = review_tags.is_open(version) and current
        if waits and review_tags.said(version) == REJECTED:
            _close(messenger, version, before)
            _insist_on_no_refusal(existing(number, registry))
        if waits and review_tags.said(version) == APPROVED:
            _record(registry, version, APPROVED, review_tags.by(version))
            return "approved"
        if not waits or review_tags.said(version) != PENDING or _overdue(version, registry):
            version = _open(messenger, version, before)
        hours = registry.settings.review_hours
        message = messages.review_asked(messenger.facts(version, run), hours)
        messenger.about_version(version, message, version.tags[Tag.REVIEW_ASKED_AT])
    return "pending"


def ask_anew(number: int, registry: Registry, answer: dict[str, str]) -> None:
    """Open the review of a version that a person rolled back, with an answer to it.

    Args:
        answer: tags as a reviewer would set them.

    Raises:
        Refused: the gate or a reviewer refused this version before.
    """
    with deciding(registry.settings):
        version = existing(number, registry)
        _insist_on_no_refusal(version)
        _open(Messenger(registry), version, registry.challenger(), answer)


def existing(number: int, registry: Registry) -> Version:
    """A version that there is.

    Raises:
        PipelineError: there is none of this number.
    """
    version = registry.version(number)
    if version is None:
        raise PipelineError(f"{registry.name} has no version {number}; see `status`")
    return version


def decide(number: int, registry: Registry, launch: Launch, *, insist: bool = False) -> Decision:
    """Look at a version's review and do what follows from it, once.

    The rollout of an approved version that failed is started again, at first after ten minutes
    and then less and less often, for a day.

    Args:
        insist: start it again at once, however long ago the approval is.

    Raises:
        RolloutBusy: another process is deciding, or `launch` knows that another rollout is under
            way. Nothing was recorded: calling again later is right.
        Unavailable: MLflow, or what `launch` needs, does not answer. The same holds.
    """
    with deciding(registry.settings):
        version = registry.version(number)
        if version is None:
            return Decision(number, "ignored", f"there is no version {number}")
        messenger = Messenger(registry)
        if review_tags.is_open(version):
            return _decide_open(messenger, version, launch)
        if review_tags.rollout_due(version) or (insist and review_tags.rollout_missing(version)):
            return _start_again(messenger, version, launch)
        if review_tags.settled(version):
            return Decision(number, "unchanged", version.tags.get(ReviewTag.DECISION, ""))
        if review_tags.said(version) == version.tags.get(ReviewTag.DECISION):
            _tell_end(messenger, version)
            return Decision(number, "unchanged", review_tags.said(version))
        return _ignore(messenger, version, review_tags.why_closed(version))


def own_launch() -> Launch:
    """How this project starts a rollout."""
    from pipeline.runs import launch

    return launch.rollout


def _open(
    messenger: Messenger,
    version: Version,
    before: Version | None,
    answer: dict[str, str] | None = None,
) -> Version:
    """Make it the challenger that waits for its review, in the place of the one before."""
    registry = messenger.registry
    asked = {
        Tag.STATUS: "challenger",
        Tag.REVIEW: PENDING,
        Tag.REVIEW_ASKED_AT: now(),
        ReviewTag.DECISION: OPEN,
        # Empty, it stands on the page for the reviewer to fill in.
        ReviewTag.REASON: "",
    }
    if ReviewTag.BY in version.tags:
        asked[ReviewTag.BY] = ""
    registry.tag(version, {**asked, **(answer or {})})
    registry.point(CHALLENGER, version, "review asked")
    if before is not None and before.number != version.number and review_tags.is_open(before):
        _close(messenger, before, version)
    return existing(version.number, registry)


def _decide_open(messenger: Messenger, version: Version, launch: Launch) -> Decision:
    registry, number, said = messenger.registry, version.number, review_tags.said(version)
    challenger = registry.challenger()
    if closed := _close(messenger, version, challenger):
        return closed
    if said in ("", PENDING):
        return Decision(number, "pending", "nobody has decided yet")
    if said != APPROVED:
        reason = f"`review` must be approved or rejected; it is {said[:40]!r}"
        return _ignore(messenger, version, reason)
    if review_tags.refused_by_gate(version):
        return _ignore(messenger, version, review_tags.why_closed(version))
    if challenger is None:
        return _ignore(messenger, version, f"version {number} is not the challenger any more")
    by = review_tags.by(version)
    launch(number, registry.settings, f"review approved{by}")
    _record(registry, version, APPROVED, by, {ReviewTag.LAUNCHED_AT: now()})
    say(f"version {number}: review approved{by}; its rollout was started")
    return Decision(number, "approved", f"review approved{by}")


def _start_again(messenger: Messenger, version: Version, launch: Launch) -> Decision:
    """What was approved and is still the challenger: its rollout did not come to its end."""
    registry, number = messenger.registry, version.number
    challenger = registry.challenger()
    if challenger is None or challenger.number != number:
        instead = f"version {challenger.number} took its place" if challenger else "it is none now"
        reason = f"version {number} was approved and is not the challenger any more: {instead}"
        return Decision(number, "ignored", reason)
    launch(number, registry.settings, f"approved{review_tags.by(version)} before")
    registry.tag(version, {ReviewTag.LAUNCHED_AT: now()})
    return Decision(number, "unchanged", APPROVED)


def _close(messenger: Messenger, version: Version, challenger: Version | None) -> Decision | None:
    """End an open review that was rejected, lost its place or waited too long."""
    said = review_tags.said(version)
    if said == REJECTED:
        reason = review_tags.reason(version)
        detail = f"{review_tags.by(version)}{f': {reason}' if reason else ''}"
        _end(messenger, version, REJECTED, detail)
        return Decision(version.number, "rejected", reason)
    if challenger is not None and challenger.number != version.number:
        reason = f"version {challenger.number} took its place"
    # An approval that was noticed late is an approval.
    elif said == EXPIRED or (said != APPROVED and _overdue(version, messenger.registry)):
        reason = f"nobody decided within {messenger.settings.review_hours:g} hours"
    else:
        return None
    messenger.registry.tag(version, {ReviewTag.REASON: reason})
    _end(messenger, version, EXPIRED, f": {reason}")
    return Decision(version.number, "expired", reason)


def _end(messenger: Messenger, version: Version, decision: str, detail: str) -> None:
    """Close a review without a rollout, and tell."""
    registry = messenger.registry
    challenger = registry.challenger()
    if challenger is not None and challenger.number == version.number:
        registry.drop(CHALLENGER)
    _record(registry, version, decision, detail, {Tag.STATUS: decision, Tag.REVIEW: decision})
    say(f"version {version.number}: review {decision}{detail}")
    _tell_end(messenger, existing(version.number, registry))


def _tell_end(messenger: Messenger, version: Version) -> None:
    tags = version.tags
    compose = (
        messages.review_rejected
        if tags[ReviewTag.DECISION] == REJECTED
        else messages.review_expired
    )
    message = compose(messenger.facts(version), tags.get(ReviewTag.REASON, ""))
    messenger.about_version(version, message, tags[ReviewTag.DECIDED_AT])


def _ignore(messenger: Messenger, version: Version, reason: str) -> Decision:
    message = messages.review_ignored(messenger.facts(version), reason)
    if version.tags.get(f"{TOLD}{message.kind}") != reason:
        say(f"version {version.number}: {reason}")
        messenger.about_version(version, message, reason)
    return Decision(version.number, "ignored", reason)


def _record(
    registry: Registry,
    version: Version,
    decision: str,
    detail: str,
    tags: dict[str, str] | None = None,
) -> None:
    if decision == APPROVED and review_tags.held(version):
        tags = {**(tags or {}), Tag.ROLLED_BACK_BY: ""}
    registry.event(version, f"review: {decision}{detail}")
    # The decision comes last: what is cut off before it is done again.
    registry.tag(
        version,
        {**(tags or {}), ReviewTag.DECIDED_AT: now(), ReviewTag.DECISION: decision},
    )


def _insist_on_no_refusal(version: Version) -> None:
    if review_tags.refused_by_gate(version):
        raise Refused(review_tags.why_closed(version))
    if version.tags.get(ReviewTag.DECISION) == REJECTED and review_tags.said(version) == REJECTED:
        reason = review_tags.reason(version)
        raise Refused(
            f"version {version.number} was rejected in review"
            f"{f' ({reason})' if reason else ''}; to ask again, remove its tag `review` in MLflow"
        )


def _overdue(version: Version, registry: Registry) -> bool:
    return review_tags.overdue(version, registry.settings.review_hours)
