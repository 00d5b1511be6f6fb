"""Tables among a run's artifacts that MLflow's UI shows as such."""

from __future__ import annotations

import json

from pipeline.registry import Registry, faults


def show(registry: Registry, run_id: str, path: str) -> None:
    """Have the UI show an artifact as a table, beside those that it shows already.

    Args:
        path: the artifact's, below the run.

    Raises:
        Unavailable: MLflow does not answer.
    """
    from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

    with faults.translated(f"MLflow at {registry.settings.tracking_uri}"):
        shown = json.loads(
            registry.client.get_run(run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]")
        )
        entry = {"path": path, "type": "table"}
        if entry not in shown:
            registry.client.set_tag(run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps([*shown, entry]))
