"""Running a model over data: what is read at a low threshold, and how it is timed."""

from __future__ import annotations

from pathlib import Path

import fakes
import labelled
import pytest

from pipeline import scoring
from pipeline.dataset import Row, read
from pipeline.errors import DataError, PipelineError
from pipeline.measuring import measure
from pipeline.measuring.measure import Text
from predictor.engines import Limits
from predictor.extraction import Extractor, Label, Query


def texts(folder: Path, *rows: dict[str, object]) -> list[Text]:
    labelled.write(folder / "a.jsonl", rows)
    return measure.texts(read(folder))


def fake(limits: Limits | None = None) -> Extractor:
    return Extractor(fakes.FakeEngine(fakes.names_and_numbers, limits))


def test_texts_know_their_labels_and_their_place(tmp_path: Path) -> None:
    """Each is asked for the labels of its own file."""
    labelled.write(tmp_path / "b.jsonl", [labelled.row("in Oslo", ("Oslo", "city"))])

    rows = [labelled.row("He ran"), labelled.row("Ada ran", ("Ada", "name"))]
    [_, ours, theirs] = texts(tmp_path, *rows)

    assert (ours.text, ours.labels, ours.place) == ("Ada ran", ("name",), "a.jsonl line 2")
    assert (theirs.labels, theirs.words) == (("city",), 2)


def test_what_a_model_gives_is_read_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With scores, in characters, and a line about progress."""
    asked = texts(tmp_path, labelled.row("see Ada Lovelace", ("Ada Lovelace", "name")))

    [found] = measure.read(fake(), asked, "candidate")

    assert [tuple(one)[:3] for one in found] == [(4, 16, "name")]
    assert found[0].score == pytest.approx(0.8)
    assert "candidate: 1 of 1 texts read" in capsys.readouterr().out


def test_long_texts_are_read_in_windows_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no error, and what is behind the first window is found."""
    long = labelled.row(f"{'so ' * 60}Ada ran", ("Ada", "name"))
    asked = texts(tmp_path, long, labelled.row("He ran"))

    [first, _] = measure.read(fake(), asked, "candidate")

    assert [one.label for one in first] == ["name"]
    assert "1 of 2 texts are longer than the 20 words" in capsys.readouterr().out


def test_labels_that_a_model_has_no_room_for_are_named_by_place(tmp_path: Path) -> None:
    """The message says where, and nothing of the text."""
    labels = [(f"w{index}", f"label {index}") for index in range(40)]
    asked = texts(tmp_path, labelled.row(" ".join(word for word, _ in labels), *labels))

    with pytest.raises(
        DataError, match=r"^a\.jsonl line 1: the model cannot be asked this"
    ) as caught:
        measure.read(fake(Limits(words=20, width=3, positions=30)), asked, "candidate")

    assert "w39" not in str(caught.value)


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_higher_thresholds_follow_from_the_lowest(embedded: Extractor, threshold: float) -> None:
    """What was read once and filtered is what asking again at that threshold gives."""
    rows = [
        "Ada Lovelace of London met Jordan in Paris near the Charlotte Bank on Sunday",
        "Apple and Orange signed with Amazon in Georgia while Paris Hilton watched Turkey play",
        "the bank of England said on Monday that Mr Brown of Reading lent May a book",
    ]
    labels = ("person", "city", "company", "country", "date", "organization", "product")
    asked = [Text(text, labels, Row(tuple(text.split()), (), "x"), "") for text in rows]

    found = measure.read(embedded, asked, "model")
    again = embedded.extract([one.query(threshold) for one in asked])

    for low, high in zip(found, again, strict=True):
        mentions = {(one.start, one.end, one.label) for one in high.entities}
        assert scoring.given(low, threshold) == mentions
    assert sum(map(len, found)) > 12


class Slow(Extractor):
    """Takes a known time for each text."""

    def __init__(self, seconds: float, calls: list[str], name: str) -> None:
        super().__init__(fakes.FakeEngine(fakes.names_and_numbers))
        self.seconds, self.calls, self.name = seconds, calls, name

    def extract(self, queries: object) -> list[object]:  # type: ignore[override]
        import time

        self.calls.append(self.name)
        time.sleep(self.seconds)
        return []


def test_latency_is_measured_in_turns(tmp_path: Path) -> None:
    """One text at a time, models alternating, after a warm-up that does not count."""
    calls: list[str] = []
    asked = texts(tmp_path, *(labelled.row(f"text {index}") for index in range(8)))
    models = [Slow(0.004, calls, "a"), Slow(0.012, calls, "b")]

    quick, slow = measure.latency(models, asked)

    assert calls[10:] == ["a", "b", "b", "a"] * 4
    assert 4 <= quick.p50_ms <= quick.p95_ms <= quick.p99_ms
    assert slow.p50_ms >= 12 > quick.p50_ms
    assert slow.texts_per_second < 84


def test_latency_of_many_texts_takes_some_from_all_over(tmp_path: Path) -> None:
    """A bounded number, the last parts of the data among them."""
    calls: list[str] = []
    asked = texts(tmp_path, *(labelled.row(f"text {index}") for index in range(450)))

    measure.latency([Slow(0, calls, "a")], asked)

    assert len(calls) == measure.TIMED + 5


def test_a_folder_without_a_model_is_an_error_of_ours(tmp_path: Path) -> None:
    """In one line, with the folder."""
    with pytest.raises(PipelineError, match=rf"cannot be loaded: {tmp_path}: no gliner_config"):
        measure.load(tmp_path)


def test_a_bundle_is_loaded_as_the_predictor_loads_it(tiny_bert: Path) -> None:
    """It answers, however sure of everything it is."""
    extractor = measure.load(tiny_bert)
    query = Query("Ada " * 30, (Label("a", "a", 0.0), Label("b", "b", 0.0)), True, False)

    [found] = extractor.extract([query])

    assert extractor.engine.precision == "fp32"
    assert found.words == 30
