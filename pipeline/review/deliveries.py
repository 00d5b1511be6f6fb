"""Deliveries of MLflow's webhooks: signed by it, fresh, and each taken once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import Unavailable

TOLERANCE_SECONDS = 300.0
"""How far the clocks of MLflow and this machine may be apart, and how late a delivery may be."""
_KEPT_SECONDS = 3_600.0
_VERSION = "v1"


class Rejected(Exception):
    """A delivery that is not taken.

    Attributes:
        status: for the answer. MLflow tries again after 429, 500, 502, 503 and 504 only.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery whose signature and time are right.

    Attributes:
        id: MLflow's own; a delivery that it tries again has the same.
        taken_at: seconds since the epoch by this machine's clock.
    """

    id: str
    taken_at: float


def check(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> Delivery:
    """Whether MLflow sent this just now.

    Raises:
        Rejected: 401 without a right signature, 403 where the clocks disagree.
    """
    given = headers.get("x-mlflow-signature", "")
    stamp = headers.get("x-mlflow-timestamp", "")
    delivery = headers.get("x-mlflow-delivery-id", "")
    if not (given and stamp and delivery):
        raise Rejected(
            401, "X-MLflow-Signature, X-MLflow-Timestamp and X-MLflow-Delivery-Id are needed"
        )
    signed = f"{delivery}.{stamp}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    right = f"{_VERSION},{base64.b64encode(digest).decode()}"
    # As bytes: `compare_digest` refuses text that is not ASCII.
    if not hmac.compare_digest(given.encode(), right.encode()):
        raise Rejected(401, "the signature is wrong; is PIPELINE_WEBHOOK_SECRET the webhook's?")
    if not (stamp.isascii() and stamp.isdigit()):
        raise Rejected(401, "X-MLflow-Timestamp is no number of seconds")
    ahead = int(stamp) - now
    if abs(ahead) > TOLERANCE_SECONDS:
        side = "ahead of" if ahead > 0 else "behind"
        raise Rejected(
            403,
            f"the delivery's time is {abs(ahead):.0f} s {side} this machine's clock, which is more "
            f"than {TOLERANCE_SECONDS:.0f} s: it is old, or a clock is wrong",
        )
    return Delivery(delivery, now)


class Deliveries:
    """Which deliveries were taken; in a file, so that a restart forgets none.

    Args:
        file: a small SQLite database, made where there is none.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def take(self, delivery: Delivery) -> None:
        """Note it as taken.

        Raises:
            Rejected: 409, it was taken before.
            Unavailable: the file cannot be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=5)) as database, database:
                database.execute(
                    "CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, at REAL NOT NULL)"
                )
                # Older ones are refused by their time, whatever their id.
                database.execute(
                    "DELETE FROM deliveries WHERE at < ?", (delivery.taken_at - _KEPT_SECONDS,)
                )
                database.execute(
                    "INSERT INTO deliveries VALUES (?, ?)", (delivery.id, delivery.taken_at)
                )
        except sqlite3.IntegrityError:
            raise Rejected(409, "this delivery was taken before") from None
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"{self._file} cannot be written: {error}") from error
