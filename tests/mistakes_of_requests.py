"""The mistakes in what is asked: labels, thresholds, fields, texts, the form of a JSON body."""

from __future__ import annotations

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from mistakes import (
    ASKED,
    OPTIONS,
    TEXT,
    Mistake,
    everywhere,
    in_json,
    in_parameters,
    in_tensor,
    in_v1,
)
from wire import message, tensor


def _many(count: int) -> list[str]:
    return [f"label {index}" for index in range(count)]


_GIVEN = tensor("text", [TEXT])
_JSON = "the body is not valid JSON: .*"

REQUESTS: tuple[Mistake, ...] = (
    # labels
    everywhere("no labels", r"labels: are required: a list of labels, .*\(general, .*\)"),
    everywhere("empty labels", "labels: must not be empty", labels=[]),
    everywhere("no label in an object", "labels: must not be empty", labels={}),
    everywhere("empty label", "labels: label 1 must not be empty", labels=["a", ""]),
    everywhere("blank label", "labels: label 0 must not be empty", labels=[" \t\u200b"]),
    everywhere("control label", "labels: label 0 must not be empty", labels=["\x00\x1f"]),
    everywhere(
        "10,000 labels",
        "labels: 10000 labels, at most 100 are taken for one text; split the request",
        labels=_many(10_000),
    ),
    everywhere("duplicate labels", "labels: 'a' stands there twice", labels=["a", "b", "a"]),
    everywhere(
        "marker in a label",
        "labels: label 0 must not contain <<ENT>> or <<SEP>>, which the model uses between labels",
        labels=["a <<ENT>> b"],
    ),
    everywhere("label of another type", "labels: label 1 must be a string", labels=["a", 1]),
    everywhere("nested labels", "labels: label 0 must be a string", labels=[["a"]]),
    everywhere("labels a number", "labels: must be a list of strings, an object .*", labels=5),
    everywhere("labels a boolean", "labels: must be a list of strings, an object .*", labels=True),
    everywhere("unknown preset", "labels: 'nonsense' is not a preset; .*", labels="nonsense"),
    everywhere(
        "long label",
        "labels: label 0 has 257 characters, at most 256 are taken",
        labels=["a" * 257],
    ),
    everywhere(
        "blank description",
        "labels: description of label 0 must not be empty",
        labels={"person": " "},
    ),
    everywhere(
        "description of another type",
        "labels: description of label 0 must be a string",
        labels={"person": 1},
    ),
    everywhere(
        "same description twice",
        "labels: two labels have the same description; .*",
        labels={"a": "x", "b": "x"},
    ),
    everywhere(
        "labels that leave no room",
        r"instance 0: labels: 100 labels take \d+ of the model's \d+ positions .*",
        labels=[f"{name} " * 20 for name in _many(100)],
    ),
    # thresholds and flags
    in_parameters("threshold above", "threshold: must be at most 1, got 1.5", threshold=1.5),
    in_parameters("threshold below", "threshold: must be at least 0, got -0.1", threshold=-0.1),
    in_parameters("threshold huge", "threshold: must be at most 1, got 1e[+]300", threshold=1e300),
    in_parameters("threshold a word", "threshold: must be a number, got a string", threshold="x"),
    in_parameters("threshold a flag", "threshold: must be a number, got true", threshold=True),
    in_parameters("thresholds a list", "thresholds: must be an object, got a list", thresholds=[1]),
    in_parameters("thresholds a number", "thresholds: must be an object, got 1", thresholds=1),
    in_parameters(
        "threshold of no label",
        "thresholds: 'date' is not one of the labels",
        thresholds={"date": 0.1},
    ),
    in_parameters(
        "single threshold above",
        "thresholds.person: must be at most 1, got 2",
        thresholds={"person": 2},
    ),
    in_parameters(
        "too many thresholds",
        "thresholds: must have at most 1000 entries",
        thresholds=dict.fromkeys(_many(1001), 0.5),
    ),
    in_parameters("flag a word", "flat_ner: must be true or false, got a string", flat_ner="yes"),
    in_parameters("flag a number", "multi_label: must be true or false, got 1", multi_label=1),
    Mistake(
        "threshold not a number",
        "threshold: must be a finite number",
        v2={"inputs": [_GIVEN], "parameters": {**ASKED, "threshold": "nan"}},
        grpc=lambda: message([TEXT], parameters={**ASKED, "threshold": float("nan")}),
    ),
    in_json("NaN", _JSON, b'{"instances": ["a"], "inputs": [], "parameters": {"threshold": NaN}}'),
    in_json("infinity", _JSON, b'{"instances": ["a"], "parameters": {"threshold": 1e400}}'),
    # fields that do not exist
    in_parameters("misspelt parameter", f"treshold: unknown field; .* {OPTIONS}", treshold=0.5),
    everywhere(
        "misspelt option",
        "instance 0: lables: unknown field; the fields here are flat_ner, labels, .*",
        own=[{"lables": ["person"]}],
        **ASKED,
    ),
    in_v1(
        "unknown field in V1",
        "parameter: unknown field; the fields here are instances, parameters",
        instances=[TEXT],
        parameter={},
    ),
    Mistake(
        "unknown field in V2",
        "instances: unknown field; the fields here are id, inputs, model_name, outputs, parameters",
        v2={"inputs": [_GIVEN], "parameters": ASKED, "instances": []},
    ),
    in_tensor("unknown field in an input", r"inputs\.0\.dtype: unknown field; .*", dtype="BYTES"),
    Mistake(
        "unknown parameter of an input",
        r"inputs\.0\.parameters\.shared_memory_region: unknown field; .*",
        v2={"inputs": [_GIVEN | {"parameters": {"shared_memory_region": "x"}}]},
        grpc=lambda: _with_input_parameter("shared_memory_region"),
    ),
    # texts
    everywhere("no texts", "instances: must not be empty", texts=(), **ASKED),
    everywhere(
        "too many texts",
        "instances: 257 texts, at most 256 are taken in one request; split it",
        texts=["a"] * 257,
        **ASKED,
    ),
    everywhere(
        "text too long",
        "instance 0: text: 1000001 characters, at most 1000000 are taken; split the text",
        texts=["a" * 1_000_001],
        **ASKED,
    ),
    everywhere(
        "one bad text among good ones",
        "instance 2: text: 1000001 characters, at most 1000000 are taken; split the text",
        texts=[TEXT, TEXT, "é" * 1_000_001, TEXT],
        **ASKED,
    ),
    everywhere(
        "one bad threshold among good ones",
        "instance 1: threshold: must be at most 1, got 3",
        texts=[TEXT] * 3,
        own=[{}, {"threshold": 3}, {"threshold": 0.3}],
        **ASKED,
    ),
    everywhere(
        "one bad label among good ones",
        "instance 1: labels: 'a' stands there twice",
        texts=[TEXT] * 2,
        own=[{}, {"labels": ["a", "a"]}],
        **ASKED,
    ),
    everywhere(
        "all spans",
        "instance 0: threshold: more than 200000 spans are above the threshold; raise it, .*",
        texts=["word " * 400],
        labels=_many(50),
        threshold=0.0,
    ),
    # the form of V1
    in_v1("no instances", "instances: is required", parameters=ASKED),
    in_v1("instances null", "instances: must be a list, got null", instances=None),
    in_v1("instances a text", "instances: must be a list, got a string", instances=TEXT),
    in_v1("instance a number", "instance 0: must be a string or an object .*", instances=[1]),
    in_v1("instance null", "instance 1: must be a string or an .* null", instances=["a", None]),
    in_v1("instance a list", "instance 0: must be a string or an .* a list", instances=[["a"]]),
    in_v1("instance without text", "instance 0: text: is required", instances=[ASKED]),
    in_v1("text a number", "instance 0: text: must be a string, got 1", instances=[{"text": 1}]),
    in_v1(
        "parameters a list",
        "parameters: must be an object, got a list",
        instances=["a"],
        parameters=[],
    ),
    Mistake("body a list", 'the body must be a JSON object with "instances"', v1=[TEXT]),
    Mistake("body a text", 'the body must be a JSON object with "inputs"', v2=TEXT),
    # the form of JSON
    in_json("not JSON", _JSON, b"{'instances': ['a']}"),
    in_json("empty body", "the body is empty; send a JSON object", b" \n"),
    in_json("bytes that are not UTF-8", _JSON, b'{"instances": ["\xff\xfe"]}'),
    in_json("UTF-16", _JSON, '{"instances": ["a"]}'.encode("utf-16")),
    in_json("lone surrogate", _JSON, rb'{"instances": ["\ud800"], "inputs": ["\ud800"]}'),
    in_json("deep nesting", _JSON + "depth .*", b"[" * 100_000 + b"]" * 100_000),
    in_json(
        "wrong content type",
        "the content type must be application/json, got 'text/csv'; with curl add .*",
        b"{}",
        **{"content-type": "text/csv"},
    ),
    in_json(
        "compressed body",
        "content-encoding: 'gzip' is not taken; send the body as it is",
        b"\x1f\x8b",
        **{"content-encoding": "gzip"},
    ),
)


def _with_input_parameter(name: str) -> pb.ModelInferRequest:
    request = message([TEXT], parameters=ASKED)
    request.inputs[0].parameters[name].string_param = "x"
    return request
