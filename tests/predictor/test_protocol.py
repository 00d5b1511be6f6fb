"""What requests mean, and what is wrong with those that mean nothing."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from predictor import presets
from predictor.errors import InvalidRequest
from predictor.extraction import Entity, Extraction, Query
from predictor.json_body import load_json
from predictor.protocol import Parser, v1_answer
from predictor.settings import Settings
from predictor.tensors import Tensor, answer, check_outputs


def parser(**settings: Any) -> Parser:
    return Parser(Settings(**settings), presets.load(None), ("<<ENT>>", "<<SEP>>"))


def v1(*instances: Any, settings: dict[str, Any] | None = None, **parameters: Any) -> list[Query]:
    body = {"instances": list(instances), "parameters": parameters}
    return parser(**(settings or {})).v1(body)


def texts(*data: Any, shape: list[int] | None = None, name: str = "text") -> Tensor:
    return Tensor(name, "BYTES", [len(data)] if shape is None else shape, list(data))


def names(query: Query) -> list[str]:
    return [label.name for label in query.labels]


def test_own_options_before_parameters_before_settings() -> None:
    """What an instance does not say comes from the parameters, then from the settings."""
    bare, own = v1(
        "a",
        {"text": "b", "labels": ["city"], "threshold": 0.9, "flat_ner": True},
        settings={"multi_label": True},
        labels=["person"],
        threshold=0.2,
        flat_ner=False,
    )

    assert (names(bare), bare.labels[0].threshold) == (["person"], 0.2)
    assert (bare.flat_ner, bare.multi_label) == (False, True)
    assert (names(own), own.labels[0].threshold) == (["city"], 0.9)
    assert (own.flat_ner, own.multi_label) == (True, True)


@pytest.mark.parametrize(
    ("labels", "pairs"),
    [
        (["person", "city"], [("person", "person"), ("city", "city")]),
        ({"person": None, "drug": "a medicine"}, [("person", "person"), ("drug", "a medicine")]),
        ({"person": ""}, [("person", "person")]),
        ("contact", None),
    ],
)
def test_forms_of_labels(labels: Any, pairs: list[tuple[str, str]] | None) -> None:
    """A list, an object with descriptions, or a preset."""
    [query] = v1("a", labels=labels)

    if pairs is None:
        assert "phone number" in names(query)
    else:
        assert [(label.name, label.prompt) for label in query.labels] == pairs


def test_labels_of_the_server() -> None:
    """An operator's labels, a preset or a list, serve where a request names none."""
    [preset] = v1("a", settings={"labels": "general"})
    [listed] = v1("a", settings={"labels": "ship, harbour"})

    assert "event" in names(preset)
    assert names(listed) == ["ship", "harbour"]


def test_thresholds_by_label() -> None:
    """Single labels have thresholds of their own, an instance's before the parameters'."""
    [query] = v1(
        {"text": "a", "thresholds": {"city": 0.9}},
        labels=["city", "person", "date"],
        threshold=0.3,
        thresholds={"city": 0.1, "person": 0.2},
    )

    assert [label.threshold for label in query.labels] == [0.9, 0.2, 0.3]


def test_v2_is_v1() -> None:
    """Texts, labels, per-text options and scalar parameters mean what they mean in V1."""
    tensors = [
        texts(b"Ada", "Bo"),
        texts("person", "city", name="labels"),
        texts("{}", '{"labels": {"date": null}, "threshold": 0.1}', name="options"),
    ]

    queries = parser().v2(tensors, {"threshold": "0.25", "flat_ner": False})

    assert queries == v1(
        "Ada",
        {"text": "Bo", "labels": {"date": None}, "threshold": 0.1},
        labels=["person", "city"],
        threshold=0.25,
        flat_ner=False,
    )


@pytest.mark.parametrize("labels", ['["person"]', '{"person": null}', "general"])
def test_v2_labels_as_a_parameter(labels: str) -> None:
    """Parameters are scalars, so lists and objects travel as JSON and presets by name."""
    [query] = parser().v2([texts("Ada")], {"labels": labels, "binary_data_output": True})

    assert names(query)[0] == "person"


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2]])
def test_v2_shapes(shape: list[int]) -> None:
    """A row or a column of texts is a list of texts."""
    assert len(parser().v2([texts("a", "b", shape=shape)], {"labels": "general"})) == 2


def test_v2_columns() -> None:
    """Columns hold an element for each entity of all texts, with the text's row."""
    entity = Entity("Ada", "person", 2, 5, 0.75)
    results = [Extraction((), 0, 0), Extraction((entity,), 3, 1)]

    columns = answer(results, ["row", "start", "end", "label", "text", "score", "words"])

    assert [one.data for one in columns] == [[1], [2], [5], ["person"], ["Ada"], [0.75], [0, 3]]
    assert columns[0].shape == [1]
    assert [one.datatype for one in columns][3:6] == ["BYTES", "BYTES", "FP32"]


def test_v1_answer() -> None:
    """A prediction for each text, in the order asked."""
    result = Extraction((Entity("Ada", "person", 0, 3, 0.5),), 1, 1)

    assert json.loads(orjson.dumps(v1_answer([result]))) == {
        "predictions": [
            {
                "entities": [
                    {"text": "Ada", "label": "person", "start": 0, "end": 3, "score": 0.5}
                ],
                "words": 1,
                "windows": 1,
            }
        ]
    }


MISTAKES: list[tuple[Any, str]] = [
    ([], 'the body must be a JSON object with "instances"'),
    ({}, "instances: is required"),
    ({"instances": []}, "instances: must not be empty"),
    ({"instances": "a"}, "instances: must be a list, got a string"),
    ({"instances": [7]}, "instance 0: must be a string or an object with a text, got 7"),
    ({"instances": [{}]}, "instance 0: text: is required"),
    ({"instances": ["a", {"text": None}]}, "instance 1: text: must be a string, got null"),
    (
        {"instances": [{"text": "a", "treshold": 1}]},
        "instance 0: treshold: unknown field; the fields here are flat_ner, labels, "
        "multi_label, text, threshold, thresholds",
    ),
    ({"instances": ["a"], "params": {}}, "params: unknown field; the fields here are instances, "),
    ({"instances": ["a"], "parameters": {"text": "b"}}, "text: unknown field; the fields here"),
    ({"instances": ["a"], "parameters": 3}, "parameters: must be an object, got 3"),
    ({"instances": ["a"]}, "labels: are required: a list of labels"),
    ({"instances": [{"text": "a", "threshold": "x", "labels": ["b"]}]}, "instance 0: threshold: m"),
    ({"instances": [{"text": "a", "flat_ner": 1}]}, "instance 0: flat_ner: must be true or false"),
]


@pytest.mark.parametrize(("body", "message"), MISTAKES)
def test_mistakes_of_shape(body: Any, message: str) -> None:
    """Each is told by instance and field, with what would be right."""
    with pytest.raises(InvalidRequest) as caught:
        parser().v1(body)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": []}, "labels: must not be empty"),
        ({"labels": ["a", " "]}, "labels: label 1 must not be empty"),
        ({"labels": ["\u200b\x00"]}, "labels: label 0 must not be empty"),
        ({"labels": ["a", 3]}, "labels: label 1 must be a string"),
        ({"labels": {"a": 3}}, "labels: description of label 0 must be a string"),
        ({"labels": 3}, "labels: must be a list of strings, an object of strings, or the name"),
        ({"labels": "persons"}, "labels: 'persons' is not a preset; the presets are general, "),
        ({"labels": ["a", "b", "a"]}, "labels: 'a' stands there twice"),
        ({"labels": {"a": "x", "b": "x"}}, "labels: two labels have the same description"),
        ({"labels": ["x" * 300]}, "labels: label 0 has 300 characters, at most 256"),
        ({"labels": ["a<<ENT>>b"]}, "labels: label 0 must not contain <<ENT>> or <<SEP>>"),
        ({"labels": [str(n) for n in range(10_000)]}, "labels: 10000 labels, at most 100"),
        ({"labels": ["a"], "threshold": 1.5}, "threshold: must be at most 1, got 1.5"),
        ({"labels": ["a"], "threshold": -1}, "threshold: must be at least 0, got -1"),
        ({"labels": ["a"], "threshold": float("nan")}, "threshold: must be a finite number"),
        ({"labels": ["a"], "threshold": "much"}, "threshold: must be a number, got a string"),
        ({"labels": ["a"], "threshold": True}, "threshold: must be a number, got true"),
        ({"labels": ["a"], "thresholds": {"b": 0.5}}, "thresholds: 'b' is not one of the labels"),
        ({"labels": ["a"], "thresholds": {"a": 2}}, "thresholds.a: must be at most 1, got 2"),
        ({"labels": ["a"], "multi_label": "no"}, "multi_label: must be true or false, got a str"),
    ],
)
def test_mistakes_of_meaning(options: dict[str, Any], message: str) -> None:
    """The same mistake has the same words for one text, for all texts and in V2."""
    with pytest.raises(InvalidRequest) as shared:
        v1("fine", **options)
    with pytest.raises(InvalidRequest) as own:
        v1({"text": "fine", "labels": ["fine"]}, {"text": "a", **options})

    assert str(shared.value).startswith(message)
    assert str(own.value).startswith(f"instance 1: {message}")


def test_limits() -> None:
    """Limits are an operator's, and the messages name them."""
    with pytest.raises(InvalidRequest, match=r"^instances: 3 texts, at most 2 are taken"):
        v1("a", "b", "c", settings={"max_instances": 2})
    with pytest.raises(InvalidRequest, match=r"^instance 1: text: 11 characters, at most 10"):
        v1("a", "b" * 11, labels=["a"], settings={"max_text_chars": 10})


@pytest.mark.parametrize(
    ("tensors", "parameters", "message"),
    [
        ([], {}, "text: is required: an input of datatype BYTES"),
        ([texts()], {"labels": "general"}, "instances: must not be empty"),
        ([texts("a", name="texts")], {}, "texts: unknown input; the inputs are text, labels"),
        ([texts("a"), texts("b")], {}, "text: is given twice"),
        ([Tensor("text", "FP32", [1], [1.0])], {}, "text: must have the datatype BYTES, got 'FP"),
        ([texts("a", shape=[2])], {}, "text: has the shape [2] for 1 elements; it must be [1]"),
        ([texts("a", "b", shape=[2, 2])], {}, "text: has the shape [2, 2] for 2 elements"),
        ([texts("a", shape=[-1])], {}, "text: has the shape [-1] for 1 elements"),
        ([texts("a", b"\xff")], {}, "instance 1: text: is not valid UTF-8 at byte 0"),
        ([texts("a", 5)], {}, "instance 1: text: must be a string"),
        ([texts("a"), texts(name="labels")], {}, "labels: must not be empty"),
        ([texts("a"), texts("b", name="labels")], {"labels": "general"}, "labels: are given as"),
        ([texts("a"), texts("{}", "{}", name="options")], {}, "options: has 2 elements for 1"),
        ([texts("a"), texts("[]", name="options")], {}, "instance 0: options: must be a JSON ob"),
        ([texts("a"), texts('{"text": "b"}', name="options")], {}, "instance 0: text: unknown"),
        ([texts("a")], {"labels": "[1"}, "labels: is not valid JSON"),
        ([texts("a")], {"top_k": 3}, "top_k: unknown field; the fields here are"),
    ],
)
def test_mistakes_in_v2(tensors: list[Tensor], parameters: dict[str, Any], message: str) -> None:
    """What only V2 can get wrong is told by input or parameter."""
    with pytest.raises(InvalidRequest) as caught:
        parser().v2(tensors, parameters)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("wanted", [["entity"], ["start", "start"]])
def test_outputs_that_cannot_be_had(wanted: list[str]) -> None:
    """An output that does not exist, or is asked for twice, is refused by name."""
    with pytest.raises(InvalidRequest, match=r"unknown output|asked for twice"):
        check_outputs(wanted)


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"{", b"\xff", b'{"a": NaN}', b'{"a": "\\ud800"}', b"[" * 5000],
    ids=["empty", "blank", "cut", "not UTF-8", "NaN", "lone surrogate", "deep"],
)
def test_not_json(body: bytes) -> None:
    """What is not JSON in UTF-8 is refused without a traceback, however deep."""
    with pytest.raises(InvalidRequest, match=r"^the body is "):
        load_json(body)
