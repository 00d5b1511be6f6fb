"""The commands of docs/deploy.md, read one after another against the repository.

Like a cluster it remembers what was applied: a command that waits for an object needs one that
brought it. What other projects install is listed here, with its source.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kustomized
import yaml
from kustomized import ROOT, Object, containers

from pipeline.__main__ import parser
from pipeline.settings import Settings

DOCUMENT = ROOT / "docs" / "deploy.md"

# KServe 0.20, hack/setup/quick-install; Istio's chart `gateway`; Kubeflow Pipelines 2.17,
# manifests/kustomize/base/pipeline; kube-prometheus 0.18, manifests.
OTHERS: dict[tuple[str, str], set[int]] = {
    ("istio-system", "service/istio-ingressgateway"): {80, 443},
    ("kubeflow", "service/ml-pipeline"): {8888, 8887},
    ("kubeflow", "service/ml-pipeline-ui"): {80},
    ("monitoring", "service/prometheus-operated"): {9090},
}
"""Services that others install, and their ports."""
BROUGHT = {"kserve", "istio-system"}
"""Namespaces that KServe's installer makes."""
CLONED: dict[str, tuple[str, str]] = {
    "kube-prometheus/manifests/setup": ("monitoring", ""),
    "kube-prometheus/manifests": ("monitoring", "prometheus/k8s"),
}
"""What others keep in a folder that is applied: its namespace, and what is waited for there."""
_URLS = {
    "https://github.com/kserve/kserve",
    "https://github.com/prometheus-operator/kube-prometheus",
    "https://github.com/kubeflow/pipelines/manifests/kustomize/cluster-scoped-resources",
    "https://github.com/kubeflow/pipelines/manifests/kustomize/env/platform-agnostic",
}
_INSTALLER = (
    "build/kserve/hack/setup/quick-install/kserve-knative-mode-full-install-with-manifests.sh"
)
_APPLIED = re.compile(r"(\S+/\S+) (created|configured|unchanged)")
_PIPELINE = [".venv/bin/python", "-m", "pipeline"]


def blocks(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Each command, as words, with the lines that it is said to print."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        command: list[str] = []
        printed: list[str] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, printed
                lexer = shlex.shlex(line[2:], posix=True, punctuation_chars=";")
                lexer.whitespace_split = True
                command, printed = list(lexer), []
            else:
                printed.append(line)
        yield command, printed


def problems(text: str) -> list[str]:
    """What is wrong with a document, command by command."""
    reader = _Reader()
    return [
        f"{shlex.join(words)}: {one}"
        for words, printed in blocks(text)
        for one in (*reader.read(words), *reader.compare(printed))
    ]


class _Reader:
    def __init__(self) -> None:
        # Kubernetes' own; more come with what is installed and applied.
        self._namespaces = {"default"}
        self._there: dict[tuple[str, str], Object] = {}
        self._applied: list[str] = []
        self._built: set[str] = set()
        self._forwarded: dict[int, str] = {}
        self._made_otherwise: set[str] = set()
        self._cloned: set[str] = set()
        self._packed: set[str] = set()
        # Where the manifests are as the commands have changed them.
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._environment = yaml.safe_load(
            (ROOT / "manifests/environments/local/namespace.yaml").read_text()
        )

    def read(self, words: list[str]) -> Iterator[str]:
        """What is wrong with a command."""
        self._applied = []
        while words and re.match(r"[A-Z_0-9]+=", words[0]):
            words = words[1:]
        if words[: len(_PIPELINE)] == _PIPELINE:
            yield from self._pipeline(words[len(_PIPELINE) :])
            return
        readers: dict[str, Callable[[list[str]], Iterator[str]]] = {
            "minikube": self._minikube,
            "git": self._git,
            "kubectl": self._kubectl,
            "docker": self._docker,
            "make": self._make,
            "curl": self._curl,
            "sed": self._sed,
            "tar": self._tar,
            "export": self._export,
            "set": self._source,
            ".venv/bin/rclone": self._rclone,
        }
        program, *rest = words
        if program in readers:
            yield from readers[program](rest)
        elif program == _INSTALLER:
            self._namespaces |= BROUGHT
        else:
            yield from _there(program)

    def compare(self, printed: list[str]) -> Iterator[str]:
        """What a command is said to have made: all that it makes, in kubectl's order."""
        said = [line for line in printed if _APPLIED.fullmatch(line)]
        for line in said:
            if line not in self._applied:
                yield f"does not print {line}"
        for line in self._applied:
            if line not in said:
                yield f"prints {line}"
        if said != self._applied and sorted(said) == sorted(self._applied):
            yield "prints the same in another order"

    def _minikube(self, words: list[str]) -> Iterator[str]:
        if words[:2] == ["image", "load"] and words[2] not in self._built:
            yield f"{words[2]} was not built"
        elif words[0] not in ("start", "image", "delete"):
            yield f"minikube has no {words[0]} here"

    def _git(self, words: list[str]) -> Iterator[str]:
        *_, address, folder = words
        if words[0] != "clone" or address not in _URLS or not folder.startswith("build/"):
            yield "clones something else, or into a folder that git does not ignore"
        self._cloned.add(folder)

    def _sed(self, words: list[str]) -> Iterator[str]:
        flag, expression, path = words
        yield from _there(path)
        if self._copy is None:
            self._copy = tempfile.TemporaryDirectory()
            for folder in ("manifests", "sa"):
                shutil.copytree(ROOT / folder, Path(self._copy.name, folder))
        file = Path(self._copy.name, path)
        before = file.read_text()
        subprocess.run(["sed", flag, expression, str(file)], check=True)
        if file.read_text() == before:
            yield f"changes nothing in {path}"

    def _tar(self, words: list[str]) -> Iterator[str]:
        flags, made, into, folder, *packed = words
        if (flags, into) != ("-czf", "-C") or not made.startswith("build/"):
            yield "packs otherwise, or into a folder that git does not ignore"
        for one in packed:
            yield from _there(f"{folder}/{one}")
        self._packed.add(made)

    def _docker(self, words: list[str]) -> Iterator[str]:
        if words[:2] != ["buildx", "build"]:
            yield "is no build"
            return
        file = words[words.index("-f") + 1]
        yield from _there(file)
        arguments = [words[at + 1] for at, one in enumerate(words) if one == "--build-arg"]
        for name in (one.partition("=")[0] for one in arguments):
            if f"ARG {name}" not in (ROOT / file).read_text():
                yield f"{file} has no argument {name}"
        self._built.add(words[words.index("-t") + 1])

    def _make(self, words: list[str]) -> Iterator[str]:
        if f"\n{words[0]}: " not in (ROOT / "Makefile").read_text():
            yield f"there is no target {words[0]}"

    def _export(self, words: list[str]) -> Iterator[str]:
        for name, _, value in (one.partition("=") for one in words):
            if name.removeprefix("PIPELINE_").lower() not in Settings.model_fields:
                yield f"{name} is no setting"
            if name == "PIPELINE_IMAGE" and value not in self._built:
                yield f"{value} was not built"
            if value.startswith("http://"):
                yield from self._address(value)

    def _source(self, words: list[str]) -> Iterator[str]:
        file = Path(words[words.index(".") + 1])
        if f"keep {file.name}" not in (ROOT / file.parent / "generate.sh").read_text():
            yield f"make secrets draws no {file}"

    def _rclone(self, words: list[str]) -> Iterator[str]:
        verb, source, target, *flags = words
        yield from _there(source)
        bucket = target.removeprefix(":s3:").partition("/")[0]
        made = re.search(r"for bucket in (.*); do", (ROOT / "mlflow/base/buckets.sh").read_text())
        if verb != "copy" or not made or bucket not in made[1].split():
            yield f"nothing makes the bucket {bucket}"
        yield from self._address(flags[flags.index("--s3-endpoint") + 1])

    def _pipeline(self, words: list[str]) -> Iterator[str]:
        try:
            parser().parse_args(words)
        except SystemExit:
            yield "is not understood"

    def _curl(self, words: list[str]) -> Iterator[str]:
        address = next(one for one in words if one.startswith("http"))
        yield from self._address(address)
        headers = [words[at + 1] for at, one in enumerate(words) if one == "-H"]
        host = self._environment["metadata"]["annotations"]["gliner-kserve/host"]
        if f"Host: {host}" not in headers:
            yield f"the environment's host is {host}"
        if "-d" in words:
            json.loads(words[words.index("-d") + 1])

    def _address(self, address: str) -> Iterator[str]:
        found = re.match(r"http://localhost:(\d+)", address)
        if not found or int(found[1]) not in self._forwarded:
            yield f"nothing leads to {address}"

    def _kubectl(self, words: list[str]) -> Iterator[str]:
        words = [one for one in words if one not in ("-w", "--all", "--server-side")]
        namespace = ""
        if "-n" in words:
            at = words.index("-n")
            namespace = words[at + 1]
            del words[at : at + 2]
            if namespace not in self._namespaces:
                yield f"there is no namespace {namespace} yet"
        verb, *rest = words
        if verb in ("apply", "delete"):
            yield from self._apply(rest, namespace, gone=verb == "delete")
        elif words[:2] == ["create", "namespace"]:
            self._add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": words[2]}}, "")
            # Made without `apply`, which notices when it comes to it.
            self._made_otherwise.add(words[2])
        elif words[:3] == ["create", "secret", "generic"]:
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": words[3]}}
            self._add(secret, namespace)
        elif words[:2] == ["create", "configmap"]:
            if words[3].removeprefix("--from-file=") not in self._packed:
                yield f"nothing made {words[3]}"
            config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": words[2]}}
            self._add(config, namespace)
        elif words[:2] == ["get", "secret"]:
            if (namespace, f"secret/{words[2]}") not in self._there:
                yield f"nothing made the secret {words[2]} in {namespace}"
        elif verb == "port-forward":
            yield from self._forward(namespace, *rest)
        elif verb in ("wait", "rollout", "get", "logs"):
            for one in (each for each in rest if "/" in each and not each.startswith("-")):
                if not one.startswith("crd/") and (namespace, one) not in self._there:
                    yield f"nothing made {one} in {namespace}"
        else:
            yield f"kubectl {verb} is not known here"

    def _apply(self, rest: list[str], namespace: str, *, gone: bool) -> Iterator[str]:
        flag, path = rest
        address = path.partition("?")[0]
        if address.startswith("https:"):
            if address not in _URLS:
                yield f"{address} is not known here"
            if "kubeflow/pipelines" in address:
                self._namespaces.add("kubeflow")
            return
        folder = next((one for one in self._cloned if path.startswith(f"{one}/")), "")
        if folder:
            inside = path.removeprefix("build/")
            if inside not in CLONED:
                yield f"{path} is not known here"
                return
            home, thing = CLONED[inside]
            self._namespaces.add(home)
            if thing:
                self._there[home, thing] = {}
            return
        yield from _there(path)
        changed = self._copy and path.startswith(("manifests/", "sa/"))
        root = Path(self._copy.name) if self._copy and changed else ROOT
        if (ROOT / path).exists():
            for one in () if gone else _objects(root / path, flag):
                home = one["metadata"].get("namespace") or namespace
                if home and home not in self._namespaces:
                    yield f"there is no namespace {home} yet for {one['kind']}"
                self._add(one, namespace)

    def _add(self, one: Object, namespace: str) -> None:
        kind, name = one["kind"].lower(), one["metadata"]["name"]
        group = one["apiVersion"].rpartition("/")[0]
        where = (one["metadata"].get("namespace") or namespace, f"{kind}/{name}")
        done = "created"
        if where in self._there:
            same = self._there[where] == one and name not in self._made_otherwise
            done = "unchanged" if same else "configured"
        if kind == "namespace":
            self._namespaces.add(name)
            self._made_otherwise.discard(name)
        self._there[where] = one
        self._applied.append(f"{kind}{group and '.'}{group}/{name} {done}")

    def _forward(self, namespace: str, service: str, ports: str) -> Iterator[str]:
        here, there = map(int, ports.split(":"))
        known = OTHERS.get((namespace, service), set())
        if ours := self._there.get((namespace, service)):
            known = {one["port"] for one in ours["spec"]["ports"]}
        if there not in known:
            yield f"{service} in {namespace} has no port {there}"
        self._forwarded[here] = service


def images() -> set[str]:
    """What the objects of a laptop run, of our own images."""
    objects = [
        *kustomized.build("local"),
        *yaml.safe_load_all(kustomized.kustomize(ROOT / "mlflow" / "local")),
    ]
    return {one["image"] for _, one in containers(objects) if "gliner-kserve" in one["image"]}


def _there(path: str) -> Iterator[str]:
    if not (ROOT / path).exists():
        yield f"there is no {path}"


@cache
def _objects(path: Path, flag: str) -> list[Any]:
    if flag == "-f":
        return list(yaml.safe_load_all(path.read_text()))
    kustomization = yaml.safe_load((path / "kustomization.yaml").read_text())
    if generated := kustomization.get("secretGenerator"):
        # Its files are not there until `make secrets` has drawn them.
        metadata = {"namespace": kustomization["namespace"]} if "namespace" in kustomization else {}
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": one["name"], **metadata},
            }
            for one in sorted(generated, key=lambda one: str(one["name"]))
        ]
    return list(yaml.safe_load_all(kustomized.kustomize(path)))
