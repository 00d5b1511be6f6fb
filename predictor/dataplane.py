"""KServe's data plane and model repository, made to fit one model that stays."""

from __future__ import annotations

from typing import Any

import kserve
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from predictor import __version__, cloudevents, json_body
from predictor.errors import Forbidden, NotServing, UnknownModel
from predictor.model import GlinerModel

_CLOSED = (
    "loading and unloading models over the network is shut on this server; "
    "change the InferenceService instead"
)


class ClosedRepository(ModelRepositoryExtension):  # type: ignore[misc]
    """Refuses to load and unload: KServe would let any caller remove the model for good."""

    async def load(self, model_name: str) -> None:
        """Refuse."""
        raise Forbidden(_CLOSED)

    async def unload(self, model_name: str) -> None:
        """Refuse."""
        raise Forbidden(_CLOSED)


class GlinerDataPlane(DataPlane):  # type: ignore[misc]
    """KServe's data plane with strict JSON and our errors.

    Args:
        model_registry: KServe's registry.
        model: the one model that is served.
    """

    def __init__(self, model_registry: kserve.ModelRepository, model: GlinerModel) -> None:
        super().__init__(model_registry)
        self._server_name = "gliner-kserve"
        self._server_version = __version__
        self._model = model

    def metadata(self) -> dict[str, Any]:
        """The server's name and version; no extensions, for the repository is shut."""
        return {**super().metadata(), "extensions": []}

    def get_model_from_registry(self, name: str) -> Any:
        """The model, whatever the state of the server.

        Raises:
            UnknownModel: another name.
        """
        if name != self._model.name:
            raise UnknownModel(name, self._model.name)
        return self._model

    async def get_model(self, name: str) -> Any:
        """As above. KServe would load a model that is not ready, here in mid-drain."""
        return self.get_model_from_registry(name)

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        """Whether predictions are taken.

        Raises:
            UnknownModel: another name.
            NotServing: the server is stopping.
        """
        ready = bool(self.get_model_from_registry(model_name).ready)
        if not ready and disable_predictor_health_check:  # asked before a prediction
            raise NotServing
        return ready

    async def ready(self) -> bool:
        """Whether the server takes predictions; KServe's is ready whatever its model is."""
        return bool(self._model.ready)

    def decode(
        self, body: Any, headers: Any, protocol_version: str = "v1", model_name: str | None = None
    ) -> Any:
        """Parse a V1 body as JSON whatever parameters its content type has."""
        json_body.check_content_type(headers.get("content-type", ""))
        return cloudevents.unwrap(json_body.load_json(body), headers)

    def encode(self, model_name: str, response: Any, headers: Any, req_attributes: Any) -> Any:
        """Answer an event with an event, whatever parameters its content type has."""
        kind = cloudevents.media_type(headers)
        return super().encode(
            model_name, response, {**headers, "content-type": kind}, req_attributes
        )
