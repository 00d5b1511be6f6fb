"""Tests of `pipeline.training` and `pipeline.training.trainer` with a tiny model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lifecycle
import numpy as np
import pytest

from pipeline import dataset, training
from pipeline.dataset import File, Row, Span
from pipeline.errors import SettingsError
from pipeline.settings import Settings
from pipeline.training import TrainParameters
from pipeline.training.checkpoints import Checkpoints
from predictor.engines import Engine, Window

QUICK = TrainParameters(max_steps=24, encoder_rate=1e-3, head_rate=1e-3, eval_every=8, patience=9)


@pytest.fixture(scope="module")
def engine(tiny_bert: Path) -> Engine:
    """A model that takes 64 words and 512 positions."""
    from predictor.engines.torch import TorchEngine

    return TorchEngine.load(tiny_bert, "cpu", "fp32")


def test_a_row_is_asked_for_its_labels_and_others_of_its_file(engine: Engine) -> None:
    """A file is asked for what its annotators marked, always in the same order."""
    rows = (
        Row(("Ada", "ran"), (Span(0, 0, "person"),), "a"),
        Row(("Oslo",), (Span(0, 0, "city"),), "a"),
    )
    file = File("a.jsonl", rows, ("city", "date", "person"))

    examples = training.examples([file], engine, QUICK.model_copy(update={"max_labels": 2}))
    again = training.examples([file], engine, QUICK.model_copy(update={"max_labels": 2}))

    assert examples == again
    assert "person" in examples[0]["ner_labels"]
    assert "city" in examples[1]["ner_labels"]
    assert all(len(one["ner_labels"]) == 2 for one in examples)


def test_words_are_those_that_are_served(engine: Engine) -> None:
    """ "U.S." is one word in a corpus and four to the model."""
    row = Row(("U.S.", "law"), (Span(0, 0, "country"),), "a")

    [example] = training.examples([File("a", (row,), ("country",))], engine, QUICK)

    assert example["tokenized_text"] == ["U", ".", "S", ".", "law"]
    assert example["ner"] == [[0, 3, "country"]]


def test_a_long_row_is_cut_beside_its_mentions(engine: Engine) -> None:
    """Nothing is lost beyond the model's longest text, and no mention is cut in two."""
    words = tuple(f"w{number}" for number in range(150))
    spans = (Span(62, 65, "x"), Span(60, 63, "y"), Span(149, 149, "x"))

    examples = training.examples([File("a", (Row(words, spans, "a"),), ("x", "y"))], engine, QUICK)

    assert [word for one in examples for word in one["tokenized_text"]] == list(words)
    assert [len(one["tokenized_text"]) for one in examples] == [60, 64, 26]
    assert [one["ner"] for one in examples] == [[], [[2, 5, "x"], [0, 3, "y"]], [[25, 25, "x"]]]


def test_a_key_changes_with_all_that_decides_the_weights() -> None:
    """A checkpoint of another training is never taken up."""
    keys = {
        training.key(*digests, parameters)
        for digests in (("b", "t", "e"), ("c", "t", "e"), ("b", "u", "e"), ("b", "t", "f"))
        for parameters in (QUICK, QUICK.model_copy(update={"seed": 1}))
    }

    assert len(keys) == 8
    assert training.key("b", "t", "e", QUICK) in keys


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "epoch.*known are epochs"),
        ({"batch_size": 0}, "batch_size: .*greater.*got 0"),
    ],
)
def test_a_wrong_parameter_is_named(values: Mapping[str, object], message: str) -> None:
    """A graph's argument is typed by hand."""
    with pytest.raises(SettingsError, match=message):
        TrainParameters.parse(values)


@pytest.mark.training
@pytest.mark.slow
def test_the_seed_alone_decides_the_weights(tiny_bert: Path, tmp_path: Path) -> None:
    """Trained twice, the loss falls the same way to the same weights."""
    from pipeline.training import trainer

    files = dataset.read(lifecycle.write_data(tmp_path / "data"))

    def train(seed: int, name: str) -> tuple[str, list[float]]:
        parameters = QUICK.model_copy(update={"seed": seed})
        model, engine = trainer.load(tiny_bert)
        rows = training.examples(files, engine, parameters)
        losses: list[float] = []
        trainer.fit(
            engine,
            model,
            rows,
            rows[:8],
            files,
            parameters=parameters,
            folder=tmp_path / name,
            checkpoints=Checkpoints(name, Settings(home=tmp_path)),
            log=lambda _, values: losses.extend(
                value for key, value in values.items() if key == "train_loss"
            ),
        )
        return lifecycle.weights(model), losses

    one, again, other = train(1, "one"), train(1, "again"), train(2, "other")

    assert one == again
    assert one[0] != other[0]
    assert one[1][-1] < one[1][0] / 2


def test_what_is_asked_between_steps_is_the_model_that_is_trained(tiny_bert: Path) -> None:
    """Another head, other scores: nothing of the weights as they were is kept."""
    import torch

    from pipeline.training import trainer

    model, engine = trainer.load(tiny_bert)
    window = Window(("Ada", "was", "born"), ("person",))
    [before] = engine.score([window])

    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    [after] = engine.score([window])

    assert np.abs(after - before).max() > 0.01
