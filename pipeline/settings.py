"""The pipeline's settings: where its servers are, and what it may do there.

Every field is read from the environment as ``PIPELINE_<NAME>``. What differs from run to run
(data, thresholds, review) is a parameter of the graph and not a setting. S3 takes the
variables that boto3 and MLflow know: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
``AWS_ENDPOINT_URL_S3`` and ``MLFLOW_S3_ENDPOINT_URL``. ``docs/settings.md`` lists all of them
and a test holds the two together.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import SettingsError

OURS, THEIRS = "PIPELINE_TRACKING_URI", "MLFLOW_TRACKING_URI"
"""The variables that name MLflow, ours before its own."""
_ADDRESS = r"^https?://"


class Settings(BaseSettings):
    """Settings of every step and command. A value out of bounds stops the start."""

    model_config = SettingsConfigDict(
        env_prefix="PIPELINE_",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        populate_by_name=True,
    )

    tracking_uri: str = Field(
        "http://127.0.0.1:5000",
        validation_alias=AliasChoices(OURS, THEIRS),
        pattern=_ADDRESS,
    )
    """MLflow's address as the steps reach it; `MLFLOW_TRACKING_URI` does as well."""

    mlflow_url: str = ""
    """MLflow's address as people reach it, for links; empty takes the one above."""

    experiment: str = Field("gliner-ner", min_length=1)
    """The MLflow experiment that runs go into."""

    model_name: str = Field("gliner-ner", min_length=1)
    """The registered model in MLflow."""

    predictor_url: str = Field("http://127.0.0.1:8080", pattern=_ADDRESS)
    """The route that callers use: rollouts send their golden requests through it."""

    predictor_host: str = ""
    """The `Host` header for that route, where it leads through an ingress."""

    api_key: SecretStr = SecretStr("")
    """The key that the predictor is shown, where it asks for one."""

    dashboard_url: str = ""
    """The Grafana dashboard that messages link to; empty leaves the link out."""

    slack_webhook_url: SecretStr = SecretStr("")
    """Slack's incoming webhook; empty sends nothing."""

    webhook_secret: SecretStr = SecretStr("")
    """The secret that MLflow signs its webhooks with; the review service needs it."""

    review_hours: float = Field(168, gt=0, le=8_760)
    """How long a review may wait; then it expires and the version is not rolled out."""

    alert_f1_below: float = Field(0, ge=0, le=1)
    """Slack is told when a version's F1 falls below this; 0 never tells."""

    alert_f1_above: float = Field(0, ge=0, le=1)
    """Slack is told when a version's F1 rises above this; 0 never tells."""

    prometheus_url: str = ""
    """Where a rollout reads error rates and latencies; empty makes it send probes of its own."""

    rollout: Literal["local", "kserve"] = "local"
    """What a rollout moves: the predictor on this machine, or an InferenceService."""

    namespace: str = Field("gliner", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    """The Kubernetes namespace of the InferenceService."""

    inference_service: str = Field("gliner", pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)
    """The InferenceService's name."""

    service_account: str = "gliner"
    """The account of the predictor's pods, which lists the S3 secret; for a new InferenceService.
    Empty takes the namespace's default."""

    deployment_mode: Literal["Knative", "Standard"] = "Knative"
    """KServe's deployment mode, which decides how a canary is written."""

    kfp_host: str = ""
    """The Kubeflow Pipelines API; empty runs graphs on this machine."""

    kfp_namespace: str = ""
    """The namespace that runs go into, where Kubeflow serves several users."""

    kfp_token: SecretStr = SecretStr("")
    """A bearer token for the Kubeflow Pipelines API."""

    kfp_token_file: str = ""
    """A file with such a token, read for each request: where the kubelet puts one and renews it."""

    kfp_service_account: str = ""
    """The service account of runs, which may patch the InferenceService and hold a Lease;
    empty takes Kubeflow's own."""

    image: str = ""
    """The image of all steps on Kubeflow; empty keeps the one that the graph was compiled with."""

    home: Path = Path(".gliner-kserve")
    """On one machine: where run outputs and downloaded files go."""

    checkpoints: str = ""
    """Where training keeps its checkpoints: a folder or `s3://bucket/prefix` that outlives a pod;
    empty takes `checkpoints` below `home`."""

    stale_after_hours: float = Field(36, gt=0, le=8_760)
    """`status` says stale when there was no new version, or no evaluation, for this long."""

    database_url: SecretStr = SecretStr("")
    """MLflow's database as SQLAlchemy names it, for `doctor` alone; empty leaves its checks out."""

    database_reader_url: SecretStr = SecretStr("")
    """The same for Grafana's read-only account."""

    http_timeout_seconds: float = Field(30, gt=0, le=3_600)
    """Longest wait for one answer of MLflow, Kubernetes, Prometheus or the predictor."""

    http_retries: int = Field(4, ge=0, le=20)
    """How often a request that may be sent again is, with growing pauses."""

    def caller_headers(self, host: str) -> dict[str, str]:
        """What a request to the predictor carries: the host, where there is one, and the key."""
        key = self.api_key.get_secret_value()
        return {**({"Host": host} if host else {}), **({"X-API-Key": key} if key else {})}

    def folder(self, *names: str) -> Path:
        """A folder below `home`, whole from the root, made where it is missing.

        Raises:
            SettingsError: it cannot be made, or not be written to.
        """
        found = self.home.joinpath(*names)
        try:
            found.mkdir(parents=True, exist_ok=True)
            if not os.access(found, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(found))
            return found.resolve()
        except OSError as error:
            why = "it is a file" if isinstance(error, FileExistsError) else error.strerror
            raise SettingsError(
                f"PIPELINE_HOME: {error.filename or found}: {why}; name a folder that can be "
                "written"
            ) from error

    def impatient(self) -> Settings:
        """The same for a person who waits for the answer: short waits, one more try."""
        return self.model_copy(
            update={
                "http_retries": min(1, self.http_retries),
                "http_timeout_seconds": min(20.0, self.http_timeout_seconds),
            }
        )


def load() -> Settings:
    """The settings from the environment.

    Raises:
        SettingsError: one is out of bounds; the text names the variable.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"PIPELINE_{str(first['loc'][0]).upper().removeprefix('PIPELINE_')}"
        text = first["msg"]
        if first["type"] == "string_pattern_mismatch" and first["ctx"]["pattern"] == _ADDRESS:
            # A database's address may have a password in its second half.
            given = str(first["input"]).partition("//")[0]
            text = f"must begin with http:// or https://, not with {given!r}"
        if name == OURS:
            name = THEIRS if THEIRS in os.environ and OURS not in os.environ else OURS
            text += "; a database or a folder needs `mlflow server` before it"
        raise SettingsError(f"{name}: {text}") from None
