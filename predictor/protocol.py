"""V1 and V2 payloads to queries, and results back.

V2 is turned into the V1 form first, so that one parser checks both and the same mistake gets
the same message over V1, V2 and gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from predictor import tensors
from predictor.errors import InvalidRequest, quote
from predictor.extraction import Extraction, Label, Query
from predictor.presets import Preset
from predictor.schemas import Instance, Options, PredictRequest, explain
from predictor.settings import Settings
from predictor.tensors import Tensor


@dataclass(frozen=True, slots=True)
class Parser:
    """Turns payloads into queries under an operator's settings.

    Attributes:
        settings: bounds and defaults.
        presets: label presets by name.
        markers: the model's own marker tokens, which no label may contain.
    """

    settings: Settings
    presets: Mapping[str, Preset]
    markers: tuple[str, ...] = ()

    def v1(self, payload: Any) -> list[Query]:
        """Parse a V1 body.

        Raises:
            InvalidRequest: what is wrong, in which field of which instance.
        """
        if not isinstance(payload, dict):
            raise InvalidRequest('the body must be a JSON object with "instances"')
        if isinstance(given := payload.get("instances"), list):
            self._check_texts(len(given))
        try:
            request = PredictRequest.model_validate(payload)
        except ValidationError as error:
            raise explain(error) from None
        shared = request.parameters or Options()
        return [self._query(index, one, shared) for index, one in enumerate(request.instances)]

    def v2(self, given: Sequence[Tensor], parameters: Mapping[str, Any]) -> list[Query]:
        """Parse V2 inputs and parameters, REST or gRPC.

        Raises:
            InvalidRequest: what is wrong, in which input or parameter.
        """
        columns = self._columns(given)
        options = {
            key: tensors.from_parameter(key, value)
            for key, value in parameters.items()
            if key not in tensors.PROTOCOL_PARAMETERS
        }
        if "labels" in columns:
            if "labels" in options:
                raise InvalidRequest(
                    "are given as an input and as a parameter; send one of them", field="labels"
                )
            options["labels"] = columns["labels"]
        rows = [
            tensors.options_of(index, raw) for index, raw in enumerate(columns.get("options", ()))
        ]
        if rows and len(rows) != len(columns["text"]):
            raise InvalidRequest(
                f"has {len(rows)} elements for {len(columns['text'])} texts; send one a text",
                field="options",
            )
        own = rows or [{}] * len(columns["text"])
        instances = [{**row, "text": text} for row, text in zip(own, columns["text"], strict=True)]
        return self.v1({"instances": instances, "parameters": options})

    def _columns(self, given: Sequence[Tensor]) -> dict[str, list[str]]:
        tensors.check_inputs((one.name, one.datatype) for one in given)
        bounds = {"labels": (self.settings.max_labels, self._check_labels)}
        others = (self.settings.max_instances, self._check_texts)
        return {one.name: tensors.strings(one, *bounds.get(one.name, others)) for one in given}

    def _check_texts(self, count: int) -> None:
        if count > self.settings.max_instances:
            raise InvalidRequest(
                f"{count} texts, at most {self.settings.max_instances} are taken in one request; "
                "split it",
                field="instances",
            )

    def _check_labels(self, count: int) -> None:
        if count > self.settings.max_labels:
            raise InvalidRequest(
                f"{count} labels, at most {self.settings.max_labels} are taken for one text; "
                "split the request",
                field="labels",
            )

    def _query(self, index: int, one: str | Instance, shared: Options) -> Query:
        own = Instance(text=one) if isinstance(one, str) else one
        try:
            if len(own.text) > self.settings.max_text_chars:
                raise InvalidRequest(
                    f"{len(own.text)} characters, at most {self.settings.max_text_chars} are "
                    "taken; split the text",
                    field="text",
                )
            return Query(
                text=own.text,
                labels=self._labels(own, shared),
                flat_ner=_first(own.flat_ner, shared.flat_ner, self.settings.flat_ner),
                multi_label=_first(own.multi_label, shared.multi_label, self.settings.multi_label),
            )
        except InvalidRequest as error:
            # Labels that all texts share are not one text's fault.
            is_own = error.field == "text" or own.labels is not None or own.thresholds is not None
            raise (error.at(index) if is_own else error) from None

    def _labels(self, own: Options, shared: Options) -> tuple[Label, ...]:
        prompts = self._prompts(_first(own.labels, shared.labels, self._default_labels()))
        threshold = _first(own.threshold, shared.threshold, self.settings.threshold)
        # One text's thresholds count before those of all texts, label by label.
        single = {**(shared.thresholds or {}), **(own.thresholds or {})}
        # Thresholds for all texts may name labels that only some texts ask for.
        for name in {**(own.thresholds or {}), **({} if own.labels else shared.thresholds or {})}:
            if name not in prompts:
                raise InvalidRequest(f"{quote(name)} is not one of the labels", field="thresholds")
        return tuple(
            Label(name, prompt, single.get(name, threshold)) for name, prompt in prompts.items()
        )

    def _default_labels(self) -> Any:
        raw = self.settings.labels
        if not raw:
            return None
        return raw if raw in self.presets else [part.strip() for part in raw.split(",")]

    def _prompts(self, labels: Any) -> dict[str, str]:
        """Labels in any of their forms, as names with the prompts that the model reads."""
        if isinstance(labels, (list, dict)):
            self._check_labels(len(labels))
        match labels:
            case None:
                raise InvalidRequest(
                    "are required: a list of labels, an object of labels with descriptions, or "
                    f"the name of a preset ({', '.join(self.presets)})",
                    field="labels",
                )
            case str():
                if labels not in self.presets:
                    raise InvalidRequest(
                        f"{quote(labels)} is not a preset; the presets are "
                        f"{', '.join(self.presets)}. For one label send a list of one",
                        field="labels",
                    )
                pairs = list(self.presets[labels].labels.items())
            case list():
                pairs = [(name, None) for name in labels]
            case dict():
                pairs = list(labels.items())
            case _:
                raise InvalidRequest(
                    "must be a list of strings, an object of strings, or the name of a preset",
                    field="labels",
                )
        if not pairs:
            raise InvalidRequest("must not be empty", field="labels")
        prompts: dict[str, str] = {}
        for index, (name, description) in enumerate(pairs):
            self._check_label(index, name, description)
            if name in prompts:
                raise InvalidRequest(f"{quote(name)} stands there twice", field="labels")
            prompts[name] = description or name
        if len(set(prompts.values())) < len(prompts):
            raise InvalidRequest(
                "two labels have the same description; the model could not tell them apart",
                field="labels",
            )
        return prompts

    def _check_label(self, index: int, name: Any, description: Any) -> None:
        for what, value in (("label", name), ("description of label", description)):
            if value is None and what != "label":
                continue
            if not isinstance(value, str):
                raise InvalidRequest(f"{what} {index} must be a string", field="labels")
            # `isprintable` is false for the control characters that tokenizers drop.
            visible = any(letter.isprintable() and not letter.isspace() for letter in value)
            if not visible and (what == "label" or value):
                raise InvalidRequest(f"{what} {index} must not be empty", field="labels")
            if len(value) > self.settings.max_label_chars:
                raise InvalidRequest(
                    f"{what} {index} has {len(value)} characters, at most "
                    f"{self.settings.max_label_chars} are taken",
                    field="labels",
                )
            if any(marker in value for marker in self.markers):
                raise InvalidRequest(
                    f"{what} {index} must not contain {' or '.join(self.markers)}, which the "
                    "model uses between labels",
                    field="labels",
                )


def v1_answer(results: Sequence[Extraction]) -> dict[str, Any]:
    """The V1 body for results in the order asked."""
    return {
        "predictions": [
            {
                "entities": [one.row() for one in result.entities],
                "words": result.words,
                "windows": result.windows,
            }
            for result in results
        ]
    }


def _first(*values: Any) -> Any:
    """The first that is not None; the last whatever it is."""
    return next((value for value in values if value is not None), None)
