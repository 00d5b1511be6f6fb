"""Whose turn it is: fair to short requests and to long ones, and how much work waits."""

from __future__ import annotations

import math

import fakes
import pytest

from predictor.budget import Budget
from predictor.extraction import Extractor, Label, Query
from predictor.line import SHORT, Ask, Line

LABELS = (Label("name", "name", 0.5),)
EXTRACTOR = Extractor(fakes.FakeEngine(fakes.names_and_numbers), window_overlap=6)


def ask_in(line: Line, text: str) -> Ask:
    """A request with the windows of one text in line."""
    queries = [Query(text, LABELS, flat_ner=True, multi_label=False)]
    ask = Ask(EXTRACTOR, iter(()), lambda _: None, 0, 0, math.inf)
    rows = [row for reading in EXTRACTOR.read(queries) for row in reading.rows]
    line.owe(ask, sum(row.positions for row in rows))
    line.join(ask, rows)
    return ask


def long(line: Line) -> Ask:
    return ask_in(line, "word " * 2000)


def short(line: Line) -> Ask:
    return ask_in(line, "three short words")


def take(line: Line) -> Ask:
    """Whose turn it is, in a line whose batches are of one window."""
    [one] = line.take(1)
    return one.ask


@pytest.fixture
def line() -> Line:
    return Line(1, Budget(windows=1, positions=1000))


def test_first_come_first_served(line: Line) -> None:
    """Short requests keep their order."""
    asks = [short(line) for _ in range(5)]

    assert [take(line) for _ in asks] == asks
    assert line.take(1) == []


def test_who_comes_passes_those_who_have_had_a_turn(line: Line) -> None:
    """A long document that had the engine to itself waits for whoever comes, each time."""
    document = long(line)

    order, newcomers = [], []
    for _ in range(10):
        order += [take(line), take(line)]
        newcomers.append(short(line))
        order.append(take(line))

    assert order == [one for newcomer in newcomers for one in (document, document, newcomer)]


@pytest.mark.parametrize("longs", [1, 3])
def test_long_documents_keep_their_share(line: Line, longs: int) -> None:
    """However many short requests wait, each long one gets the share of one among them all."""
    documents = [long(line) for _ in range(longs)]
    waiting = [short(line) for _ in range(20)]
    work = dict.fromkeys(documents, 0)
    rest = 0

    for turn in range(2000):
        [one] = line.take(1)
        if one.ask in work:
            work[one.ask] += one.positions
        else:
            rest += one.positions
            waiting.append(short(line))
        if turn == 200:  # those who were there before have had their turn
            work, rest = dict.fromkeys(documents, 0), 0
        if all(len(document.waiting) < 5 for document in documents):
            break

    share = (sum(work.values()) + rest) / (1 + longs)
    assert rest == pytest.approx(share, rel=0.2)
    assert list(work.values()) == pytest.approx([share] * longs, rel=0.2)


def test_long_documents_share_alike(line: Line) -> None:
    """One that comes later does not wait for the end of the one before, nor pass it."""
    one, other = long(line), None
    for _ in range(20):
        take(line)
    other = long(line)

    served = [take(line) for _ in range(40)]

    assert served.count(one) == pytest.approx(served.count(other), abs=2)


def test_windows_of_several_requests_share_a_batch() -> None:
    """Others of a like length come along, whoever's turn it is."""
    line = Line(1, Budget(windows=8, positions=1000))
    document = long(line)
    line.take(1)
    asks = [short(line), short(line)]

    batch = line.take(3)

    assert {one.ask for one in batch} == {*asks, document}


def test_work(line: Line) -> None:
    """Work is what is in line; a long request counts little for a short one."""
    document, ask = long(line), short(line)
    sizes = (document.work, ask.work)
    before = (line.work(), line.work(before_short=True))

    line.leave(document)

    assert before == (sum(sizes), SHORT + ask.work)
    assert line.work() == line.work(before_short=True) == ask.work
    assert [take(line)] == [ask]
    assert line.take(1) == []


def test_rate(line: Line) -> None:
    """How long work takes is learned from batches."""
    for _ in range(200):
        line.took(positions=100, seconds=0.5)

    assert line.rate == pytest.approx(0.005, rel=0.01)
