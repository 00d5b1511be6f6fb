"""Answers to a review on the command line: the same as setting the tags in the MLflow UI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline import review
from pipeline.errors import Refused
from pipeline.registry import Registry, Tag
from pipeline.review import tags as review_tags
from pipeline.review.tags import APPROVED, REJECTED, ReviewTag

if TYPE_CHECKING:
    from pipeline.review import Launch
    from pipeline.settings import Settings


def approve(number: int, by: str, settings: Settings, launch: Launch | None = None) -> str:
    """Set the tag as a reviewer would in the MLflow UI, and act on it.

    A version that was approved before and whose rollout failed is rolled out again, and one that
    a person rolled back, whether or not its review was asked since.

    Returns:
        What happened, in one line.

    Raises:
        Refused: the version is not under review, was refused or rejected, or misbehaved since
            its approval.
    """
    return _by_command(number, {ReviewTag.BY: by, Tag.REVIEW: APPROVED}, settings, launch)


def reject(
    number: int, by: str, reason: str, settings: Settings, launch: Launch | None = None
) -> str:
    """Set the tags as a reviewer would, and act on them; else as `approve`."""
    tags = {ReviewTag.BY: by, ReviewTag.REASON: reason, Tag.REVIEW: REJECTED}
    return _by_command(number, tags, settings, launch)


def _by_command(
    number: int, tags: dict[str, str], settings: Settings, launch: Launch | None
) -> str:
    launch = review.own_launch() if launch is None else launch
    registry = Registry(settings)
    version = review.existing(number, registry)
    wanted = tags[Tag.REVIEW]
    if review_tags.held(version) and wanted == APPROVED:
        review.ask_anew(number, registry, tags)
    elif review_tags.is_open(version):
        registry.tag(version, tags)
    elif version.tags.get(ReviewTag.DECISION) != wanted or review_tags.misbehaved(version):
        raise Refused(review_tags.why_closed(version))
    decision = review.decide(number, registry, launch, insist=wanted == APPROVED)
    # The service may have been quicker: it heard of the tag at once.
    if decision.outcome == "ignored" or wanted not in (decision.outcome, decision.reason):
        raise Refused(decision.reason or f"version {number} is {decision.outcome}")
    return f"version {number} is {wanted}"
