"""What MLflow's client, S3 and the disk raise, in our own form."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tenacity import retry, retry_if_exception, stop_after_attempt

from pipeline.errors import PipelineError, Unavailable

_DISK = "this machine's disk:"
_MAKE_ROOM = "make room or set TMPDIR to a disk that has some"
_PASSING = (
    "INTERNAL_ERROR",  # also what MLflow's client says of a refused or broken connection
    "TEMPORARILY_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
    "DEADLINE_EXCEEDED",
)


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise `Unavailable` for what may pass, `PipelineError` for what will not.

    Args:
        where: what was asked, such as `MLflow at http://…`; the text begins with it.
    """
    # botocore and MLflow take a second to import.
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in _PASSING:
            raise Unavailable(f"{where} does not answer: {_reason(error)}") from error
        if _collided(error):
            raise Unavailable(f"{where}: another wrote the same: {_reason(error)}") from error
        raise PipelineError(f"{where} refused: {_reason(error)}") from error
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if status >= 500 or status == 429:
            raise Unavailable(f"{where}: S3 does not answer: {_reason(error)}") from error
        raise PipelineError(f"{where}: S3 refused: {_reason(error)}") from error
    except (BotoCoreError, Boto3Error) as error:
        # boto3 gives what S3 said as text alone.
        if any(one in str(error) for one in ("(AccessDenied)", "(NoSuchBucket)", "credentials")):
            raise PipelineError(f"{where}: S3 refused: {_reason(error)}") from error
        raise Unavailable(f"{where}: S3 does not answer: {_reason(error)}") from error
    except OSError as error:
        if isinstance(error, shutil.Error):
            # Copying a folder goes on after a failure, and gives a list of them.
            failed: list[tuple[str, str, str]] = error.args[0]
            raise PipelineError(f"{where}: {_DISK} {failed[0][2]}; {_MAKE_ROOM}") from error
        # The requests library's errors are OSErrors too, without a number.
        if error.errno is None or isinstance(error, (ConnectionError, TimeoutError)):
            raise Unavailable(f"{where} does not answer: {_reason(error)}") from error
        # A full disk, a read-only one, a file too large for it.
        name = f" {error.filename}:" if error.filename else ""
        raise PipelineError(
            f"{where}: {_DISK}{name} {error.strerror or _reason(error)}; {_MAKE_ROOM}"
        ) from error


def _collided(error: BaseException) -> bool:
    """Whether MLflow was about to insert a row that another inserted first.

    It looks for a tag, an alias or a data set and then inserts it, without a lock, and of two that
    do so at once tells the later one of a bad request.
    """
    return getattr(error, "error_code", "") == "BAD_REQUEST" and "IntegrityError" in str(error)


@retry(retry=retry_if_exception(_collided), stop=stop_after_attempt(3), reraise=True)
def upsert(write: Callable[..., object], *values: str) -> None:
    """Set a tag or an alias; once more where another did so at the same moment."""
    write(*values)


@contextmanager
def unless(*codes: str) -> Iterator[None]:
    """Pass over MLflow's refusal with one of these codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in codes:
            raise


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
