"""The Helm chart, rendered by Helm: the same objects as the base, and values that all count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm
import kustomized
import manifest_policies as policies
import manifest_schemas
import pytest
import yaml
from kustomized import ROOT, Object, of, title
from manifest_policies import Rule

CHART = ROOT / "charts" / "gliner-kserve"
RULES = (
    policies.unprivileged,
    policies.bounded,
    policies.probed,
    policies.ports_of_the_mode,
    policies.pinned,
    policies.no_secret_values,
    policies.labelled,
    policies.not_exposed,
    policies.scaled_as_kserve_allows,
    policies.in_time,
)

Keys = tuple[str, ...]
SAMPLES: dict[Keys, object] = {
    ("image", "repository"): "registry.example.com/gliner-kserve/predictor",
    ("image", "reference"): "0.2.0",
    ("replicas", "min"): 2,
    ("replicas", "max"): 7,
    ("resources", "requests", "cpu"): "1",
    ("resources", "requests", "memory"): "3Gi",
    ("resources", "limits", "cpu"): "3",
    ("resources", "limits", "memory"): "5Gi",
    ("timeouts", "request"): 60,
    ("timeouts", "drain"): 45,
    ("timeouts", "linger"): 7,
    ("settings",): {"GLINER_THRESHOLD": "0.4"},
    ("models", "secret"): "",
    ("models", "outside"): True,
    ("accounts", "predictor"): {"eks.amazonaws.com/role-arn": "arn:aws:iam::000000000000:role/a"},
    ("accounts", "pipeline"): {"eks.amazonaws.com/role-arn": "arn:aws:iam::000000000000:role/b"},
    ("quota", "requests.cpu"): "11",
    ("quota", "requests.memory"): "11Gi",
    ("quota", "limits.cpu"): "11",
    ("quota", "limits.memory"): "11Gi",
    ("quota", "requests.nvidia.com/gpu"): "1",
    ("quota", "pods"): "11",
    ("quota", "persistentvolumeclaims"): "1",
    ("quota", "services.loadbalancers"): "1",
    ("quota", "services.nodeports"): "1",
    ("quota", "count/inferenceservices.serving.kserve.io"): "1",
    ("namespaces", "gateways"): "ingress",
    ("namespaces", "knative"): "knative",
    ("namespaces", "monitoring"): "observability",
    ("namespaces", "mlflow"): "registry",
}
"""Another value for each that there is."""

WRONG: list[tuple[Keys, object]] = [
    (("image", "reference"), "latest"),
    (("image", "reference"), ""),
    (("image", "reference"), "sha256:123 x"),
    (("image", "repository"), "Upper/Case"),
    (("image", "tag"), "1"),
    (("replicas", "min"), -1),
    (("replicas", "min"), 4),
    (("replicas", "max"), 0),
    (("replicas", "max"), "three"),
    (("resources", "limits", "cpu"), 2),
    (("resources", "limits", "memory"), "4 gigabytes"),
    (("resources", "limits", "disk"), "1Gi"),
    (("timeouts", "request"), 0),
    (("timeouts", "drain"), "30s"),
    (("settings",), {"THRESHOLD": "0.4"}),
    (("settings",), {"GLINER_THRESHOLD": 0.4}),
    (("timeouts", "linger"), -1),
    (("settings",), {"GLINER_DRAIN_SECONDS": "1"}),
    (("settings",), {"GLINER_LINGER_SECONDS": "1"}),
    (("models", "secret"), "No Name"),
    (("models", "outside"), "yes"),
    (("accounts", "predictor"), {"a": 1}),
    (("accounts", "other"), {}),
    (("quota", "pods"), 40),
    (("namespaces", "mlflow"), "a/b"),
    (("typo",), 1),
]


def at(path: Keys, value: object) -> dict[str, Any]:
    """Values that set this one alone."""
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def leaves(values: dict[str, Any], above: Keys = ()) -> Iterator[Keys]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


def rendered(values: dict[str, Any] | None = None) -> list[Object]:
    return list(yaml.safe_load_all(helm.template(CHART, values)))


def by_title(objects: list[Object]) -> dict[str, Object]:
    assert len({title(one) for one in objects}) == len(objects)
    return {title(one): one for one in objects}


def based(folder: Path, *components: str) -> dict[str, Object]:
    """The base, in the namespace that the chart is rendered for."""
    above = folder.resolve()
    kustomization = {
        "namespace": "gliner",
        "resources": [os.path.relpath(ROOT / "manifests" / "base", above)],
        "components": [os.path.relpath(ROOT / one, above) for one in components],
    }
    (above / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return by_title(list(yaml.safe_load_all(kustomized.kustomize(above))))


def test_it_is_the_base(tmp_path: Path) -> None:
    """Object by object, field by field."""
    chart, base = by_title(rendered()), based(tmp_path)

    assert chart.keys() == base.keys()
    for name, one in chart.items():
        assert one == base[name], name
    assert len(base) == 12


def test_it_is_the_base_with_s3_outside_and_no_keys(tmp_path: Path) -> None:
    """Two values do what two components do."""
    chart = by_title(rendered({"models": {"secret": "", "outside": True}}))
    base = based(tmp_path, "manifests/components/s3-outside", "sa/components/no-keys")

    assert chart == base


def test_the_namespace_is_the_releases() -> None:
    """All of it, and the account that the role is bound to."""
    objects = list(yaml.safe_load_all(helm.template(CHART, namespace="other")))

    assert {one["metadata"]["namespace"] for one in objects} == {"other"}
    [binding] = of(objects, "RoleBinding")
    assert binding["subjects"][0]["namespace"] == "other"


def test_each_value_has_another_here() -> None:
    """So that the next test leaves none out."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert set(SAMPLES) == set(leaves(values))


@pytest.mark.parametrize("path", SAMPLES, ids=".".join)
def test_each_value_counts(path: Keys) -> None:
    """Another value makes other objects, which the API takes."""
    changed = rendered(at(path, SAMPLES[path]))

    assert changed != rendered()
    assert [manifest_schemas.problems(one) for one in changed] == [()] * len(changed)
    sample = SAMPLES[path]
    for word in sample.values() if isinstance(sample, dict) else (str(sample),):
        assert word in str(changed)


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_wrong_values_are_refused(path: Keys, value: object) -> None:
    """Before anything is sent to a cluster, by the name of the value."""
    with pytest.raises(helm.Refused) as error:
        rendered(at(path, value))

    assert path[-1] in str(error.value)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize(
    "path",
    [(), ("settings",), ("image", "reference"), *(key for key in SAMPLES if key[0] == "timeouts")],
)
def test_rules(rule: Rule, path: Keys) -> None:
    """What holds for every environment holds for the chart, with values of one's own too."""
    objects = rendered(at(path, SAMPLES[path]) if path else {})

    assert list(rule(objects)) == []


@pytest.mark.parametrize("longest", ["request", "drain", "linger"])
def test_a_long_stop_is_waited_for(longest: str) -> None:
    """Knative's patience is longer than each of the times."""
    timeouts = {"request": 20, "drain": 20, "linger": 20, longest: 300}
    [service] = of(rendered({"timeouts": timeouts}), "InferenceService")

    assert service["spec"]["predictor"]["timeout"] == 310
