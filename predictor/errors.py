"""Every mistake a caller can meet, once, whatever the protocol.

Nothing here knows HTTP or gRPC libraries: a status is a number and a name, which the edges
(`guard`, `routes`, `server`) translate. `docs/errors.md` shows the same table to people.
"""

from __future__ import annotations

from typing import ClassVar


def quote(value: str) -> str:
    """A caller's word in a message: no more of it than a reader needs."""
    return repr(_cut(value, 40))


def _cut(value: str, most: int) -> str:
    return value if len(value) <= most else value[: most - 1] + "…"


class NerError(Exception):
    """The root of our errors: its text is for the caller and never for a log."""

    kind: ClassVar[str] = "internal"
    """A stable word for programs and metrics."""
    http: ClassVar[int] = 500
    grpc: ClassVar[str] = "INTERNAL"

    retry_after: int | None = None
    """Seconds after which another try makes sense, where one does."""


class Internal(NerError):
    """Something of ours broke. The reason is in the log, under the request id."""

    def __init__(self) -> None:
        super().__init__("internal error; the server's log has the reason under this request id")


class InvalidRequest(NerError):
    """The request cannot be understood or is out of bounds.

    Args:
        reason: what is wrong and what would be right.
        field: the field's name, if it is one field's fault.
        instance: the index of the text at fault, if it is one text's fault.
    """

    kind = "invalid_request"
    http = 400
    grpc = "INVALID_ARGUMENT"

    def __init__(self, reason: str, field: str | None = None, instance: int | None = None) -> None:
        self.reason, self.field, self.instance = reason, field, instance
        where = [] if instance is None else [f"instance {instance}"]
        super().__init__(": ".join([*where, *([_cut(field, 80)] if field else []), reason]))

    def without_index(self) -> InvalidRequest:
        """The same for endpoints that take one text, where an index would puzzle."""
        return InvalidRequest(self.reason, self.field)

    def at(self, instance: int) -> InvalidRequest:
        """The same, said of one text of several."""
        return InvalidRequest(self.reason, self.field, instance)


class Unauthenticated(NerError):
    """An API key is needed, and there is none or one that is not known."""

    kind = "unauthenticated"
    http = 401
    grpc = "UNAUTHENTICATED"


class Forbidden(NerError):
    """A door that this server keeps shut."""

    kind = "forbidden"
    http = 403
    grpc = "PERMISSION_DENIED"


class NotFound(NerError):
    """No such model or page."""

    kind = "not_found"
    http = 404
    grpc = "NOT_FOUND"


class UnknownModel(NotFound):
    """A model name that is not served here."""

    def __init__(self, name: str, known: str) -> None:
        super().__init__(f"model {quote(name)} is not served here; the model is {known!r}")


class MethodNotAllowed(NerError):
    """The address exists, the HTTP method does not."""

    kind = "method_not_allowed"
    http = 405
    grpc = "UNIMPLEMENTED"

    def __init__(self, allow: str) -> None:
        self.allow = allow
        super().__init__(f"this address takes {allow or 'another method'}")


class TooLarge(NerError):
    """The body is over the limit, and was not read to its end."""

    kind = "too_large"
    http = 413
    grpc = "RESOURCE_EXHAUSTED"

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body is over {limit} bytes; send fewer or shorter texts in a request"
        )


class Busy(NerError):
    """The queue is full.

    Args:
        waiting: how much waits.
        seconds: after which there is likely room.
        own: seconds of work that the request itself is.
    """

    kind = "busy"
    http = 429
    grpc = "RESOURCE_EXHAUSTED"

    def __init__(self, waiting: str, seconds: int, own: float = 0.0) -> None:
        self.retry_after = seconds
        large = f" and this request is {own:.0f} s more" if own >= 1 else ""
        super().__init__(f"{waiting} are already waiting{large}; try again in {seconds} s")


class Unsupported(NerError):
    """A part of a protocol that this model has no use for."""

    kind = "unsupported"
    http = 501
    grpc = "UNIMPLEMENTED"


class NoVersions(Unsupported):
    """A version of the model was asked for."""

    def __init__(self) -> None:
        super().__init__("Model versioning not supported yet.")  # KServe's words, where it asks


class NotServing(NerError):
    """The model is loading, or the server is about to stop."""

    kind = "not_serving"
    http = 503
    grpc = "UNAVAILABLE"
    retry_after = 1

    def __init__(self, reason: str = "the server is stopping; send this to another replica"):
        super().__init__(reason)


class DeadlineExceeded(NerError):
    """The time for this request ran out; work that remained was not done."""

    kind = "deadline_exceeded"
    http = 504
    grpc = "DEADLINE_EXCEEDED"

    def __init__(
        self,
        seconds: float,
        what: str = "not finished",
        helps: str = "send fewer or shorter texts",
    ) -> None:
        super().__init__(f"{what} within {seconds:g} s; {helps}, or allow more time")


class SlowBody(DeadlineExceeded):
    """The time ran out before the body was read to its end."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, "the body was not read to its end", "send it faster")


class StartupError(Exception):
    """The process cannot start; its text is the one line that the operator sees.

    Args:
        reason: what is wrong; of a library's text of several lines the first is kept.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason.strip().partition("\n")[0])


class BundleError(StartupError):
    """A model source cannot be found, trusted or loaded."""


class Missing(BundleError):
    """The registry answers, and knows no such model, alias or version."""


class Unavailable(BundleError):
    """The registry, its file store or the disk fails just now. Trying again may help."""


TABLE: tuple[type[NerError], ...] = (
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    Busy,
    Internal,
    Unsupported,
    NotServing,
    DeadlineExceeded,
)
"""Every kind of error a caller can see, by status."""
