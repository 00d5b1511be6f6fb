"""Operations of our own in a model of OpenVINO's."""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Sequence

from predictor.engines.silent import ov


class Operations(list["Operation"]):
    """Those of one model, which is to be used no longer than this is kept.

    Attributes:
        layers: how many layers of the model they compute.
    """

    layers = 0


class Operation(ov.Op):  # type: ignore[misc]  # has no types
    """What ours have in common: one output, in bf16.

    As is usual, an operation is given itself to hold, for nobody else does: then it and all that it
    reads never go. So `Operations` hold it, and it is given its class, which never goes either:
    OpenVINO lets go of it from any thread, without Python's lock.

    Args:
        inputs: what it reads.
        among: those of its model; it becomes one of them.
    """

    def __init__(self, inputs: Sequence[ov.Output], among: Operations) -> None:
        self._among = weakref.ref(among)
        super().__init__(type(self), list(inputs))
        among.append(self)

    @abstractmethod
    def shape(self, inputs: Sequence[ov.Output]) -> ov.PartialShape:
        """Of what it gives."""

    @abstractmethod
    def copy(self, inputs: Sequence[ov.Output], among: Operations) -> Operation:
        """The same, reading something else."""

    def validate_and_infer_types(self) -> None:
        self.set_output_type(0, ov.Type.bf16, self.shape(self.input_values()))

    def clone_with_new_inputs(self, new_inputs: Sequence[ov.Output]) -> ov.Node:
        """A copy, for a copy of the model.

        At every pass OpenVINO also asks for one that reads what is at hand, to learn how large the
        output will be; what it gets for that is an input of that size, which is soon forgotten.
        """
        first, *_ = new_inputs
        if first.get_partial_shape().is_static:
            return ov.opset15.parameter(self.shape(new_inputs), ov.Type.bf16)
        among = self._among()
        if among is None:
            raise RuntimeError("the operations of this model were not kept")
        return self.copy(new_inputs, among)

    def get_type_info(self) -> ov.DiscreteTypeInfo:
        return ov.DiscreteTypeInfo(type(self).__name__, "extension")

    def visit_attributes(self, visitor: object) -> bool:
        return True

    def has_evaluate(self) -> bool:
        return True
