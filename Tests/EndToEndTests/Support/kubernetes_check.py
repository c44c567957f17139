# Usage: kubernetes_check.py DIRECTORY GATEWAY
# Holds the manifests in DIRECTORY against the schemas of Kubernetes, against each other, and against the options of
# the program GATEWAY. Prints one line for each fault; exit status 1 when there is one.
import ipaddress
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

# The oldest that knows all of what is used, and the newest that the package knows.
VERSIONS = ["1.27", kubernetes_validate.latest_version()]
# What a node takes for closing handshakes after its drain.
CLOSING_SECONDS = 6
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}

directory = pathlib.Path(sys.argv[1])
faults = []


def expect(condition, fault):
    if not condition:
        faults.append(fault)


def variables(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * UNITS[unit]


kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
objects = {}
for name in kustomization["resources"]:
    for document in yaml.safe_load_all((directory / name).read_text()):
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                faults.append(f"{name}, Kubernetes {version}: {error.message}")
        objects[document["kind"]] = document
unused = {path.name for path in directory.glob("*.yaml")} - set(kustomization["resources"])
expect(unused == {"kustomization.yaml", "prometheus-adapter.yaml"}, f"unused: {unused}")

deployment = objects["Deployment"]["spec"]
pod = deployment["template"]
container = pod["spec"]["containers"][0]
labels = pod["metadata"]["labels"]
selectors = {
    "Deployment": deployment["selector"]["matchLabels"],
    "Service": objects["Service"]["spec"]["selector"],
    "PodDisruptionBudget": objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    "NetworkPolicy": objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
}
for spread in pod["spec"]["topologySpreadConstraints"]:
    selectors["spread over " + spread["topologyKey"]] = spread["labelSelector"]["matchLabels"]
for kind, selector in selectors.items():
    expect(selector.items() <= labels.items(), f"{kind} selects no pod: {selector}")
target = objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
expect(target["name"] == objects["Deployment"]["metadata"]["name"], f"the autoscaler scales {target}")

ports = {port["name"]: port["containerPort"] for port in container["ports"]}
for port in objects["Service"]["spec"]["ports"]:
    expect(port["targetPort"] in ports, f"the service leads to port {port['targetPort']}")
for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
    expect(container[probe]["httpGet"]["port"] in ports, f"{probe} asks an unknown port")

policy = objects["NetworkPolicy"]["spec"]
rules = [(port["port"], rule.get("from")) for rule in policy["ingress"] for port in rule.get("ports", [{"port": None}])]
expect(policy["policyTypes"] == ["Ingress"], f"the policy is for {policy['policyTypes']}")
expect({port for port, _ in rules} == ports.keys(), f"the policy is for the ports {[port for port, _ in rules]}")
expect(all(sources for port, sources in rules if port == "admin"), "everybody reaches the admin port")

generators = kustomization["configMapGenerator"] + kustomization["secretGenerator"]
given = {}
for generator in generators:
    for name in generator["envs"]:
        path = directory / name
        given |= variables(path if path.exists() else directory / (name + ".example"))
made = {generator["name"] for generator in generators}
asked = {next(iter(source.values()))["name"] for source in container["envFrom"]}
expect(asked == made, f"the container takes {asked}, generated are {made}")
for name, port in (("GATEWAY_LISTEN", "clients"), ("GATEWAY_ADMIN_LISTEN", "admin")):
    expect(given[name].endswith(f":{ports[port]}"), f"{name} is not port {port}")
for item in given["GATEWAY_TRUSTED_PROXIES"].split(","):
    expect(ipaddress.ip_network(item).num_addresses <= 256, f"trusts more than an ingress controller: {item}")
known = subprocess.run([sys.argv[2], "--help"], capture_output=True, text=True, check=True).stdout
for name in given.keys() | {variable["name"] for variable in container["env"]}:
    expect(re.search(rf"\b{name}\b", known), f"the gateway does not know {name}")
needed = seconds(given["GATEWAY_DRAIN_DELAY"]) + seconds(given["GATEWAY_DRAIN_TIME"]) + CLOSING_SECONDS
grace = pod["spec"]["terminationGracePeriodSeconds"]
expect(grace > needed, f"{grace} s of grace for a drain of {needed} s")

print("\n".join(faults))
sys.exit(1 if faults else 0)
