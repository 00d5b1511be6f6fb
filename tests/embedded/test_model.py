"""The shipped model: its size, that it loads with no network, and what it finds."""

import pathlib
import subprocess
import sys
from typing import Any

import pytest
from gliner import GLiNER

from predictor import embedded

USUAL = ["person", "organization", "location", "date"]
FOLDER = embedded.path()


@pytest.fixture(scope="module")
def model() -> Any:
    return GLiNER.from_pretrained(str(FOLDER), local_files_only=True)


def found(model: Any, text: str, labels: list[str]) -> set[tuple[str, str]]:
    return {(e["text"], e["label"]) for e in model.predict_entities(text, labels)}


def test_the_folder_fits_in_git() -> None:
    """All files together take at most 25 MB."""
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) <= 25_000_000


def test_the_card_ships_with_the_model() -> None:
    """Data, licences and limits are written beside the weights."""
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")

    for heading in ("## Data", "## Scores", "## Limits", "## Recipe"):
        assert heading in card


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Asking for the path costs no torch."""
    code = "import sys, predictor.embedded as e; e.path(); assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, cwd=FOLDER.parents[2])


@pytest.mark.slow
def test_it_loads_with_no_network(tmp_path: pathlib.Path) -> None:
    """With every socket refused and an empty cache it still loads and predicts."""
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "socket.create_connection = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from gliner import GLiNER\n"
        f"model = GLiNER.from_pretrained({str(FOLDER)!r}, local_files_only=True)\n"
        "assert {p.dtype for p in model.model.parameters()} == {__import__('torch').float32}\n"
        "assert model.predict_entities('Marie Curie was born in Warsaw.', ['person'])\n"
    )
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=FOLDER.parents[2])


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        (
            "Ada Lovelace was born in London on 10 December 1815.",
            USUAL,
            {("Ada Lovelace", "person"), ("London", "location"), ("10 December 1815", "date")},
        ),
        (
            "Satya Nadella joined Microsoft in 1992.",
            ["person", "company", "date"],
            {("Satya Nadella", "person"), ("Microsoft", "company"), ("1992", "date")},
        ),
        (
            "Marta Kovalenko moved from Lisbon to Canada in March 2019.",
            ["person", "city", "country", "date"],
            {
                ("Marta Kovalenko", "person"),
                ("Lisbon", "city"),
                ("Canada", "country"),
                ("March 2019", "date"),
            },
        ),
        (
            "Write to ben.okri@example.org or call +1 212 555 0147.",
            ["person", "email", "phone number"],
            {("ben.okri@example.org", "email"), ("+1 212 555 0147", "phone number")},
        ),
    ],
)
def test_plain_sentences(
    model: Any, text: str, labels: list[str], expected: set[tuple[str, str]]
) -> None:
    """People, companies, places, dates and contact details of plain English are found exactly."""
    assert found(model, text, labels) == expected


def test_a_company_within_a_place_stays_a_company(model: Any) -> None:
    """A campus that bears a company's name makes the company no location."""
    entities = found(model, "We met on the Microsoft campus in Redmond.", ["company", "location"])

    assert entities == {("Microsoft", "company"), ("Redmond", "location")}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hello",
        "ok thanks",
        "it is raining",
        "asdf qwer zxcv",
        "lorem ipsum dolor sit amet",
        "!!!! ####",
        "12345 67890",
        "...",
    ],
)
def test_nothing_is_found_where_nothing_is(model: Any, text: str) -> None:
    """Empty, trivial and gibberish texts have no entities."""
    labels = ["person", "company", "organization", "location", "city", "product", "event"]

    assert found(model, text, labels) == set()


def test_a_word_of_marks_alone_does_not_shift_the_rest(model: Any) -> None:
    """An emoji's variation selector is a word to GLiNER, and entities after it keep their text."""
    text = "I \u2764\ufe0f this: Ada Lovelace was born in London."

    assert ("Ada Lovelace", "person") in found(model, text, USUAL)
