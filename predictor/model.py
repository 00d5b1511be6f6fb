"""The KServe edge: payloads of three protocols to queries, results back to each.

`kserve` parses `sys.argv` when imported, so nothing behind this module imports it.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import kserve
import numpy as np
from google.protobuf.unknown_fields import UnknownFieldSet
from kserve import InferOutput, InferRequest, InferResponse
from kserve.utils.numpy_codec import to_np_dtype

from predictor import metrics, tensors
from predictor.batching import WorkQueue
from predictor.context import current
from predictor.errors import InvalidRequest, NotServing, Unsupported
from predictor.extraction import Extraction, Query
from predictor.protocol import v1_answer
from predictor.served import Served
from predictor.tensors import INPUTS, OUTPUTS, Tensor

_DOUBLE_PARAM, _UINT64_PARAM = (4, 1), (5, 0)
"""Triton's clients send floats, and numbers of their own such as a priority, as these fields of a
parameter, by number and wire type; KServe's protocol file lacks both."""
_MANY = 5_000
"""Entities, to give a form to which takes 20 ms: the event loop does not wait for more."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A checked request, and what its answer must look like."""

    queries: list[Query]
    request: InferRequest | None
    """The V2 request; None for V1."""
    served: Served
    """The model that answers it, whichever serves when its turn comes."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Results on their way back."""

    results: list[Extraction]
    request: InferRequest | None
    version: str


class GlinerModel(kserve.Model):  # type: ignore[misc]
    """Serves one GLiNER model over V1, V2 REST and V2 gRPC.

    Args:
        name: the model's name in addresses.
        served: the model, with what reads requests for it.
        queue: runs the model.
        labels: counts found entities.
    """

    def __init__(
        self, name: str, served: Served, queue: WorkQueue, labels: metrics.EntityLabels
    ) -> None:
        super().__init__(name)
        self.served = served
        self.queue = queue
        self._labels = labels
        self.draining = False

    @property
    def facts(self) -> dict[str, Any]:
        """What people see of the model that serves just now."""
        return {"name": self.name, **self.served.facts}

    def load(self) -> bool:
        """Report ready: the caller has loaded, warmed and checked the model already."""
        self.swap(self.served)
        self.ready = True
        metrics.READY.set(1)
        return True

    def swap(self, served: Served) -> None:
        """Answer requests that begin from now on with another model. Those that have begun
        finish on theirs. May be called from any thread."""
        self.served = served
        metrics.show_model(self.facts, served.load_seconds)

    def stop(self) -> None:
        """Take no more predictions."""
        self.draining = True
        self.ready = False
        self.queue.close()
        metrics.READY.set(0)

    def start(self) -> None:
        """Nothing to do; the base class would report ready whatever `load` found."""

    async def __call__(self, body: Any, headers: Any = None, verb: Any = None) -> Any:
        """Answer one request. What fails is put into our form by the outermost layer, which
        sees what fails before a request comes here too."""
        if self.draining:
            raise NotServing
        if verb not in (None, kserve.model.InferenceVerb.PREDICT):
            raise Unsupported("GLiNER has no explanations; use :predict or /infer")
        self.queue.check_room()  # before work goes into reading what is refused anyway
        return await super().__call__(body, headers)

    def preprocess(self, payload: Any, headers: Mapping[str, str] | None = None) -> Parsed:
        """Check a payload: a V1 object, or an `InferRequest` from REST or gRPC."""
        served = self.served  # read once: a swap may come at any line
        current().model = served.identity
        if not isinstance(payload, InferRequest):
            return Parsed(served.parser.v1(payload), None, served)
        given = [_tensor(one) for one in payload.inputs]
        queries = served.parser.v2(given, _parameters(payload.parameters))
        return Parsed(queries, payload, served)

    async def predict(self, payload: Parsed, headers: Mapping[str, str] | None = None) -> Answered:
        """Run the model on its own threads: the event loop stays free for health probes."""
        results = await self.queue.run(payload.served.extractor, payload.queries)
        metrics.count_results(current(), results)
        self._labels.count(results)
        return Answered(results, payload.request, payload.served.identity.version)

    async def postprocess(
        self, result: Answered, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Give the answer the form of the request's protocol."""
        if sum(len(one.entities) for one in result.results) > _MANY:
            return await asyncio.to_thread(self._formed, result)
        return self._formed(result)

    def _formed(self, result: Answered) -> dict[str, Any] | InferResponse:
        if result.request is None:
            return v1_answer(result.results)
        return self._infer_response(result, result.request)

    def _infer_response(self, answered: Answered, request: InferRequest) -> Any:
        wanted = [one.name for one in request.request_outputs or ()]
        return InferResponse(
            response_id=request.id or current().request_id,
            model_name=self.name,
            model_version=answered.version,
            infer_outputs=[
                _output(one, request) for one in tensors.answer(answered.results, wanted)
            ],
            use_binary_outputs=bool(request.use_binary_outputs),
            requested_outputs=request.request_outputs,
        )

    def get_input_types(self) -> list[dict[str, Any]]:
        """The V2 inputs; only `text` is required."""
        return [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in INPUTS]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The V2 outputs; `entities` comes when none is asked for."""
        return [
            {"name": name, "datatype": datatype, "shape": [-1]}
            for name, datatype in OUTPUTS.items()
        ]


def _tensor(given: Any) -> Tensor:
    raw = given._raw_data
    data = list(given.data or ()) if raw is None else raw
    return Tensor(given.name, given.datatype, list(given.shape), data)


def _parameters(given: Any) -> dict[str, Any]:
    """V2 parameters as plain values, from JSON or protobuf."""
    # One beyond any bound is enough to be refused: a map of a million takes a second to read.
    return {key: _parameter(key, value) for key, value in islice((given or {}).items(), 100)}


def _parameter(key: str, value: Any) -> Any:
    if not hasattr(value, "WhichOneof"):
        return value
    if choice := value.WhichOneof("parameter_choice"):
        return getattr(value, choice)
    for unknown in UnknownFieldSet(value):  # type: ignore[attr-defined]
        kind = (unknown.field_number, unknown.wire_type)
        if kind == _DOUBLE_PARAM:
            return struct.unpack("<d", struct.pack("<Q", unknown.data))[0]
        if kind == _UINT64_PARAM:
            return unknown.data
    raise InvalidRequest("has no value; send a string, a bool or an int64", field=key)


def _output(tensor: Tensor, request: InferRequest) -> InferOutput:
    output = InferOutput(tensor.name, tensor.shape, tensor.datatype, list(tensor.data))
    if not request.from_grpc or request.use_binary_outputs:
        # KServe forgets the bytes of an empty list; of an empty array it does not.
        output.data = np.array(tensor.data, dtype=to_np_dtype(tensor.datatype))
    if request.from_grpc and request.use_binary_outputs:
        # KServe would ask an array whether it is true, which numpy answers for one element.
        output.set_data_from_numpy(output.data)
    return output
