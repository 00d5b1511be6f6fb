"""An attempt at a step, inside its own process: again where that may help, else one line."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential

from pipeline import settings as settings_of
from pipeline.errors import NotServing, PipelineError, Refused, Unavailable
from pipeline.progress import say
from pipeline.runs import trace
from pipeline.runs.outcome import FAILED

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


def call(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step. It may run more than once, so it must be idempotent, as all steps are.

    A server that does not answer gets `http_retries` more chances, with growing pauses. When
    the step fails for good, the process ends with the error's exit code, says
    `error N: reason`, and leaves the reason on the MLflow run where that can be reached.
    """
    try:
        return _patiently(step, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - a bug of ours ends in one line too, after its traceback
        failure = _failure(error)
    _note(failure, str(kwargs.get("job", "")), step)
    say(f"error {failure.exit_code}: {_line(failure)}")
    sys.exit(failure.exit_code)


def answer(step: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> str:
    """As `call`, for a step whose no is an answer as well: `refused`."""

    @wraps(step)
    def ask(*args: P.args, **kwargs: P.kwargs) -> str:
        try:
            return step(*args, **kwargs)
        except Refused as refusal:
            say(_line(refusal))
            return "refused"

    return call(ask, *args, **kwargs)


def call_softly(step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run a step that must not fail the run, such as sending a message."""
    try:
        _patiently(step, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run itself went as it went
        say(f"not done: {_line(_failure(error))}")


def patience(retries: int) -> Retrying:
    """Calls a function, and again with growing pauses while a server does not answer."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0
        say(f"{_line(error)}; again in {pause:.0f} s")

    return Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_attempt(retries + 1),
        wait=wait_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
        before_sleep=tell,
        reraise=True,
    )


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, NotServing)


def _patiently(step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    with trace.step(_name(step), str(kwargs.get("job", ""))):
        return patience(settings_of.load().http_retries)(step, *args, **kwargs)


def _name(step: Callable[..., object]) -> str:
    return step.__module__.rpartition(".")[2]


def _failure(error: Exception) -> PipelineError:
    if isinstance(error, PipelineError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return PipelineError(f"the disk is full; could not write {error.filename or 'a file'}")
    traceback.print_exception(error)
    return PipelineError(f"a bug: {type(error).__name__}; its traceback is in the step's log")


def _note(failure: PipelineError, job: str, step: Callable[..., object]) -> None:
    """Leave the reason where `status` and messages look for it."""
    from pipeline.registry import Registry, RunTag

    if not job:
        return

    # Where MLflow is what failed, the log has the reason all the same.
    with suppress(PipelineError):
        registry = Registry(settings_of.load())
        registry.note(
            registry.run(job).info.run_id,
            {RunTag.OUTCOME: FAILED, RunTag.STEP: _name(step), RunTag.REASON: _line(failure)},
        )


def _line(error: BaseException | None) -> str:
    return " ".join(str(error).split())
