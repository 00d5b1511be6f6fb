"""The exit handler: Slack hears what the run came to, and MLflow that it has ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline import slack
from pipeline.errors import PipelineError
from pipeline.progress import say
from pipeline.registry import Registry, RunTag, Tag, Version
from pipeline.review.tags import OPEN, ReviewTag
from pipeline.runs.attempt import patience
from pipeline.runs.outcome import FAILED
from pipeline.settings import Settings, load
from pipeline.slack import messages
from pipeline.slack.messages import Facts, Message
from pipeline.slack.messenger import Messenger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

SUCCEEDED = ("SUCCEEDED", "SKIPPED")
CANCELLED = ("CANCELLED", "CANCELED", "CANCELLING")
MOST_RETRIES = 2
"""Slack must hear before the step's own time is over, also where MLflow takes and never answers."""
_FOREIGN = re.compile(r"[A-Z]\w*(?:Error|Exception|Interrupt|Exit)")


def run(*, job: str, state: str, error: str = "", settings: Settings | None = None) -> None:
    """Tell Slack what the run came to, and mark the MLflow run as ended.

    A run never fails by its messenger: MLflow is waited for, and where it stays down the
    message is short; with Slack down there is a line in the log. Run again, it tells nothing
    twice.

    Args:
        state: Kubeflow's final state: SUCCEEDED, FAILED, CANCELLED and so on.
        error: what Kubeflow says about a failure; only our own one-line errors are quoted,
            since another text could hold users' data.
    """
    settings = settings or load()
    state = state.upper()
    messenger = Messenger(Registry(settings))
    try:
        retries = min(settings.http_retries, MOST_RETRIES)
        run_of, version, message = patience(retries)(_ended, messenger, job, state, error)
    except PipelineError as trouble:
        say(f"MLflow could not be asked about this run: {trouble}")
        slack.send(_short(settings, state, error), settings)
        return
    try:
        if message.kind == "review_asked" and version is not None:
            # The review step told it already, unless Slack was down just then.
            messenger.about_version(version, message, version.tags[Tag.REVIEW_ASKED_AT])
        else:
            messenger.about_run(run_of, message)
        _tell_of_thresholds(messenger, version, run_of)
    except PipelineError as trouble:
        say(f"MLflow could not be asked about thresholds: {trouble}")


def _ended(
    messenger: Messenger, job: str, state: str, error: str
) -> tuple[Run, Version | None, Message]:
    run_of, version = _finish(messenger.registry, job, state)
    return run_of, version, _message(messenger, version, run_of, state, error)


def _finish(registry: Registry, job: str, state: str) -> tuple[Run, Version | None]:
    run_of = registry.run(job)
    registry.finish(
        run_of.info.run_id,
        "FINISHED" if state in SUCCEEDED else "KILLED" if state in CANCELLED else "FAILED",
    )
    number = run_of.data.tags.get(RunTag.VERSION, "")
    return run_of, registry.version(int(number)) if number.isdigit() else None


def _message(
    messenger: Messenger, version: Version | None, run_of: Run, state: str, error: str
) -> Message:
    facts = messenger.facts(version, run_of)
    tags: Mapping[str, str] = run_of.data.tags
    of_version: Mapping[str, str] = {} if version is None else version.tags
    outcome, reason = tags.get(RunTag.OUTCOME, ""), tags.get(RunTag.REASON, "")
    if outcome == "refused":
        checks = reason or of_version.get(Tag.GATE_REASON, "")
        return messages.refused(facts, checks.split("; "))
    if outcome == "rolled_back":
        return messages.rolled_back(facts, reason or of_version.get(Tag.ROLLOUT_REASON, ""))
    if state in CANCELLED:
        return messages.cancelled(facts)
    if state not in SUCCEEDED:
        # A step that was killed leaves nothing, and what an earlier attempt left still counts.
        step = tags.get(RunTag.STEP, "")
        return messages.failed(facts, step, reason if outcome == FAILED else quotable(error))
    if outcome == "awaiting_review" and of_version.get(ReviewTag.DECISION) == OPEN:
        return messages.review_asked(facts, messenger.settings.review_hours)
    return messages.promoted(facts) if outcome == "promoted" else messages.evaluated(facts)


def _tell_of_thresholds(messenger: Messenger, version: Version | None, run_of: Run) -> None:
    champion = messenger.registry.champion()
    if version is not None:
        serving = champion is not None and champion.number == version.number
        messenger.thresholds(version, run_of, serving=serving)
    if champion is not None and (version is None or champion.number != version.number):
        messenger.thresholds(champion, run_of, serving=True)


def _short(settings: Settings, state: str, error: str) -> Message:
    """All that can be said without MLflow."""
    links = (("MLflow", settings.mlflow_url), ("Dashboard", settings.dashboard_url))
    facts = Facts(settings.model_name, links=links)
    if state in SUCCEEDED:
        return messages.unseen(facts)
    if state in CANCELLED:
        return messages.cancelled(facts)
    return messages.failed(facts, "", quotable(error))


def quotable(error: str) -> str:
    """The one line of an error that a message may hold."""
    ours = {one.__name__ for one in _family(PipelineError)}
    for line in reversed(error.splitlines()):
        name, _, text = line.strip().partition(": ")
        kind = name.rpartition(".")[2]
        if text and kind in ours:
            return text
        if _FOREIGN.fullmatch(kind):
            return f"{kind}; the step's log says more"
    return "the step's log says more"


def _family(kind: type[PipelineError]) -> list[type[PipelineError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in _family(child))]
