"""The result of a soak: as an object for scripts, and as a table. What must hold is judged here."""

import statistics

MEBIBYTE = 1 << 20
# A node that has served for a while holds what its busiest moments took: queues of slow clients that the allocator
# keeps, and the rooms' tables. A node delivers a thousand notices a second here: a leak of 100 bytes for each would
# pass this in about two minutes.
MEMORY_GROWTH_BYTES = 12 * MEBIBYTE
# Those of a kind of fault in the table.
KIND_COLUMNS = 16
# A connection that is just being closed has been counted out before its descriptor is.
DESCRIPTOR_GROWTH = 8
# By then a client that does not read has been closed.
SLOW_CLOSE_SECONDS = 60
MUST_BE_ZERO = {
    "lostOutside": "lost outside a declared gap", "duplicates": "duplicates", "outOfOrder": "out of order",
    "misrouted": "misrouted", "altered": "altered or unknown messages",
    "unexplainedCuts": "connections that ended without a reason", "wrongCloses": "close codes that were not due",
    "unexplainedGaps": "declared gaps without a reason", "unexplainedTokens": "tokens lost without a reason",
    "unexplainedRefusals": "notices refused without a reason",
    "refusedBeats": "heartbeats of live connections refused as token error",
}

DURABLE_MUST_BE_ZERO = {
    "silent": "silent: owed, not delivered, and no loss told",
    "falseAlarms": "losses told that no fault explains", "untold": "losses of Redis that a connected client was not told of",
    "duplicates": "duplicates", "outOfOrder": "out of order",
    "plainDuplicates": "duplicates of clients that have not opted in",
    "plainOutOfOrder": "out of order at clients that have not opted in", "misrouted": "misrouted",
    "altered": "altered or unknown messages", "wrongSince": "resumed from another position than asked",
    "disobediences": "connections without the resume frame that is due",
    "contradictions": "rooms with an id of two notices", "repeated": "notices stored twice under one once key",
    "notStored": "notices answered and not stored",
} | {name: title for name, title in MUST_BE_ZERO.items() if name.startswith(("unexplained", "wrong", "refused"))}


def must_be_zero(result):
    return DURABLE_MUST_BE_ZERO if "durable" in result else MUST_BE_ZERO


def spread(values):
    if not values:
        return {"count": 0}
    return {"count": len(values), "p50": statistics.median(values), "max": max(values)}


def faults_by_kind(faults):
    """By kind: how many, and the seconds until all was well again."""
    kinds = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    return {
        kind: {
            "count": len(found),
            "itselfSeconds": spread([each.ended_at - each.began_at for each in found]),
            "recoverySeconds": spread(
                [each.recovery_seconds for each in found if each.recovery_seconds is not None]),
        } for kind, found in sorted(kinds.items())}


def problems(result):
    """Why the soak has failed; nothing when it has not."""
    counts = result["deliveries"]
    found = [f"{title}: {counts[name]}" for name, title in must_be_zero(result).items() if counts[name] != 0]
    if counts["delivered"] == 0 or result["notices"]["byHand"] == 0:
        found.append("nothing was delivered, or nothing was published by the CLI")
    if result.get("durable", {}).get("plainDelivered") == 0:
        found.append("nothing was delivered to clients that have not opted in")
    if result["notices"]["answered"] < result["notices"]["due"] / 2:
        found.append(f"only {result['notices']['answered']} of {result['notices']['due']} notices could be published")
    if result["slowCloses"] == 0 and result["seconds"] > SLOW_CLOSE_SECONDS:
        found.append("no slow client was closed with 1013")
    for name, node in result["nodes"].items():
        start, end = node["start"], node["end"]
        if end["residentBytes"] - start["residentBytes"] > MEMORY_GROWTH_BYTES:
            found.append(f"{name} has grown from {mebibytes(start)} to {mebibytes(end)}")
        if end["ownDescriptors"] - start["ownDescriptors"] > DESCRIPTOR_GROWTH:
            found.append(f"{name} had {start['ownDescriptors']} descriptors beside its clients', "
                         f"now {end['ownDescriptors']}")
    return found + result["faultProblems"]


def mebibytes(footprint):
    return f"{footprint['residentBytes'] / MEBIBYTE:.1f} MiB"


def table(result):
    counts, notices = result["deliveries"], result["notices"]
    rows = [
        ("run", f"{result['seconds']:.0f} s, seed {result['seed']}, {result['clients']} clients, "
                f"{len(result['nodes'])} nodes{', TLS to Redis' if result['isSecured'] else ''}"
                f"{', Redis Cluster of 3 masters with a replica each' if result['isCluster'] else ''}"),
        ("notices", f"{notices['sent']:,} sent, {notices['answered']:,} answered, {notices['byHand']:,} by the CLI"),
        *(durable_rows(result) if "durable" in result else plain_rows(result)),
    ]
    rows += [("must be 0", f"{counts[name]:,} {title}") for name, title in must_be_zero(result).items()]
    rows.append(("connections", f"{result['connections']:,} ({result['reconnects']:,} reconnects), "
                                f"{result['beats']:,} heartbeats"))
    for kind, figures in result["faults"].items():
        recovery = figures["recoverySeconds"]
        times = f"all well again after p50 {recovery['p50']:.1f} s, max {recovery['max']:.1f} s" \
            if recovery["count"] else "never well again"
        rows.append(("fault", f"{kind:<{KIND_COLUMNS}}{figures['count']:>4} times, {times}"))
    for name, node in result["nodes"].items():
        start, end = node["start"], node["end"]
        runs = "the whole run" if start["run"] == end["run"] == 1 else f"run {end['run']} of it"
        rows.append((name, f"{mebibytes(start)} to {mebibytes(end)}, own descriptors {start['ownDescriptors']} to "
                           f"{end['ownDescriptors']}, {end['connections']} clients ({runs})"))
    rows += [("PROBLEM", problem) for problem in result["problems"]]
    return "\n".join(f"{title:<13}{text}" for title, text in rows)


def plain_rows(result):
    counts, oldest, gaps = result["deliveries"], result["oldestSeconds"], result["gaps"]

    def age(name):
        return f" (published at most {oldest[name] * 1000:.0f} ms before the end)" if name in oldest else ""

    return [
        ("gaps", f"{gaps['count']}, known from {result['gapSource']}" + (
            f": p50 {gaps['p50']:.2f} s, max {gaps['max']:.2f} s" if gaps["count"] else "")),
        ("deliveries", f"{counts['delivered']:,} of {counts['expected']:,} expected"),
        ("lost", f"{counts['lostInGap']:,} in a declared gap"),
        ("", f"{counts['lostWithConnection']:,} with a connection's abrupt end{age('lostWithConnection')}"),
        ("", f"{counts['lostAtGoodbye']:,} on their way at a goodbye{age('lostAtGoodbye')}"),
        ("", f"{counts['lostToSlowReader']:,} of clients that read too slowly ({result['slowCloses']} times 1013)"),
    ]


def durable_rows(result):
    counts, durable = result["deliveries"], result["durable"]
    nodes, after = durable["nodes"], durable["toldAfter"]
    return [
        ("expected", f"{counts['expected']:,}"),
        ("delivered", f"{counts['delivered']:,}"),
        ("told", f"{counts['told']:,} lie behind a loss that was told"),
        *[("", f"{count:,} times told because of: {reason} ({durable['told'].get(reason, 0):,} notices)")
          for reason, count in sorted(durable["losses"].items())],
        ("", f"to connected clients p50 {after['p50']:.2f} s, max {after['max']:.2f} s after the fault"
         if after["count"] else "never to a connected client"),
        *([("unwitnessed", f"{counts['unwitnessed']:,} answered, and lost by the cluster when no node that had them held their room")]
          if result["isCluster"] else []),
        ("silent", f"{counts['silent']:,}"),
        ("not opted in", f"{durable['plainDelivered']:,} delivered"),
        ("resumes", f"{nodes['current']:,} had missed nothing, {nodes['ring']:,} from memory, {nodes['read']:,} read "
                    f"from Redis, {nodes['lost']:,} lost; {nodes['reads']:,} reads, {nodes['filled']:,} notices filled "
                    "in after outages of nodes"),
        ("1013", f"{result['slowCloses']} times, to clients that read too slowly"),
    ]
