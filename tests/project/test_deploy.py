"""docs/deploy.md names what exists, in an order that works; its reader would see what does not."""

from __future__ import annotations

import deploy_commands
import pytest
from deploy_commands import DOCUMENT, blocks, problems

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_each_command_names_what_exists() -> None:
    """Files, folders, flags, objects, namespaces, ports, images, and what is said to be made."""
    assert problems(TEXT) == []


def test_there_are_commands() -> None:
    """The reader finds them: of each program at least one."""
    programs = {words[0] for words, _ in blocks(TEXT)}

    assert programs >= {"minikube", "kubectl", "docker", "make", "curl", ".venv/bin/python"}
    assert sum(1 for _ in blocks(TEXT)) > 30


def test_images_are_those_of_a_laptop() -> None:
    """What is loaded is what the manifests for one machine run, and what runs are made with."""
    loaded = {words[3] for words, _ in blocks(TEXT) if words[:3] == ["minikube", "image", "load"]}

    assert deploy_commands.images() <= loaded


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("-k manifests/environments/local\n", "-k manifests/environments/laptop\n", "there is no"),
        ("inferenceservice/gliner\n", "inferenceservice/ner\n", "nothing made"),
        ("wait -n gliner", "wait -n ner", "no namespace ner"),
        ("job/mysql-reader", "job/mysql-readers", "nothing made"),
        ("5000:5000", "5000:5001", "has no port 5001"),
        ("8888:8888", "8889:8888", "nothing leads to"),
        ("--build-arg TORCH_INDEX", "--build-arg INDEX", "no argument INDEX"),
        ("load dev.local/gliner-kserve/mlflow:0.1.0", "load mlflow:0.1.0", "was not built"),
        ("make secrets\n", "make keys\n", "no target keys"),
        ("--review required", "--reviews required", "not understood"),
        ("Host: ner.local.test", "Host: ner.example.com", "host is ner.local.test"),
        ("PIPELINE_KFP_HOST", "PIPELINE_KUBEFLOW", "no setting"),
        ("secret/gliner-s3 created", "secret/s3 created", "does not print secret/s3"),
        ("gateway.networking.istio.io/gliner created\n", "", "prints gateway"),
        ("gateway.networking.istio.io/gliner c", "gateway.istio.io/gliner c", "does not print"),
        (
            "secret/gliner-s3 created\nsecret/gliner-s3-read created\n",
            "secret/gliner-s3-read created\nsecret/gliner-s3 created\n",
            "another order",
        ),
        ("$ kubectl create namespace kubeflow\n", "", "no namespace kubeflow yet"),
        ("namespace/mlflow configured", "namespace/mlflow created", "does not print namespace"),
        ("logs -n gliner deployment/gliner-reviews", "logs -n gliner deployment/reviews", "made"),
        ("minio-root.env", "minio.env", "draws no"),
        (":s3:data/eval", ":s3:labels/eval", "nothing makes the bucket labels"),
        ("scripts/venv.sh", "scripts/environment.sh", "there is no"),
        ("kustomize/env/platform-agnostic", "kustomize/env/laptop", "not known"),
        ("kube-prometheus/manifests/setup\n", "kube-prometheus/setup\n", "not known"),
        ("prometheus/k8s\n", "prometheus/main\n", "nothing made"),
        ("|.*components/kubeflow-alone|", "|.*components/kubeflow-not|", "changes nothing"),
        ("configmap/gliner-pipeline configured", "configmap/gliner-pipeline unchanged", "prints"),
        ("-C grafana provisioning", "-C grafana provisions", "there is no"),
        ("--from-file=build/grafana.tar.gz", "--from-file=build/grafana.tgz", "nothing made"),
        ("-n monitoring gliner-grafana -o", "-n monitoring grafana -o", "nothing made the secret"),
        ("9090:9090", "9090:9091", "has no port 9091"),
    ],
)
def test_a_wrong_name_is_seen(right: str, wrong: str, said: str) -> None:
    """Each kind of check fails on a document that is wrong in one place."""
    assert right in TEXT

    found = problems(TEXT.replace(right, wrong))

    assert any(said in one for one in found), found


def test_each_command_says_what_it_prints_or_is_one_that_is_silent() -> None:
    """What stands without a line below it is of the kind that prints nothing."""
    silent = ("minikube", "set", "export", "RCLONE", "sed", "tar")
    bare = [" ".join(words) for words, printed in blocks(TEXT) if not any(line for line in printed)]

    assert [one for one in bare if not one.startswith(silent)] == []
