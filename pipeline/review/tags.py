"""What a version's tags say about its review, without asking anybody."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from pipeline.registry.versions import CHAMPION, Tag, Version
from pipeline.rollout.move import ROLLING_BACK, RUNNING
from pipeline.slack.messenger import TOLD


class ReviewTag:
    """The tags of a review that a reviewer does not set in the MLflow UI, or need not."""

    DECISION = "review_decision"  # what came of `review`: open, or a word of its list
    DECIDED_AT = "review_decided_at"
    LAUNCHED_AT = "review_launched_at"  # when the rollout of an approved version was last started
    BY = "review_by"  # who, where the command line was told; MLflow does not say
    REASON = "review_reason"  # of a rejection or an expiry


OPEN, APPROVED, REJECTED, EXPIRED = "open", "approved", "rejected", "expired"
PENDING, NOT_REQUIRED = "pending", "not_required"
RETELL = timedelta(days=1)
"""For this long a decision that Slack did not take is told again."""
RELAUNCH = timedelta(minutes=10)
"""So long a rollout may take to begin; then it failed, and is started again. The pauses grow."""
RELAUNCHED = timedelta(days=1)
"""For this long after the approval; then a person has to look, and to approve again."""


def is_open(version: Version) -> bool:
    """Whether somebody was asked and nothing was decided."""
    return version.tags.get(ReviewTag.DECISION) == OPEN


def said(version: Version) -> str:
    """What the tag `review` says, however it was typed in a browser."""
    return version.tags.get(Tag.REVIEW, "").strip().casefold()


def by(version: Version) -> str:
    """Who decided, as the end of a sentence."""
    who = _line(version.tags.get(ReviewTag.BY, ""))
    return f" by {who}" if who else " in MLflow"


def reason(version: Version) -> str:
    """The reason that was given, in one line; empty where none was."""
    return _line(version.tags.get(ReviewTag.REASON, ""))


def refused_by_gate(version: Version) -> bool:
    """Whether the gate said no, and nobody forced it."""
    return version.tags.get(Tag.GATE) == "refused"


def held(version: Version) -> bool:
    """Whether a person took it back, and nobody has approved it since.

    What the gate makes of it meanwhile changes nothing: it is not rolled out by itself.
    """
    # A rollback that was killed before it began leaves the name on what serves on.
    serves = CHAMPION in version.aliases and version.tags.get(Tag.ROLLOUT) != ROLLING_BACK
    return bool(version.tags.get(Tag.ROLLED_BACK_BY)) and not serves


def why_held(version: Version) -> str:
    """Who took it back, why, and what brings it back, in one line."""
    number, tags = version.number, version.tags
    who, why = (_line(tags.get(one, "")) for one in (Tag.ROLLED_BACK_BY, Tag.ROLLOUT_REASON))
    because = f" ({why})" if why not in ("", "by hand") else ""
    return (
        f"version {number} was rolled back by {who}{because} and is not rolled out again by "
        f"itself; `python -m pipeline approve {number}` brings it back"
    )


def misbehaved(version: Version) -> bool:
    """Whether it was taken back, by itself or by hand, and not asked about since."""
    return version.tags.get(Tag.STATUS) == "rolled_back" or held(version)


def approval_counts(version: Version) -> bool:
    """Whether it was approved, and has not misbehaved since."""
    return version.tags.get(ReviewTag.DECISION) == APPROVED and not misbehaved(version)


def rollout_missing(version: Version) -> bool:
    """Whether it was approved, and neither serves nor was taken back since."""
    return (
        version.tags.get(ReviewTag.DECISION) == said(version) == APPROVED
        and version.tags.get(Tag.STATUS) == "challenger"
        and not refused_by_gate(version)
    )


def rollout_due(version: Version) -> bool:
    """Whether the rollout of an approved version failed, and is to be started again by now."""
    tags = version.tags
    if not rollout_missing(version) or tags.get(Tag.ROLLOUT) == RUNNING:
        return False
    decided = age(tags.get(ReviewTag.DECIDED_AT))
    launched = min(decided, age(tags.get(ReviewTag.LAUNCHED_AT) or tags.get(ReviewTag.DECIDED_AT)))
    # What has not helped for long is tried less and less often: each failure is told to Slack.
    return max(RELAUNCH, decided - launched) <= launched and decided < RELAUNCHED


def overdue(version: Version, hours: float) -> bool:
    """Whether it has waited for longer than this."""
    return age(version.tags.get(Tag.REVIEW_ASKED_AT)) > timedelta(hours=hours)


def settled(version: Version) -> bool:
    """Whether `decide` has nothing to do for it, as far as its tags show."""
    tags = version.tags
    decision, word = tags.get(ReviewTag.DECISION, ""), said(version)
    if decision == OPEN or rollout_due(version):
        return False
    if decision in (REJECTED, EXPIRED) and word == decision:
        told = tags.get(f"{TOLD}review_{decision}") == tags.get(ReviewTag.DECIDED_AT)
        return told or age(tags.get(ReviewTag.DECIDED_AT)) > RETELL
    return word in ("", PENDING, NOT_REQUIRED, decision)


def why_closed(version: Version) -> str:
    """Why setting the tag has no effect, and what to do, in one line."""
    number, tags = version.number, version.tags
    decision = tags.get(ReviewTag.DECISION, "")
    if refused_by_gate(version):
        return f"the gate refused version {number}, so a review has no effect"
    if held(version):
        return why_held(version)
    if decision == APPROVED and misbehaved(version):
        return (
            f"version {number} was approved and rolled back since; "
            "run the pipeline again with --review required to have it asked anew"
        )
    if decision == APPROVED:
        return (
            f"version {number} was approved before; "
            "`python -m pipeline rollback` takes back what serves"
        )
    if decision in (REJECTED, EXPIRED):
        return (
            f"the review of version {number} is over ({decision}); "
            "run the pipeline again to have it asked anew"
        )
    return f"version {number} is not under review"


def age(time: str | None) -> timedelta:
    """How long ago; nothing where a tag was broken by hand, so that it counts as new."""
    try:
        then = datetime.fromisoformat(time or "")
    except ValueError:
        return timedelta()
    aware = then if then.tzinfo else then.replace(tzinfo=timezone.utc)
    return datetime.now(timezone.utc) - aware


def _line(text: str) -> str:
    return " ".join(text.split())[:500]
