"""Ask a person before a version is rolled out, where that is wanted."""

from __future__ import annotations

from typing import Literal

from pipeline import review
from pipeline.arguments import check_review
from pipeline.errors import Refused
from pipeline.progress import say
from pipeline.registry import Registry, RunTag
from pipeline.settings import Settings, load

Mode = Literal["none", "required"]


def run(
    version: int,
    *,
    job: str,
    mode: Mode,
    settings: Settings | None = None,
) -> Literal["approved", "pending"]:
    """Ask for the review of a version.

    Returns:
        `approved` where the rollout may begin: none is required, or this very version was
        approved before. `pending` where a reviewer decides, after this run has ended.

    Raises:
        Refused: the gate or a reviewer refused this version before, or no review is required and
            a person rolled it back.
    """
    check_review(mode)
    registry = Registry(settings or load())
    run_of = registry.run(job)
    run_id = run_of.info.run_id
    try:
        if mode == "none":
            review.waive(version, registry)
            say(f"version {version}: no review is required")
            return "approved"
        answer = review.ask(version, registry, run_of)
    except Refused as refusal:
        tags = {RunTag.OUTCOME: "refused", RunTag.VERSION: version, RunTag.REASON: refusal}
        registry.note(run_id, tags)
        raise
    if answer == "pending":
        registry.note(run_id, {RunTag.OUTCOME: "awaiting_review", RunTag.VERSION: version})
        say(f"version {version} waits for its review: {registry.version_url(version)}")
    else:
        say(f"version {version} was approved")
    return answer
