"""The gateways and the nginx of a hold, as many as its clients need."""

import os
import re
import shutil

from processes import ROOT, http_status


def start_gateways(processes, binary, redis, ports, admin_ports, maximum, environment=None):
    started = []
    for number, (port, admin_port) in enumerate(zip(ports, admin_ports), 1):
        started.append(processes.start(f"gateway-{number}", [binary, "--workers", 1], {
            "GATEWAY_LISTEN": f"127.0.0.1:{port}", "GATEWAY_ADMIN_LISTEN": f"127.0.0.1:{admin_port}",
            "GATEWAY_REDIS": f"redis://gateway@127.0.0.1:{redis.port}",
            "GATEWAY_REDIS_PASSWORD": redis.password("gateway"),
            "GATEWAY_NODE_ID": f"hold-{number}", "GATEWAY_MAXIMUM_CONNECTIONS": str(maximum),
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1/32", "GATEWAY_DRAIN_TIME": "2s", **(environment or {})}))
    for process, admin_port in zip(started, admin_ports):
        processes.wait_until(process, lambda: http_status(admin_port, "/readyz") == 200)
    return started


def start_nginx(processes, ports, gateway_ports, connections):
    """Starts an nginx with one worker process for each port, so that the tunnels are spread evenly."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")
    configuration = (ROOT / "deploy/nginx.conf").read_text()
    configuration = configuration.replace("worker_processes auto;", "worker_processes 1;")
    # All clients have one address here.
    configuration = re.sub(r"^ *limit_(req|conn) .*\n", "", configuration, flags=re.M)
    servers = "".join(f"server 127.0.0.1:{port} max_fails=1 fail_timeout=2s;\n" for port in gateway_ports)
    started = []
    for number, port in enumerate(ports, 1):
        directory = processes.directory / f"nginx-{number}"
        (directory / "temporary").mkdir(parents=True, exist_ok=True)
        (directory / "nginx.conf").write_text(configuration)
        (directory / "nginx-connections.conf").write_text(f"worker_connections {connections};\n")
        (directory / "nginx-listen.conf").write_text(f"listen 127.0.0.1:{port} backlog=4096;\n")
        (directory / "nginx-gateways.conf").write_text(servers)
        command = [program, "-e", "stderr", "-p", directory, "-c", directory / "nginx.conf"]
        started.append(processes.start(f"nginx-{number}", command))
    for process, port in zip(started, ports):
        # A path that only a gateway knows to be unknown.
        processes.wait_until(process, lambda: http_status(port, "/") == 404)
    return started
