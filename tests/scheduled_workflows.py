"""What Kubeflow's controller and kube-state-metrics make of Kubeflow's recurring runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import reduce
from typing import Any

import yaml
from alertmanagers import FOLDER
from kubeflow_api import Kubeflow
from prometheus_client.core import GaugeMetricFamily

from pipeline.runs.recurring import Cron

NAMESPACE = "gliner"
Object = dict[str, Any]


@dataclass
class Controller:
    """The Deployment `ml-pipeline-scheduledworkflow`: says when each run is due next.

    Attributes:
        stopped: since when it does nothing; None while it runs.
    """

    kubeflow: Kubeflow
    stopped: datetime | None = None

    def objects(self) -> list[Object]:
        """The ScheduledWorkflows, one for each recurring run."""
        at = self.stopped or datetime.now(timezone.utc)
        return [_object(one, at) for one in list(self.kubeflow.recurring_runs.values())]


def _object(run: Object, at: datetime) -> Object:
    cron = run["trigger"]["cron_schedule"]["cron"]
    [due] = Cron.parse(cron).next(1, at)
    # Kubeflow leaves `enabled` out where it is false, and ends names with five letters of its own.
    enabled = {"enabled": True} if run.get("mode") == "ENABLE" else {}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "ScheduledWorkflow",
        "metadata": {
            "namespace": NAMESPACE,
            "name": f"{run['display_name']}{run['recurring_run_id'][:5]}",
        },
        "spec": {**enabled, "trigger": {"cronSchedule": {"cron": cron}}},
        "status": {"trigger": {"nextTriggeredTime": due.strftime("%Y-%m-%dT%H:%M:%SZ")}},
    }


def metrics(objects: list[Object]) -> Iterator[GaugeMetricFamily]:
    """What kube-state-metrics exports of objects, by our own configuration of it."""
    told = yaml.safe_load((FOLDER / "kube-state-metrics.yaml").read_text("utf-8"))
    [resource] = told["spec"]["resources"]
    kind = resource["groupVersionKind"]
    for metric in resource["metrics"]:
        gauge = metric["each"]["gauge"]
        of = {f"customresource_{key}": kind[key] for key in ("group", "kind", "version")}
        labels = [*of, *resource["labelsFromPath"]]
        family = GaugeMetricFamily(
            f"{resource['metricNamePrefix']}_{metric['name']}", metric["help"], labels=labels
        )
        for one in objects:
            assert one["kind"] == kind["kind"]
            found = [str(_at(one, path)) for path in resource["labelsFromPath"].values()]
            value = _at(one, gauge["path"])
            if value is not None or gauge.get("nilIsZero"):
                family.add_metric([*of.values(), *found], _number(value))
        yield family


def _at(value: Any, path: list[str]) -> Any:
    return reduce(lambda found, key: (found or {}).get(key), path, value)


def _number(value: Any) -> float:
    """As kube-state-metrics reads one: nothing is 0, true is 1, a time is in seconds."""
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value or 0)
