"""What we write into MLflow and read back: versions, their tags, aliases and history.

MLflow keeps no history of alias moves, so each move and each rollback is also a tag
``event.<milliseconds>`` on the version, with its reason.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.errors import PipelineError
from pipeline.registry import faults
from pipeline.registry.versions import CHALLENGER, CHAMPION, RunTag, Tag, Version, now, when
from pipeline.settings import Settings

__all__ = ["CHALLENGER", "CHAMPION", "Registry", "RunTag", "Tag", "Version", "now"]

BUNDLE_PATH = "artifacts/bundle"
"""Where the bundle lies in a logged pyfunc model."""
LONGEST_DESCRIPTION = 5_000
"""Characters of a description that MLflow's tables hold."""
_ABSENT = "RESOURCE_DOES_NOT_EXIST"
_THERE = "RESOURCE_ALREADY_EXISTS"


class Registry:
    """The registered model in MLflow.

    Every method raises `Unavailable` when MLflow does not answer, after retries, and
    `PipelineError` with MLflow's reason when it refuses.
    """

    def __init__(self, settings: Settings) -> None:
        # A client whose server is down would retry for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(settings.http_retries))
        os.environ.setdefault(
            "MLFLOW_HTTP_REQUEST_TIMEOUT", str(round(settings.http_timeout_seconds))
        )
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.settings = settings
        self.name = settings.model_name
        self.client = MlflowClient(settings.tracking_uri, settings.tracking_uri)

    # Versions

    def champion(self) -> Version | None:
        """The version that serves; None when there is none yet."""
        return self.aliased(CHAMPION)

    def challenger(self) -> Version | None:
        """The version on trial or under review; None when there is none."""
        return self.aliased(CHALLENGER)

    def aliased(self, alias: str) -> Version | None:
        """The version that an alias names; None when there is none."""
        # A missing alias is INVALID_PARAMETER_VALUE, all else that is missing the other.
        return self._optional(
            lambda: self.client.get_model_version_by_alias(self.name, alias),
            "INVALID_PARAMETER_VALUE",
        )

    def version(self, number: int) -> Version | None:
        """A version by its number; None when it does not exist or was deleted."""
        return self._optional(lambda: self.client.get_model_version(self.name, str(number)))

    def versions(self) -> list[Version]:
        """All versions, newest first."""
        found: list[ModelVersion] = []
        token: str | None = ""
        with self._asking():
            while token is not None:
                page = self.client.search_model_versions(
                    f"name = '{self.name}'", page_token=token or None
                )
                found += page
                token = page.token or None
            # A search brings versions without their aliases.
            model = self.client.get_registered_model(self.name) if found else None
        named: Mapping[str, str] = model.aliases if model else {}
        for one in found:
            one.aliases = [alias for alias, number in named.items() if number == one.version]
        return sorted(map(_version, found), key=lambda one: -one.number)

    def find(self, digest: str) -> Version | None:
        """The version with this bundle digest; the first, should there be several."""
        return next((one for one in reversed(self.versions()) if one.digest == digest), None)

    def previous(self, version: Version) -> Version | None:
        """The champion before this version; None when there was none or it was deleted."""
        number = version.tags.get(Tag.ROLLOUT_PREVIOUS, "")
        return self.version(int(number)) if number.isdecimal() else None

    def add(
        self, *, model_id: str, run_id: str, tags: Mapping[str, str], description: str
    ) -> Version:
        """Register files that were uploaded whole. Tags come with it: no half version is seen.

        Args:
            model_id: MLflow's id of the files.
            tags: among them the bundle's digest. A version that has it already is the one
                that is returned, also when another process registers it at the same time.
        """
        with self._asking():
            with faults.unless(_THERE):
                self.client.create_registered_model(
                    self.name, description="Zero-shot named entity recognition with GLiNER."
                )
            created = self.client.create_model_version(
                self.name,
                source=f"models:/{model_id}",
                run_id=run_id,
                model_id=model_id,
                tags={**tags, Tag.MODEL_ID: model_id},
                description=description[:LONGEST_DESCRIPTION],
            )
        return self.settle(tags[Tag.BUNDLE_DIGEST]) or _version(created)

    def settle(self, digest: str) -> Version | None:
        """Keep one version of a bundle, the first; None when there is none.

        MLflow has no lock: of two that register a bundle at once, or of one that sends its
        request again, both versions are made. Whoever comes by takes the later ones away.
        """
        same = [one for one in reversed(self.versions()) if one.digest == digest]
        for later in same[1:]:
            if not later.aliases and later.tags.get(Tag.STATUS) == "candidate":
                with self._asking(), faults.unless(_ABSENT):
                    self.client.delete_model_version(self.name, str(later.number))
        return same[0] if same else None

    def download(self, version: Version, folder: Path) -> Path:
        """Fetch a version's bundle into a new folder.

        Raises:
            PipelineError: what arrived is not what was registered.
        """
        from mlflow.artifacts import download_artifacts

        from predictor import bundle
        from predictor.errors import BundleError

        uri = self.bundle_uri(version)
        folder.mkdir(parents=True, exist_ok=True)
        with self._asking():
            download_artifacts(
                artifact_uri=uri, dst_path=str(folder), tracking_uri=self.settings.tracking_uri
            )
        try:
            found = bundle.locate(str(folder))
        except BundleError as error:
            raise PipelineError(str(error)) from error
        if version.digest and found.digest != version.digest:
            raise PipelineError(
                f"{uri}: its files have digest {found.digest[:12]}, version {version.number} was "
                f"registered with {version.digest[:12]}; somebody changed them, register it anew"
            )
        return found.folder

    def tag(self, version: Version, tags: Mapping[str, object]) -> None:
        """Set tags of a version."""
        with self._asking():
            set_tag, number = self.client.set_model_version_tag, str(version.number)
            for key, value in tags.items():
                faults.upsert(set_tag, self.name, number, key, str(value)[:5000])

    def event(self, version: Version, text: str) -> None:
        """Write a line into a version's history."""
        self.tag(version, {f"{Tag.EVENT}{time.time_ns() // 1_000_000}": text})

    def point(self, alias: str, version: Version, reason: str) -> None:
        """Move an alias to a version, and say why in its history."""
        with self._asking():
            set_alias = self.client.set_registered_model_alias
            faults.upsert(set_alias, self.name, alias, str(version.number))
        self.event(version, f"{alias}: {reason}")

    def drop(self, alias: str) -> None:
        """Remove an alias; nothing happens when there is none."""
        with self._asking(), faults.unless(_ABSENT):
            self.client.delete_registered_model_alias(self.name, alias)

    def bundle_uri(self, version: Version) -> str:
        """Where the version's bundle lies, as the store names it, with a slash at its end.

        KServe's storage initializer matches by prefix: without the slash, `…/1` brings `…/10`.
        """
        with self._asking():
            root = self.client.get_model_version_download_uri(self.name, str(version.number))
        return f"{root.rstrip('/')}/{BUNDLE_PATH}/"

    # Runs

    def run(self, job: str) -> Run:
        """The MLflow run of a pipeline run; made at the first call, found by the later ones.

        Args:
            job: the pipeline run's own id, so that a step that is tried again goes on in
                the same MLflow run.
        """
        if found := self.known_run(job):
            return found
        with self._asking():
            return self.client.create_run(
                self._experiment(), tags={RunTag.JOB: job}, run_name=job[-40:]
            )

    def known_run(self, job: str) -> Run | None:
        """The MLflow run of a pipeline run; None where there is none. Asking makes nothing."""
        with self._asking():
            experiment = self.client.get_experiment_by_name(self.settings.experiment)
            if experiment is None:
                return None
            found = self.client.search_runs(
                [experiment.experiment_id],
                f"tags.`{RunTag.JOB}` = '{job}'",
                max_results=1,
                # Should two have been made at once, all steps go on in the same one.
                order_by=["attributes.start_time ASC"],
            )
        return found[0] if found else None

    def runs(self, most: int = 10) -> list[Run]:
        """The latest pipeline runs, newest first."""
        with self._asking():
            found = self.client.get_experiment_by_name(self.settings.experiment)
            # Asking makes nothing: `status` may run with an account that only reads.
            if found is None:
                return []
            return list(
                self.client.search_runs(
                    [found.experiment_id],
                    order_by=["attributes.start_time DESC"],
                    max_results=most,
                )
            )

    def note(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Set tags of a run."""
        with self._asking():
            for key, value in tags.items():
                faults.upsert(self.client.set_tag, run_id, key, str(value)[:5000])

    def finish(self, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """Mark a run as ended."""
        with self._asking():
            self.client.set_terminated(run_id, status)

    # Links

    def version_url(self, number: int) -> str:
        """The page of a version in the MLflow UI."""
        return f"{self._ui()}/#/models/{self.name}/versions/{number}"

    def run_url(self, run: Run) -> str:
        """The page of a run in the MLflow UI."""
        return f"{self._ui()}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"

    def _ui(self) -> str:
        return (self.settings.mlflow_url or self.settings.tracking_uri).rstrip("/")

    def _experiment(self) -> str:
        name = self.settings.experiment
        if found := self.client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self.client.create_experiment(name))
        except MlflowException as error:
            # Two runs that start at once both find nothing.
            found = self.client.get_experiment_by_name(name)
            if error.error_code != _THERE or not found:
                raise
            return str(found.experiment_id)

    def _optional(self, get: Callable[[], ModelVersion], *absent: str) -> Version | None:
        with self._asking():
            try:
                return _version(get())
            except MlflowException as error:
                if error.error_code not in (_ABSENT, *absent):
                    raise
                return None

    def _asking(self) -> AbstractContextManager[None]:
        """Give what MLflow's client raises our own form."""
        return faults.translated(f"MLflow at {self.settings.tracking_uri}")


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    return Version(
        number=int(found.version),
        run_id=found.run_id or "",
        model_id=tags.get(Tag.MODEL_ID, ""),
        created_at=when(found.creation_timestamp),
        description=found.description or "",
        tags=tags,
        aliases=tuple(found.aliases),
    )
