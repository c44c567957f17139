# Usage: deployment_check.py ROOT
# Holds the files of the composition in ROOT/deploy against each other and against what they promise. Prints one line for
# each fault; exit status 1 when there is one.
import ipaddress
import pathlib
import re
import sys

import yaml

root = pathlib.Path(sys.argv[1])
deploy = root / "deploy"
faults = []


def expect(condition, fault):
    if not condition:
        faults.append(fault)


def default(text):
    """The text as it is without any variable set."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}", lambda match: match.group(1) or "", str(text))


compose = yaml.safe_load((deploy / "docker-compose.yml").read_text())
services = compose["services"]
cluster = yaml.safe_load((deploy / "docker-compose.cluster.yml").read_text())
clustered = cluster["services"]
builders = [name for name, service in services.items() if "build" in service]
expect(builders == ["gateway"], f"services that build: {builders}")

for name, service in [*services.items(), ("cluster", clustered["cluster"])]:
    expect("mem_limit" in service and "pids_limit" in service, f"{name} may take all memory or processes")
    expect(service.get("cap_drop") == ["ALL"], f"{name} keeps capabilities")
    if service["image"] == "roomcast" and name not in builders:
        expect(service.get("pull_policy") == "never", f"{name} may take its image from a registry")
    mounted = []
    for mount in service.get("volumes", []):
        source, target, *options = mount.split(":")
        if not source.startswith("."):
            continue
        mounted.append(target)
        expect("ro" in options[0].split(","), f"{name} may write {source}")
        expect("z" in options[0].split(","), f"{name} cannot read {source} under SELinux")
        expect((deploy / source).exists(), f"{name} mounts {source}, which is not there")
    if mounted:
        reads_all = service.get("user") == "root" and "DAC_OVERRIDE" in service.get("cap_add", [])
        expect(reads_all, f"{name} cannot read what a checkout has closed to others")
    commands = [service.get("entrypoint", [""])[0], *service.get("healthcheck", {}).get("test", ["", ""])[1:2]]
    for command in commands:
        expect(command not in mounted, f"{name} runs {command}, which depends on the mode that a checkout gave it")

expect(services["gateway"]["ulimits"].get("core") == 0, "gateway may dump core")
for name in ("nginx-start", "redis-start"):
    expect("\nulimit -c 0\n" in (deploy / name).read_text(), f"{name} may dump core")

backend = compose["networks"]["backend"]["ipam"]["config"][0]
nginx = ipaddress.ip_address(default(services["nginx"]["networks"]["backend"]["ipv4_address"]))
given = ipaddress.ip_network(default(backend["ip_range"]))
expect(nginx in ipaddress.ip_network(default(backend["subnet"])), f"{nginx} is not in the network")
expect(nginx not in given, f"{nginx} may be given to another container")
gateway = services["gateway"]["environment"]
expect(default(gateway["GATEWAY_TRUSTED_PROXIES"]) == str(nginx), "gateways believe others than nginx")
passed = {name for name, value in gateway.items() if value is None}
offered = set(re.findall(r"^#(GATEWAY_\w+)=", (deploy / ".env.example").read_text(), re.M))
expect(passed == offered, f"in .env.example or passed to gateways, not both: {sorted(passed ^ offered)}")

settings = dict(
    line.split(maxsplit=1) for line in (deploy / "redis.conf").read_text().splitlines() if re.match(r"[a-z]", line))
expect(settings["appendonly"] == "yes" and settings["appendfsync"] == "everysec", "durable rooms do not outlive Redis")
expect(settings["maxmemory-policy"] == "noeviction", "Redis may evict a history")
expect("redis:/data" in services["redis"]["volumes"] and "redis" in compose["volumes"], "Redis' data has no volume")

resolver = re.search(r"RES_OPTIONS='(.+)'", (deploy / "nginx-start").read_text()).group(1)
for name, service in services.items():
    if any("redis://" in str(value) for value in service.get("environment", {}).values()):
        options = service["environment"].get("RES_OPTIONS")
        expect(options == resolver, f"{name} waits long for an unknown name: RES_OPTIONS is {options}")

secured = yaml.safe_load((deploy / "docker-compose.tls.yml").read_text())["services"]
for name, service in services.items():
    given = secured.get(name, {}).get("environment", {})
    for variable, url in service.get("environment", {}).items():
        if "redis://" in str(url):
            wanted = url.replace("redis://", "rediss://")
            expect(given.get(variable) == wanted and f"{variable}_CA" in given, f"{name} has no TLS with docker-compose.tls.yml")
command = secured["redis"]["command"]
expect(command[command.index("--port") + 1] == "0", "Redis has a plain port beside the one with TLS")

members = {name: service for name, service in clustered.items() if re.fullmatch(r"redis(-\d)?", name)}
for name, service in services.items():
    for variable, url in service.get("environment", {}).items():
        if "redis://" in str(url):
            wanted = url.replace("redis://", "cluster://") + ",redis-2:6379,redis-3:6379"
            expect(
                clustered.get(name, {}).get("environment", {}).get(variable) == wanted,
                f"{name} has no cluster with docker-compose.cluster.yml")
failures = clustered.get("nginx", {}).get("environment", {}).get("NGINX_MAX_FAILS")
expect(failures == 0, "nginx avoids gateways for a master's failure")
addresses = [default(member["networks"]["backend"]["ipv4_address"]) for member in members.values()]
for address in addresses:
    outside = ipaddress.ip_address(address) not in ipaddress.ip_network(default(backend["ip_range"]))
    expect(outside and address != str(nginx), f"{address} may be given to another container")
expect(len(set(addresses)) == 6, f"the servers of the cluster are at {addresses}")
expect(
    [default(place) for place in clustered["cluster"]["command"]] == [f"{address}:6379" for address in addresses],
    "the cluster is made of other servers")
volumes = [member["volumes"][0].split(":")[0] for member in members.values()]
expect(len(set(volumes)) == 6 and set(volumes) == set(cluster["volumes"]), "servers of the cluster share a volume")
for name in ("gateway", "publisher", "revoke", "observe"):
    needed = {"cluster", *members} - {"redis"}
    expect(set(clustered[name]["depends_on"]) == needed, f"{name} does not start the whole cluster")

dockerfile = (deploy / "Dockerfile").read_text()
for line in re.findall(r"^COPY (?!--from).*http-check.*$", dockerfile, re.M):
    expect("--chmod=755" in line, f"the mode of a checkout goes into the image: {line}")
builds = re.findall(r"swift build .*", dockerfile)
expect(all("--traits TLS,Compression" in build for build in builds), "the image has not all package traits")
expect(re.findall(r"--product (\w+)", dockerfile) == ["gateway", "publisher"], "the image builds something else")
installed = re.search(r"install -D .*", dockerfile).group()
expect(re.findall(r"release/(\w+)", installed) == ["gateway", "publisher"], f"the image ships {installed}")

for name in ("deploy/docker-compose.yml", "deploy/README.md", "README.md", "README.zh-CN.md", "docs/OPERATIONS.md"):
    text = (root / name).read_text()
    expect(
        "--profile monitoring" not in text or "--profile monitoring down" in text,
        f"{name} does not say how the profile is ended")
text = (deploy / "README.md").read_text()
expect("install -m 600 deploy/.env.example deploy/.env" in text, "deploy/README.md leaves passwords to everybody")
expect("0600" in (deploy / ".env.example").read_text(), ".env.example does not name its mode")
limits = (deploy / "README.md").read_text()
for word in ("SELinux", "nofile", "umask 077"):
    expect(word in limits, f"deploy/README.md does not name {word}")

unit = (root / "packaging/roomcast-gateway.service").read_text()
expect("\nLimitCORE=0\n" in unit, "the unit may dump core")
expect(re.search(r"^MemoryMax=\d", unit, re.M), "the unit may take all memory")
listen = re.search(r"^GATEWAY_LISTEN=(.*):", (root / "packaging/gateway.env").read_text(), re.M)
expect(listen and listen.group(1) == "127.0.0.1", "an installed node listens for everybody")

print("\n".join(faults))
sys.exit(1 if faults else 0)
