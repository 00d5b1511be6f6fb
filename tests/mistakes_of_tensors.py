"""The mistakes in V2's tensors, over REST and gRPC."""

from __future__ import annotations

from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from mistakes import ASKED, TEXT, Mistake, in_binary, in_inputs, in_raw, in_tensor
from wire import message, pack, tensor

from predictor.errors import UnknownModel


def _many(count: int) -> list[str]:
    return [f"label {index}" for index in range(count)]


_GIVEN = tensor("text", [TEXT])
_NEEDS = "text: needs data, or the parameter binary_data_size and as many bytes behind .*"
_LENGTH = "inference-header-content-length: must be the length of the JSON part in bytes, .*"
_JSON = "the body is not valid JSON: .*"

TENSORS: tuple[Mistake, ...] = (
    # inputs and outputs of V2
    in_inputs("no text input", "text: is required: an input of datatype BYTES", labels=["a"]),
    in_inputs("unknown input", "words: unknown input; .* text, labels, options", words=["a"]),
    in_inputs("empty label tensor", "labels: must not be empty", text=[TEXT], labels=[]),
    in_inputs(
        "too many labels", "labels: 101 labels, at most 100 .*", text=[TEXT], labels=_many(101)
    ),
    in_inputs(
        "options for other texts",
        "options: has 2 elements for 1 .*",
        text=["a"],
        options=["{}"] * 2,
    ),
    in_inputs(
        "options not JSON", "instance 0: options: must be a JSON object", text=["a"], options=["x"]
    ),
    in_inputs(
        "text in options",
        "instance 0: text: unknown field; .*",
        text=["a"],
        options=['{"text": "b"}'],
    ),
    in_inputs(
        "unknown output", "scores: unknown output; the outputs are .*", ["scores"], text=["a"]
    ),
    in_inputs("output twice", "row: is asked for twice", ["row", "row"], text=["a"]),
    Mistake(
        "labels twice",
        "labels: are given as an input and as a parameter; send one of them",
        v2={"inputs": [_GIVEN, tensor("labels", ["a"])], "parameters": ASKED},
        grpc=lambda: message([TEXT], parameters=ASKED, labels=["a"]),
    ),
    Mistake(
        "input twice",
        "text: is given twice",
        v2={"inputs": [_GIVEN, _GIVEN], "parameters": ASKED},
        grpc=lambda: _twice(message([TEXT], parameters=ASKED)),
    ),
    Mistake(
        "labels not JSON",
        "labels: is not valid JSON: .*",
        v2={"inputs": [_GIVEN], "parameters": {"labels": '["a"'}},
        grpc=lambda: message([TEXT], parameters={"labels": '["a"'}),
    ),
    Mistake(
        "labels nested deep",
        "labels: is not valid JSON: .*",
        v2={"inputs": [_GIVEN], "parameters": {"labels": "[" * 5000}},
        grpc=lambda: message([TEXT], parameters={"labels": "[" * 5000}),
    ),
    Mistake(
        "raw outputs as text",
        "binary_data_output: must be true or false",
        v2={"inputs": [_GIVEN], "parameters": {**ASKED, "binary_data_output": "true"}},
        grpc=lambda: message([TEXT], parameters={**ASKED, "binary_data_output": "true"}),
    ),
    Mistake(
        "raw outputs as a number",
        "binary_data_output: must be true or false",
        v2={"inputs": [_GIVEN], "parameters": {**ASKED, "binary_data_output": 1}},
        grpc=lambda: message([TEXT], parameters={**ASKED, "binary_data_output": 1}),
    ),
    Mistake(
        "Triton's priority",
        "priority: unknown field; .*",
        v2={"inputs": [_GIVEN], "parameters": {**ASKED, "priority": 1}},
        grpc=lambda: _prior(message([TEXT], parameters=ASKED)),
    ),
    Mistake("inputs null", "inputs: must be a list, got null", v2={"inputs": None}),
    Mistake("no inputs", "inputs: is required", v2={"parameters": ASKED}),
    in_tensor("wrong datatype", "text: must have the datatype BYTES, got 'FP32'", datatype="FP32"),
    in_tensor("no datatype", "text: must have the datatype BYTES, got ''", datatype=""),
    in_tensor("long name", "n{79}…: unknown input; .*", name="n" * 1000),
    in_tensor("wrong shape", r"text: has the shape \[2\] for 1 .* be \[1\]", shape=[2]),
    in_tensor("matrix", r"text: has the shape \[2, 2\] for 1 elements; .*", shape=[2, 2]),
    in_tensor("negative shape", r"text: has the shape \[-1\] for 1 elements; .*", shape=[-1]),
    in_tensor("no shape", r"text: has the shape \[\] for 1 elements; .*", shape=[]),
    in_tensor("huge shape", "instances: 1000000000 texts, at most 256 .*", shape=[10**9]),
    in_tensor("many dimensions", r"inputs\.0\.shape: must have at most 8 .*", shape=[1] * 9),
    Mistake(
        "shape of text",
        r"inputs\.0\.shape\.0: must be a whole number, got a string",
        v2={"inputs": [_GIVEN | {"shape": ["1"]}]},
    ),
    in_tensor("element a number", "instance 0: text: must be a string", data=[1]),
    in_tensor("nested element", "instance 0: text: must be a string", data=[["a"]]),
    in_tensor("no data", _NEEDS, data=None),
    # raw tensors
    in_raw("text not UTF-8", "instance 0: text: is not valid UTF-8 at byte 3", pack([b"Ada\xff"])),
    in_raw("surrogate in UTF-8", "instance 0: text: is not .* byte 0", pack([b"\xed\xa0\x80"])),
    in_raw("cut short", "text: the raw bytes do not hold elements .*", pack([b"Ada"])[:-1]),
    in_raw("no lengths", "text: the raw bytes do not hold elements .*", b"Ada"),
    in_raw("two elements", r"text: has the shape \[1\] for 2 .*", pack([b"Ada", b"Bob"])),
    in_binary("bytes left over", "2 bytes behind the JSON part belong to no input", behind=b"xx"),
    in_binary("size too large", _NEEDS, size=10_000),
    in_binary(
        "size negative", r"inputs\.0\.parameters\.binary_data_size: .* at least 0, .*", size=-1
    ),
    in_binary("size a word", r"inputs\.0\.parameters\.binary_data_size: must be a .*", size="5"),
    in_binary("length too large", _LENGTH, length=10_000),
    in_binary("length negative", _LENGTH, length=-1),
    in_binary("length a word", _LENGTH, length="all"),
    in_binary("length of thousands of digits", _LENGTH, length="9" * 5000),
    in_binary("length within the JSON", _JSON, length=10),
    Mistake(
        "fewer raw inputs than inputs",
        r"the number of inputs \(2\) does not match the expected number of raw input contents .*",
        grpc=lambda: _raw_short(message([TEXT], labels=["a"], raw=True)),
    ),
    Mistake(
        "two models",
        "model_name: is not the model in the address",
        v2={"inputs": [_GIVEN], "model_name": "bert"},
    ),
    Mistake(
        "unknown model",
        "model 'bert' is not served here; the model is 'gliner'",
        v1={"instances": [TEXT], "parameters": ASKED},
        v2={"inputs": [_GIVEN], "parameters": ASKED},
        grpc=lambda: message([TEXT], parameters=ASKED, model="bert"),
        model="bert",
        error=UnknownModel,
    ),
)


def _twice(request: pb.ModelInferRequest) -> pb.ModelInferRequest:
    request.inputs.append(request.inputs[0])
    return request


def _prior(request: pb.ModelInferRequest) -> pb.ModelInferRequest:
    # As `uint64_param`, field 5 of Triton's protocol file.
    request.parameters["priority"].CopyFrom(pb.InferParameter.FromString(b"\x28\x01"))
    return request


def _raw_short(request: pb.ModelInferRequest) -> pb.ModelInferRequest:
    del request.raw_input_contents[1]
    return request
