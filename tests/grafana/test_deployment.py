"""`grafana/deployment.yaml`: a Grafana on a cluster that has all of this folder."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import deploy_commands
import kustomized
import manifest_policies as policies
import manifest_references as references
import manifest_schemas
import pytest
import yaml
from grafana_rules import ROOT
from kustomized import Object

OBJECTS: list[Object] = list(yaml.safe_load_all((ROOT / "deployment.yaml").read_text("utf-8")))
[DEPLOYMENT] = kustomized.of(OBJECTS, "Deployment")
POD: Object = DEPLOYMENT["spec"]["template"]["spec"]
[INIT], [GRAFANA] = POD["initContainers"], POD["containers"]
LABELS = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]


def test_each_object_is_valid() -> None:
    """No unknown field, nothing required missing, by Kubernetes' own schemas."""
    assert [problem for one in OBJECTS for problem in manifest_schemas.problems(one)] == []


@pytest.mark.parametrize(
    "rule", [policies.unprivileged, policies.bounded, policies.no_secret_values]
)
def test_pods_keep_the_rules(rule: policies.Rule) -> None:
    """Those of every other pod here."""
    assert list(rule(OBJECTS)) == []


def test_the_service_leads_to_it() -> None:
    """By its labels, and to a port that it has."""
    [service] = kustomized.of(OBJECTS, "Service")

    assert service["spec"]["selector"].items() <= LABELS.items()
    assert references.selects(DEPLOYMENT["spec"]["selector"], LABELS)
    assert service["spec"]["ports"][0]["targetPort"] in {one["name"] for one in GRAFANA["ports"]}


def test_mysql_lets_it_in() -> None:
    """MySQL's network policy knows it by its namespace and its label."""
    [policy] = [
        one
        for one in yaml.safe_load_all(
            (ROOT.parent / "mlflow/base/network-policies.yaml").read_text("utf-8")
        )
        if one["metadata"]["name"] == "mysql"
    ]
    [*_, source] = policy["spec"]["ingress"][0]["from"]

    assert references.selects(source["podSelector"], LABELS)
    assert source["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": DEPLOYMENT["metadata"]["namespace"]
    }


def test_it_has_what_provisioning_asks_for() -> None:
    """Each variable of the data sources, in both containers, and the account of `reader.sql`."""
    text = (ROOT / "provisioning/datasources/gliner.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$(GLINER_\w+)", text)) - {"GLINER_TRACES_URL"}
    given = {one["name"]: one.get("value") for one in GRAFANA["env"]}

    assert asked <= set(given)
    assert INIT["env"] == GRAFANA["env"]
    assert f"'{given['GLINER_MYSQL_USER']}'@" in (ROOT / "reader.sql").read_text("utf-8")
    assert INIT["image"] == GRAFANA["image"]
    assert re.search(r":\d+\.\d+\.\d+$", GRAFANA["image"])


def test_its_files_are_laid_out(tmp_path: Path) -> None:
    """The archive that docs/deploy.md packs, unpacked by the init container's own command."""
    [packing] = [
        words
        for words, _ in deploy_commands.blocks(deploy_commands.DOCUMENT.read_text("utf-8"))
        if words[0] == "tar"
    ]
    folders = {one["mountPath"]: tmp_path / one["name"] for one in INIT["volumeMounts"]}
    for folder in folders.values():
        folder.mkdir()
    archive = folders["/files"] / Path(packing[2]).name
    subprocess.run([*packing[:2], archive, *packing[3:]], cwd=ROOT.parent, check=True)
    command = re.sub(
        rf"(?<= )({'|'.join(folders)})(?=[/\s])",
        lambda found: shlex.quote(str(folders[found[1]])),
        INIT["command"][-1],
    )

    subprocess.run([*INIT["command"][:2], command], check=True, env={"PATH": "/usr/bin:/bin"})
    there = {
        file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()
    }

    assert "provisioning/alerting/rules-quality.yaml" in there
    assert "provisioning/datasources/gliner.yaml" in there
    assert "provisioning/alerting/contact-points-slack.yaml" not in there
    assert {
        f"data/dashboards/gliner/{one.name}" for one in (ROOT / "dashboards").iterdir()
    } <= there
    # Kubernetes takes no more in a config map.
    assert archive.stat().st_size < 2**20 * 3 // 4
