"""Names in the manifests that must lead somewhere, and pods that must be covered."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kustomized import Object, containers, of, pods, predictors, title
from manifest_policies import Rule

GIVEN = {
    ("Secret", "gliner-tls"): "the host's certificate, by cert-manager or by hand",
    ("Secret", "gliner-s3-read"): "sa/credentials or sa/components/external-secrets",
    ("Secret", "gliner-reviews"): "sa/credentials or sa/components/external-secrets",
    ("Secret", "gliner-slack"): "whoever has a Slack; it may be missing",
    ("Secret", "gliner-api-keys"): "sa/credentials or sa/components/api-keys",
    ("ServiceAccount", "pipeline-runner"): "Kubeflow Pipelines, in its own namespace",
    ("ServiceAccount", "prometheus-k8s"): "kube-prometheus",
    ("Service", "knative-local-gateway.istio-system.svc.cluster.local"): "Knative with Istio",
    ("Deployment", "ingressgateway"): "Istio",
    ("Deployment", "kserve-ingress-gateway"): "KServe with Istio as its gateway",
}
"""What a build may name though it is not in it, and who brings it."""

_OF_RUNS = ("ConfigMap gliner-pipeline", "kubeflow")
"""What goes where runs are, with Kubeflow Pipelines by itself."""

_POD = "serving.kserve.io/inferenceservice"
_GRAPH = "serving.kserve.io/inferencegraph"
_GATEWAYS = {"istio-system", "kserve"}
_OF_PROMETHEUS = ("NetworkPolicy gliner-asks-prometheus", "monitoring")
_ELSEWHERE = {"pipeline-runner": "kubeflow", "prometheus-k8s": "monitoring"}
"""Accounts that others made, and the namespace of each."""
_UNITS = {"m": Decimal("0.001"), "Mi": Decimal(2**20), "Gi": Decimal(2**30)}


def accounts_and_runtimes(objects: list[Object]) -> Iterator[str]:
    """Service accounts, runtimes, roles, secrets and the services of a graph."""
    for one in of(objects, "InferenceService"):
        spec = one["spec"]["predictor"]
        yield from _missing(objects, one, "ServiceAccount", spec.get("serviceAccountName"))
        if "model" in spec:
            yield from _missing(objects, one, "ServingRuntime", spec["model"].get("runtime"))
            for runtime in of(objects, "ServingRuntime"):
                formats = [each["name"] for each in runtime["spec"]["supportedModelFormats"]]
                if spec["model"]["modelFormat"]["name"] not in formats:
                    yield f"{title(one)}: {title(runtime)} has no such format"
    for one in of(objects, "InferenceGraph"):
        for node in one["spec"]["nodes"].values():
            for step in node["steps"]:
                yield from _missing(objects, one, "InferenceService", step["serviceName"])
            if sum(step["weight"] for step in node["steps"]) != 100:
                yield f"{title(one)}: the weights are not 100 together"
    for one in of(objects, "ServiceAccount"):
        for secret in one.get("secrets", ()):
            yield from _missing(objects, one, "Secret", secret["name"])
    for one in of(objects, "RoleBinding"):
        yield from _missing(objects, one, one["roleRef"]["kind"], one["roleRef"]["name"])
        for subject in one["subjects"]:
            yield from _missing(objects, one, subject["kind"], subject["name"])
            home = one["metadata"].get("namespace")
            if subject.get("namespace") != _ELSEWHERE.get(subject["name"], home):
                yield f"{title(one)}: the account is in another namespace"


def at_home(objects: list[Object]) -> Iterator[str]:
    """All is in the namespace that the build makes, but for what is a gateway's, of runs, or in
    front of Prometheus."""
    [home] = [one["metadata"]["name"] for one in of(objects, "Namespace")]
    found = {
        one["metadata"].get("namespace")
        for one in objects
        if one["kind"] != "Namespace"
        and one["metadata"].get("namespace") not in _GATEWAYS
        and (title(one), one["metadata"].get("namespace")) not in (_OF_RUNS, _OF_PROMETHEUS)
    }
    # A combination alone says none: whoever applies it does.
    if found not in ({home}, {None}):
        yield f"objects are in {sorted(map(str, found))}, not all in {home}"


def deployments(objects: list[Object]) -> Iterator[str]:
    """Account, selector, Service and the port behind it; and the image that it hands on."""
    for one in of(objects, "Deployment"):
        spec = one["spec"]["template"]["spec"]
        labels = one["spec"]["template"]["metadata"]["labels"]
        yield from _missing(objects, one, "ServiceAccount", spec["serviceAccountName"])
        if not selects(one["spec"]["selector"], labels):
            yield f"{title(one)}: its selector does not find its pods"
        [container] = spec["containers"]
        ports = {each["name"] for each in container["ports"]}
        services = [
            each
            for each in of(objects, "Service")
            if each["spec"]["selector"].items() <= labels.items()
        ]
        for service in services:
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield f"{title(service)}: no port {port['targetPort']} in {title(one)}"
        for variable in container["env"]:
            if variable["name"] == "PIPELINE_IMAGE" and variable["value"] != container["image"]:
                yield f"{title(one)}: starts runs of {variable['value']}, which is not its own"
        called = {
            f"http://{each['metadata']['name']}.{home['metadata']['name']}.svc.cluster.local"
            f":{port['port']}"
            for each in services
            for port in each["spec"]["ports"]
            for home in of(objects, "Namespace")
        }
        for flag in container["args"]:
            if flag.startswith("--url=") and flag.removeprefix("--url=") not in called:
                yield f"{title(one)}: {flag} is not its Service"


def inside_a_pod(objects: list[Object]) -> Iterator[str]:
    """Volumes that are mounted, and config maps and secrets that variables come from."""
    for where, spec in pods(objects):
        volumes = {one["name"] for one in spec.get("volumes", ())}
        mounts = {mount["name"] for one in spec["containers"] for mount in one["volumeMounts"]}
        for name in volumes ^ mounts:
            yield f"{where}: volume {name} is mounted or there, but not both"
        for volume in spec.get("volumes", ()):
            name = volume.get("secret", {}).get("secretName")
            if name and ("Secret", name) not in GIVEN:
                yield f"{where}: nobody brings the Secret {name}"
    for where, one in containers(objects):
        for variable in one.get("env", ()):
            for source in variable.get("valueFrom", {}).values():
                if ("Secret", source.get("name")) not in GIVEN:
                    yield f"{where}: {variable['name']} comes from {source}"


def doors(objects: list[Object]) -> Iterator[str]:
    """Istio's objects agree on the host, the namespace and who serves."""
    hosts = {host for one in of(objects, "Gateway") for each in one["spec"]["servers"]
             for host in each["hosts"]}  # fmt: skip
    namespace = of(objects, "Namespace")[0]["metadata"]["name"]
    for one in of(objects, "Gateway"):
        for server in one["spec"]["servers"]:
            if name := server.get("tls", {}).get("credentialName"):
                yield from _missing(objects, one, "Secret", name)
    for one in of(objects, "VirtualService"):
        for gateway in one["spec"]["gateways"]:
            yield from _missing(objects, one, "Gateway", gateway)
        if set(one["spec"]["hosts"]) != hosts:
            yield f"{title(one)}: other hosts than the gateway's"
        for route in one["spec"]["http"]:
            service, _, domain = route["rewrite"]["authority"].partition(".")
            yield from _missing(
                objects, one, "InferenceService", service.removesuffix("-predictor")
            )
            if domain != f"{namespace}.svc.cluster.local":
                yield f"{title(one)}: {route['rewrite']['authority']} is in another namespace"
            for to in route["route"]:
                yield from _missing(objects, one, "Service", to["destination"]["host"])
    for one in of(objects, "DestinationRule"):
        if one["spec"]["host"] != f"*.{namespace}.svc.cluster.local":
            yield f"{title(one)}: {one['spec']['host']} is in another namespace"
    for one in of(objects, "EnvoyFilter"):
        for patch in one["spec"]["configPatches"]:
            vhost = patch["match"].get("routeConfiguration", {}).get("vhost", {}).get("name")
            ports = {f"{host}:{each['port']['number']}" for gateway in of(objects, "Gateway")
                     for each in gateway["spec"]["servers"] for host in each["hosts"]}  # fmt: skip
            if vhost and vhost not in ports:
                yield f"{title(one)}: {vhost} is no host of the gateway"


def shut_from_outside(objects: list[Object]) -> Iterator[str]:
    """Where there is a door, /metrics and loading and unloading are denied for its host."""
    shut = (
        "/metrics",
        "/metrics/*",
        "/v2/repository",
        "/v2/repository/*",
        "/inference.GRPCInferenceService/Repository*",
    )
    for gateway in of(objects, "Gateway"):
        hosts = {host for server in gateway["spec"]["servers"] for host in server["hosts"]}
        found = [
            rule["operation"]
            for one in of(objects, "AuthorizationPolicy")
            if one["spec"]["action"] == "DENY"
            and one["spec"]["selector"]["matchLabels"] == gateway["spec"]["selector"]
            # Where the gateway's pods are: in another namespace the policy holds for nobody.
            and one["metadata"]["namespace"] == "istio-system"
            for each in one["spec"]["rules"]
            for rule in each["to"]
        ]
        for path in shut:
            for host in hosts:
                if not any(path in one.get("paths", ()) and host in one["hosts"] for one in found):
                    yield f"{title(gateway)}: {path} is open at {host}"
    # In Standard mode the door is KServe's own, for all hosts.
    if of(objects, "DestinationRule") and not of(objects, "Gateway"):
        denied = {
            path
            for one in of(objects, "AuthorizationPolicy")
            if one["spec"]["action"] == "DENY" and one["metadata"]["namespace"] == "kserve"
            for each in one["spec"]["rules"]
            for rule in each["to"]
            if not rule["operation"].get("hosts")
            for path in rule["operation"].get("paths", ())
        }
        for path in sorted(set(shut) - denied):
            yield f"KServe's gateway: {path} is open"


def tokens_asked_for(objects: list[Object]) -> Iterator[str]:
    """Where tokens are checked, who shows none of that issuer is sent away, at the same host."""
    hosts = {
        host
        for one in of(objects, "Gateway")
        for server in one["spec"]["servers"]
        for host in server["hosts"]
    }
    for one in of(objects, "RequestAuthentication"):
        for rule in one["spec"]["jwtRules"]:
            wanted = {"notRequestPrincipals": [f"{rule['issuer']}*"]}
            found = [
                set(each["to"][0]["operation"]["hosts"])
                for policy in of(objects, "AuthorizationPolicy")
                if policy["spec"]["action"] == "DENY"
                and policy["metadata"]["namespace"] == one["metadata"]["namespace"]
                for each in policy["spec"]["rules"]
                if each.get("from") == [{"source": wanted}]
            ]
            if not any(hosts <= each for each in found):
                yield f"{title(one)}: no token of {rule['issuer']} is needed"


def covered(objects: list[Object]) -> Iterator[str]:
    """All is denied by default, and each of our pods has a policy of its own and a budget."""
    policies = of(objects, "NetworkPolicy")
    if not any(
        one["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for one in policies
    ):
        yield "nothing denies by default"
    running = [
        (one, {_GRAPH if one["kind"] == "InferenceGraph" else _POD: one["metadata"]["name"]})
        for one in of(objects, "InferenceService", "InferenceGraph")
    ]
    running += [
        (one, one["spec"]["template"]["metadata"]["labels"]) for one in of(objects, "Deployment")
    ]
    for one, labels in running:
        kinds = {
            kind
            for policy in policies
            if policy["spec"]["podSelector"] and selects(policy["spec"]["podSelector"], labels)
            for kind in policy["spec"]["policyTypes"]
        }
        for kind in {"Ingress", "Egress"} - kinds:
            yield f"{title(one)}: no policy says what its {kind} is"
    for one in of(objects, "InferenceService"):
        labels = {_POD: one["metadata"]["name"]}
        budgets = of(objects, "PodDisruptionBudget")
        if len([each for each in budgets if selects(each["spec"]["selector"], labels)]) != 1:
            yield f"{title(one)}: not one disruption budget"


def reachable_ports(objects: list[Object]) -> Iterator[str]:
    """Without Knative's sidecar, the network policy opens each port of the container."""
    for service in of(objects, "InferenceService"):
        mode = service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"]
        labels = {_POD: service["metadata"]["name"]}
        opened = {
            port["port"]
            for policy in of(objects, "NetworkPolicy")
            if selects(policy["spec"]["podSelector"], labels)
            for rule in policy["spec"].get("ingress", ())
            if "monitoring" not in str(rule)
            for port in rule["ports"]
        }
        wanted = {8012, 8013} if mode == "Knative" else set()
        if mode == "Standard":
            wanted = {
                port["containerPort"] for _, one in predictors(objects) for port in one["ports"]
            }
        if not wanted <= opened:
            yield f"{title(service)}: nobody may call {sorted(wanted - opened)}"


def within_quota(objects: list[Object]) -> Iterator[str]:
    """All replicas and two more, which a rollout starts, fit into the quota."""
    [quota] = of(objects, "ResourceQuota")
    [[_, container]] = predictors(objects)
    replicas = sum(
        one["spec"]["predictor"]["maxReplicas"] for one in of(objects, "InferenceService")
    )
    for part in ("requests", "limits"):
        for what, amount in container["resources"][part].items():
            hard = quota["spec"]["hard"].get(f"{part}.{what}")
            if hard and quantity(amount) * (replicas + 2) > quantity(hard):
                yield f"{title(quota)}: {part} of {what} are too few for {replicas} replicas"


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector finds a pod with these labels, as far as we write selectors."""
    expressions = selector.get("matchExpressions", ())
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        one["key"] in labels
        and (one["operator"] == "Exists" or labels[one["key"]] in one.get("values", ()))
        for one in expressions
    )


def quantity(text: str) -> Decimal:
    """A quantity in Kubernetes' notation."""
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            return Decimal(text.removesuffix(unit)) * factor
    return Decimal(text)


def _missing(objects: list[Object], where: Object, kind: str, name: str | None) -> Iterator[str]:
    found = any(one["kind"] == kind and one["metadata"]["name"] == name for one in objects)
    if not found and (kind, name) not in GIVEN:
        yield f"{title(where)}: there is no {kind} {name}"


RULES: tuple[Rule, ...] = (
    accounts_and_runtimes,
    at_home,
    deployments,
    inside_a_pod,
    doors,
    shut_from_outside,
    tokens_asked_for,
    covered,
    reachable_ports,
    within_quota,
)
