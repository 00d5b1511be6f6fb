"""The review step."""

from __future__ import annotations

import pytest
import reviewed

from pipeline.errors import Refused, SettingsError
from pipeline.registry import Registry, RunTag, Tag
from pipeline.settings import Settings
from pipeline.steps import review

pytestmark = pytest.mark.server


def run_tags(registry: Registry) -> dict[str, str]:
    return dict(registry.run("job-1").data.tags)


def test_without_a_review_the_rollout_may_begin(settings: Settings, registry: Registry) -> None:
    """And the version says that none was required."""
    number = reviewed.register(registry)

    answer = review.run(number, job="job-1", mode="none", settings=settings)

    assert answer == "approved"
    assert reviewed.tags(registry, number)[Tag.REVIEW] == "not_required"
    assert registry.challenger() is None


def test_a_required_review_leaves_the_run_waiting(
    settings: Settings, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run's outcome says so, and a line links to the page."""
    number = reviewed.register(registry)

    answer = review.run(number, job="job-1", mode="required", settings=settings)

    tags = run_tags(registry)
    assert answer == "pending"
    assert (tags[RunTag.OUTCOME], tags[RunTag.VERSION]) == ("awaiting_review", "1")
    assert registry.version_url(number) in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["none", "required"])
def test_a_rejected_version_ends_the_run_as_refused(
    settings: Settings, registry: Registry, mode: review.Mode
) -> None:
    """In either mode: a person has said no to this very version."""
    number = reviewed.register(registry)
    review.run(number, job="job-0", mode="required", settings=settings)
    reviewed.click(registry, number, "rejected")
    with pytest.raises(Refused):
        review.run(number, job="job-0", mode="required", settings=settings)

    with pytest.raises(Refused, match="version 1 was rejected in review"):
        review.run(number, job="job-1", mode=mode, settings=settings)

    tags = run_tags(registry)
    assert tags[RunTag.OUTCOME] == "refused"
    assert tags[RunTag.REASON].startswith("version 1 was rejected in review")


def test_what_a_person_rolled_back_ends_the_run_as_refused(
    settings: Settings, registry: Registry
) -> None:
    """Where no review is required: the run says who did so, and what brings the version back."""
    tags = {Tag.STATUS: "rolled_back", Tag.ROLLED_BACK_BY: "ada", Tag.ROLLOUT_REASON: "by hand"}
    number = reviewed.register(registry, **tags)

    with pytest.raises(Refused):
        review.run(number, job="job-1", mode="none", settings=settings)

    found = run_tags(registry)
    assert (found[RunTag.OUTCOME], found[RunTag.VERSION]) == ("refused", "1")
    assert found[RunTag.REASON] == (
        "version 1 was rolled back by ada and is not rolled out again by itself; "
        "`python -m pipeline approve 1` brings it back"
    )


def test_another_mode_is_refused(settings: Settings) -> None:
    """The message names what there is."""
    with pytest.raises(SettingsError, match="it must be 'none' or 'required'"):
        review.run(1, job="job-1", mode="maybe", settings=settings)  # type: ignore[arg-type]
