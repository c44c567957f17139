"""The verdict on a hold, and its table."""

from samples import quiet_and_busy


def hold_figures(samples, clients, hold_seconds):
    """What the gateways say of the time in which all clients were there."""
    full = [index for index, sample in enumerate(samples) if sample.connections >= clients]
    if not full:
        return {"seconds": 0.0, "leastConnections": 0}
    first = samples[full[0]]
    held = [sample for sample in samples[full[0]:] if sample.time <= first.time + hold_seconds]
    (quiet_seconds, quiet_cpu), (busy_seconds, busy_cpu, deliveries) = quiet_and_busy(held)
    figures = {
        "seconds": held[-1].time - first.time,
        "leastConnections": min(sample.connections for sample in held),
        "quietSeconds": quiet_seconds,
        "quietCpuShare": quiet_cpu / quiet_seconds if quiet_seconds > 0 else None,
        "cpuSecondsPerMillionDeliveries": None,
    }
    if quiet_seconds > 0 and deliveries > 0:
        own = busy_cpu - figures["quietCpuShare"] * busy_seconds
        figures["cpuSecondsPerMillionDeliveries"] = own / deliveries * 1e6
    return figures


def problems(result, killed):
    """Why it was no success; nothing when it was."""
    load, asked, hold = result["loadtest"], result["clients"], result["hold"]
    found = list(load["problems"])
    if load["isInterrupted"]:
        found.append("interrupted")
    opened = load["handshakes"]["opened"]
    if opened != asked:
        found.append(f"{opened} of {asked} clients were connected")
    elif hold["leastConnections"] != asked:
        found.append(f"at one time the gateways held {hold['leastConnections']} of {asked} clients")
    if hold["seconds"] < result["holdSeconds"] * 0.8:
        found.append(f"all clients were seen for {hold['seconds']:.0f} s, not {result['holdSeconds']:.0f} s")
    checked, published = load["deliveries"]["checked"], load["messages"]["published"]
    if load["messages"]["measured"] == 0:
        found.append("no notice was measured")
    if checked["received"] != asked * published:
        found.append(f"{checked['received']} deliveries of {published} notices to {asked} clients arrived")
    if load["exitCode"] != 0 and not found:
        found.append(f"loadtest ended with {load['exitCode']}")
    if killed:
        found.append(f"had to be killed in the end: {', '.join(killed)}")
    return found


def mebibytes(count):
    return f"{count / (1 << 20):,.0f} MiB"


def processes_row(memory, clients):
    each = memory["proportionalBytes"] / clients / 1024
    return (f"PSS {mebibytes(memory['proportionalBytes'])} (RSS {mebibytes(memory['residentBytes'])}), "
            f"{each:.1f} KiB a client")


def table(result):
    load, hold, memory = result["loadtest"], result["hold"], result["memory"]
    handshakes, checked = load["handshakes"], load["deliveries"]["checked"]
    latency, server = load["deliveries"]["latencyMicroseconds"], load.get("server")
    through = f", nginx workers: {result['nginxWorkers']}" if result["nginxWorkers"] else ""
    rows = [
        ("clients", f"{handshakes['opened']:,} of {result['clients']:,} connected; "
                    f"gateways: {result['gateways']}{through}, load processes: "
                    f"{load['setting']['processes']}"),
        ("held", f"{hold['seconds']:.0f} s, never fewer than {hold['leastConnections']:,}; "
                 f"heartbeats {load['heartbeats']['sent']:,}"),
        ("handshakes", f"{handshakes['perSecond']:,.0f}/s, heartbeats beside them; "
                       f"p99 {handshakes['latencyMicroseconds']['p99'] / 1000:,.1f} ms"),
        ("notices", f"{load['messages']['published']} of {load['setting']['payloadBytes']} B, "
                    f"one each {result['everySeconds']:g} s"),
        ("all have it", f"after {latency['max'] / 1e6:.2f} s at the latest; a client: "
                        f"p50 {latency['p50'] / 1e6:.2f} s, p99 {latency['p99'] / 1e6:.2f} s"),
        ("deliveries", f"{checked['received']:,} of {checked['expected']:,}; lost {checked['lost']}, "
                       f"duplicated {checked['duplicated']}, out of order {checked['outOfOrder']}, "
                       f"corrupt {checked['corrupt']}, misrouted {checked['misrouted']}"),
    ]
    if server and server.get("handshakeCpuMicroseconds"):
        rows.append(("CPU", f"gateways, a handshake (and what else they did meanwhile): {server['handshakeCpuMicroseconds']:.0f} us"))
    if hold.get("quietCpuShare") is not None:
        rows.append(("", f"gateways, heartbeats only: {hold['quietCpuShare'] * 100:.1f} % of one core"))
    if hold.get("cpuSecondsPerMillionDeliveries") is not None:
        rows.append(("", f"gateways, a million deliveries: {hold['cpuSecondsPerMillionDeliveries']:.1f} s"))
    if memory:
        count = max(1, handshakes["opened"])
        rows.append(("memory", f"gateways: {processes_row(memory['gateways'], count)}"))
        rows.append(("", f"redis: {processes_row(memory['redis'], count)}"))
        if result["nginxWorkers"]:
            rows.append(("", f"nginx: {processes_row(memory['nginx'], count)}"))
        kernel = memory["kernel"]
        rows.append(("", f"kernel, both ends, growth: slab {mebibytes(kernel['slabBytes'])}, "
                         f"{kernel['slabBytes'] / count / 1024:.1f} KiB a client"))
        rows.append(("", f"socket buffers of the machine: {mebibytes(kernel['socketBufferBytes'])}, at most "
                         f"{mebibytes(kernel['mostSocketBufferBytes'])}"))
        rows.append(("", f"load processes: {processes_row(memory['loadProcesses'], count)}"))
    rows += [("PROBLEM", problem) for problem in result["problems"]]
    return "\n".join(f"{title:<13}{text}" for title, text in rows)
