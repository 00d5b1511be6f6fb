"""Which deliveries are MLflow's, fresh and new."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from pipeline.review.deliveries import Deliveries, Delivery, Rejected, check

NOW = 1_800_000_000.0
BODY = '{"entity": "model_version_tag", "é": 1}'.encode()


def headers(
    secret: str = "s3cret", stamp: str = "1800000000", name: str = "id-1"
) -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{name}.{stamp}.".encode() + BODY, hashlib.sha256).digest()
    return {
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
        "x-mlflow-timestamp": stamp,
        "x-mlflow-delivery-id": name,
    }


def test_a_delivery_of_mlflows_own_signing_is_taken() -> None:
    """Both sides compute the same."""
    from mlflow.webhooks.delivery import _generate_hmac_signature

    theirs = _generate_hmac_signature("s3cret", "id-1", "1800000000", BODY.decode())

    assert theirs == headers()["x-mlflow-signature"]
    assert check("s3cret", headers(), BODY, NOW) == Delivery("id-1", NOW)


@pytest.mark.parametrize(
    "change",
    [
        {"x-mlflow-signature": ""},
        {"x-mlflow-timestamp": ""},
        {"x-mlflow-delivery-id": ""},
        {"x-mlflow-signature": headers("other")["x-mlflow-signature"]},
        {"x-mlflow-signature": headers()["x-mlflow-signature"].replace("v1,", "v2,")},
        {"x-mlflow-signature": "v1,ünicode"},
        {"x-mlflow-timestamp": "1800000001"},
        {"x-mlflow-delivery-id": "id-2"},
    ],
    ids=lambda change: " ".join(change),
)
def test_what_is_not_signed_by_mlflow_is_refused(change: dict[str, str]) -> None:
    """Id, time and body are all under the signature."""
    with pytest.raises(Rejected) as refusal:
        check("s3cret", {**headers(), **change}, BODY, NOW)

    assert refusal.value.status == 401
    assert "s3cret" not in str(refusal.value)


def test_a_changed_body_is_refused() -> None:
    """One byte is enough."""
    with pytest.raises(Rejected, match="the signature is wrong"):
        check("s3cret", headers(), BODY + b" ", NOW)


@pytest.mark.parametrize(("ahead", "word"), [(301, "behind"), (-301, "ahead of")])
def test_clocks_that_disagree_are_named(ahead: float, word: str) -> None:
    """The answer says by how much, and on which side."""
    with pytest.raises(Rejected, match=f"301 s {word} this machine's clock") as refusal:
        check("s3cret", headers(), BODY, NOW + ahead)

    assert refusal.value.status == 403


@pytest.mark.parametrize("ahead", [-299, 299])
def test_clocks_may_disagree_a_little(ahead: float) -> None:
    """Five minutes on either side."""
    delivery = check("s3cret", headers(), BODY, NOW + ahead)

    assert delivery.id == "id-1"


def test_a_time_that_is_no_number_is_refused() -> None:
    """Also where it is signed."""
    with pytest.raises(Rejected, match="no number of seconds"):
        check("s3cret", headers(stamp="1e9"), BODY, NOW)


def test_a_delivery_is_taken_once_also_after_a_restart(tmp_path: Path) -> None:
    """What was taken stands in a file."""
    file = tmp_path / "home" / "deliveries.sqlite"
    Deliveries(file).take(Delivery("id-1", NOW))

    with pytest.raises(Rejected) as refusal:
        Deliveries(file).take(Delivery("id-1", NOW + 60))

    assert refusal.value.status == 409


def test_old_deliveries_are_forgotten(tmp_path: Path) -> None:
    """Their time alone refuses them by then."""
    import sqlite3

    file = tmp_path / "deliveries.sqlite"
    for number in range(3):
        Deliveries(file).take(Delivery(f"id-{number}", NOW))
    Deliveries(file).take(Delivery("id-9", NOW + 3_601))

    with sqlite3.connect(file) as database:
        kept = database.execute("SELECT id FROM deliveries").fetchall()
    database.close()
    assert kept == [("id-9",)]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """MLflow is to try again, and the operator to read why."""
    (tmp_path / "home").write_text("a file, not a folder")

    with pytest.raises(Unavailable, match=r"deliveries\.sqlite cannot be written"):
        Deliveries(tmp_path / "home" / "deliveries.sqlite").take(Delivery("id-1", NOW))
