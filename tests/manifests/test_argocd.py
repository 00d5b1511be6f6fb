"""Argo CD's project and applications: what git may do in a cluster, and where a person decides."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import helm
import kustomized
import manifest_schemas
import pytest
import yaml
from kustomized import ROOT, Object, of, title

ENVIRONMENTS = ("dev", "staging", "production")


@cache
def _text() -> str:
    return kustomized.kustomize(ROOT / "manifests" / "argocd")


@pytest.fixture
def project() -> Object:
    return of(list(yaml.safe_load_all(_text())), "AppProject")[0]


@pytest.fixture
def applications() -> dict[str, Object]:
    """What the ApplicationSet makes, by environment: its templates on Go's own engine."""
    return dict(_applications())


@cache
def _applications() -> tuple[tuple[str, Object], ...]:
    [made] = of(list(yaml.safe_load_all(_text())), "ApplicationSet")
    [generator] = made["spec"]["generators"]
    found = []
    for element in generator["list"]["elements"]:
        one = yaml.safe_load(helm.text(yaml.safe_dump(made["spec"]["template"]), element))
        patch = yaml.safe_load(helm.text(made["spec"]["templatePatch"], element)) or {}
        found.append((element["environment"], merged(one, patch)))
    return tuple(found)


def merged(one: Object, patch: Object) -> Object:
    """A merge patch, as Argo CD applies it."""
    found = deepcopy(one)
    for key, value in patch.items():
        found[key] = merged(found.get(key, {}), value) if isinstance(value, dict) else value
    return found


def test_schemas(applications: dict[str, Object]) -> None:
    """Project, set, and each application that the set makes."""
    built = list(yaml.safe_load_all(_text()))
    made = [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **one}
        for one in applications.values()
    ]

    assert {one["metadata"]["namespace"] for one in built} == {"argocd"}
    assert [manifest_schemas.problems(one) for one in [*built, *made]] == [()] * 5


@pytest.mark.parametrize("kind", ["AppProject", "ApplicationSet"])
def test_mistakes_are_found(kind: str) -> None:
    """A field that Argo CD does not know."""
    [one] = of(list(yaml.safe_load_all(_text())), kind)
    one["spec"]["typo"] = 1

    assert manifest_schemas.problems(one)


def test_each_environment_is_an_application(
    project: Object, applications: dict[str, Object]
) -> None:
    """Its folder is there, the namespace is its own, and the source is the trusted one."""
    assert tuple(applications) == ENVIRONMENTS
    for name, one in applications.items():
        spec = one["spec"]
        [namespace] = of(kustomized.build(name), "Namespace")
        assert one["metadata"]["name"] == f"gliner-{name}"
        assert (ROOT / spec["source"]["path"] / "kustomization.yaml").is_file()
        assert spec["destination"] == {"name": name, "namespace": namespace["metadata"]["name"]}
        assert spec["project"] == project["metadata"]["name"]
        assert [spec["source"]["repoURL"]] == project["spec"]["sourceRepos"]


def test_production_waits_for_a_person(applications: dict[str, Object]) -> None:
    """The others follow git by themselves, and put back what was changed by hand."""
    policies = {name: one["spec"]["syncPolicy"] for name, one in applications.items()}

    assert "automated" not in policies["production"]
    for name in ("dev", "staging"):
        assert policies[name]["automated"] == {"prune": True, "selfHeal": True}
    options = [one["syncOptions"] for one in policies.values()]
    assert options == [["ServerSideApply=true", "FailOnSharedResource=true", "PruneLast=true"]] * 3


def test_the_project_allows_what_the_environments_have_and_no_more(
    project: Object, applications: dict[str, Object]
) -> None:
    """Kinds and places: none too few, none too many, no wildcard, no Secret."""
    kinds: set[tuple[str, str]] = set()
    cluster_kinds: set[tuple[str, str]] = set()
    places: set[tuple[str, str]] = set()
    for name, application in applications.items():
        for one in kustomized.build(name):
            kind = (one["apiVersion"].rpartition("/")[0], one["kind"])
            namespace = one["metadata"].get("namespace")
            (kinds if namespace else cluster_kinds).add(kind)
            if namespace:
                places.add((application["spec"]["destination"]["name"], namespace))
    spec = project["spec"]

    def allowed(field: str) -> list[tuple[str, str]]:
        return [(one["group"], one["kind"]) for one in spec[field]]

    assert sorted(allowed("namespaceResourceWhitelist")) == sorted(kinds)
    assert sorted(allowed("clusterResourceWhitelist")) == sorted(cluster_kinds)
    assert {(one["name"], one["namespace"]) for one in spec["destinations"]} == places
    assert "*" not in str(spec)
    assert ("", "Secret") not in kinds


def test_no_two_applications_have_one_object(applications: dict[str, Object]) -> None:
    """Each would undo what the other does."""
    found = [
        (application["spec"]["destination"]["name"], one["metadata"].get("namespace"), title(one))
        for name, application in applications.items()
        for one in kustomized.build(name)
    ]

    assert len(set(found)) == len(found)


def test_rollouts_keep_what_they_write(applications: dict[str, Object]) -> None:
    """No environment has a field that is ignored: git would say it in vain."""
    for name, application in applications.items():
        [ignored] = application["spec"]["ignoreDifferences"]
        [service] = of(kustomized.build(name), ignored["kind"])
        for pointer in ignored["jsonPointers"]:
            *way, last = pointer.strip("/").split("/")
            inner = service
            for key in way:
                inner = inner[key]
            assert last not in inner
        assert "/spec/predictor/model/storageUri" in ignored["jsonPointers"]
