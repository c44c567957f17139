"""How many nodes, and what of Redis and of the network, so many clients need. scripts/capacity starts this."""

import argparse
import json
import re
import sys
from pathlib import Path

import costs
import report
from model import Kind, Machines, Profile
from plan import Plan

ROOT = Path(__file__).resolve().parent.parent.parent.parent
UNITS = {"": 1, "k": 1e3, "M": 1e6}
SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
TIMES = {"ms": 1e-3, "s": 1, "m": 60, "h": 3600}
BITS = {"Mbit": 1e6, "Gbit": 1e9}
MAXIMUM_KINDS = 2


def quantity(units, expected, least, most, is_whole=False):
    """A reader of a number with a unit."""
    def read(text):
        match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]*)", text)
        value = float(match[1]) * units[match[2]] if match and match[2] in units else None
        if value is None or not least <= value <= most or is_whole and value != int(value):
            raise argparse.ArgumentTypeError(f"'{text}' is not {expected}")
        return int(value) if is_whole else value
    return read


def share(text):
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text)
    if not match or float(match[1]) > 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share from 0% to 100%")
    return float(match[1]) / 100


def listed(read):
    """One value for each kind of rooms, separated by commas."""
    def read_all(text):
        values = [read(item) for item in text.split(",")]
        if len(values) > MAXIMUM_KINDS:
            raise argparse.ArgumentTypeError(f"'{text}' has {len(values)} values: a client is in {MAXIMUM_KINDS} rooms "
                                             "at most, so there are two kinds of rooms at most")
        return values
    return read_all


count = quantity(UNITS, "a number from 1 to 1000M, such as 20000, 20k or 1.5M", 1, 1e9, is_whole=True)
rate = quantity(UNITS, "a number a second from 0 to 10M, such as 0.05 or 40", 0, 1e7)
payload = quantity(SIZES, "a size from 1B to 1MiB, such as 128B", 1, 2**20, is_whole=True)
memory = quantity(SIZES, "a size from 64MiB to 64TiB, such as 8GiB", 64 * 2**20, 64 * 2**40)
network = quantity(BITS, "a speed from 1Mbit to 10000Gbit, such as 10Gbit", 1e6, 1e13)
time = quantity(TIMES, "a time from 1s to 24h, such as 25s", 1, 86400)


def small(most):
    return quantity({"": 1}, f"a number from 1 to {most}", 1, most, is_whole=True)


def read_options(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/capacity", allow_abbrev=False,
        description="Says how many nodes, and what of Redis and of the network, an installation needs, from what "
                    "scripts/bench has measured on this machine (.run/bench), or docs/performance/costs.json where it "
                    "has not. docs/guides/sizing.md explains the answer.")
    habits = parser.add_argument_group("what the clients do")
    habits.add_argument("--clients", type=count, required=True, metavar="N", help="at the peak: 20000, 100k, 1.5M")
    habits.add_argument("--rooms", type=listed(count), metavar="N[,N]",
                        help="rooms, of one kind or of two; each client is in one of each kind (1)")
    habits.add_argument("--rate", type=listed(rate), metavar="R[,R]",
                        help="messages a second to all rooms of a kind together (0)")
    habits.add_argument("--room-rate", type=listed(rate), metavar="R[,R]", help="or to each room")
    habits.add_argument("--payload", type=listed(payload), metavar="SIZE[,SIZE]", help="of a message (128B)")
    habits.add_argument("--durable", type=listed(share), metavar="P%[,P%]",
                        help="share of messages that are durable (0%%)")
    habits.add_argument("--heartbeat", choices=["request", "pong"], default="request",
                        help="as the gateway's option (request)")
    habits.add_argument("--heartbeat-interval", type=time, default=25.0, metavar="TIME",
                        help="between two heartbeats of a client (25s)")
    habits.add_argument("--session", type=time, default=1800.0, metavar="TIME",
                        help="for which a client stays; then another one comes, with a token of its own (30m)")
    habits.add_argument("--compressed", type=share, default=0.0, metavar="P%",
                        help="share of WebSockets that take compressed messages (0%%)")
    habits.add_argument("--event-streams", type=share, default=0.0, metavar="P%",
                        help="share of clients with an event stream in place of a WebSocket (0%%)")
    machines = parser.add_argument_group("what the machines have")
    standard = Machines()
    machines.add_argument("--node-clients", type=count, default=standard.node_clients, metavar="N",
                          help="that you want on a node at most, with one node gone (50k)")
    machines.add_argument("--node-cores", type=small(1024), default=standard.node_cores, metavar="N", help="(4)")
    machines.add_argument("--node-memory", type=memory, default=standard.node_memory, metavar="SIZE", help="(8GiB)")
    machines.add_argument("--node-network", type=network, default=standard.node_network, metavar="SPEED",
                          help="(10Gbit)")
    machines.add_argument("--descriptors", type=quantity(UNITS, "a number from 100 to 100M", 100, 1e8, is_whole=True),
                          default=standard.descriptors, metavar="N", help="LimitNOFILE= of a node (262144)")
    machines.add_argument("--redis-memory", type=memory, default=standard.redis_memory, metavar="SIZE", help="(16GiB)")
    machines.add_argument("--redis-network", type=network, default=standard.redis_network, metavar="SPEED",
                          help="(10Gbit)")
    machines.add_argument("--replicas", type=quantity({"": 1}, "a number from 0 to 5", 0, 5, is_whole=True),
                          default=standard.replicas, metavar="N", help="of each master (1)")
    machines.add_argument("--target", type=share, default=standard.target, metavar="P%",
                          help="how much of CPU, memory and network is to be used (60%%)")
    output = parser.add_argument_group("where the costs come from, and the output")
    output.add_argument("--costs", type=Path, metavar="FILE",
                        help="only these: a file of .run/bench, or docs/performance/costs.json")
    output.add_argument("--brief", action="store_true", help="without the list of costs")
    output.add_argument("--json", action="store_true", help="the same as one JSON object")
    options = parser.parse_args(arguments)
    if options.target < 0.01:
        parser.error("argument --target: at least 1%")
    options.kinds = read_kinds(parser, options)
    return options


def read_kinds(parser, options):
    """A kind for each number of rooms; a payload and a share stand for both kinds, a rate does not."""
    if options.rate is not None and options.room_rate is not None:
        parser.error("--rate and --room-rate exclude each other: one is for all rooms together, one for each")
    rooms = options.rooms or [1]

    def values(name, standard, may_stand_for_both=False):
        given = getattr(options, name.replace("-", "_"))
        if given is None:
            return [standard] * len(rooms)
        if len(given) == 1 and may_stand_for_both:
            return given * len(rooms)
        if len(given) != len(rooms):
            parser.error(f"argument --{name}: {len(given)} of them, but --rooms has {len(rooms)}")
        return given

    rates = values("rate", 0.0)
    if options.room_rate is not None:
        rates = [each * number for each, number in zip(values("room-rate", 0.0), rooms)]
    return tuple(Kind(*each) for each in zip(
        rooms, rates, values("payload", 128, True), values("durable", 0.0, True)))


def main(arguments=None):
    """Prints the answer."""
    options = read_options(arguments)
    profile = Profile(options.clients, options.kinds, options.heartbeat, options.heartbeat_interval, options.session,
                      options.compressed, options.event_streams)
    machines = Machines(
        options.node_clients, options.descriptors, options.node_cores, options.node_memory, options.node_network,
        options.redis_memory, options.redis_network, options.replicas, options.target)
    try:
        known = costs.load(ROOT, options.costs)
    except costs.CostError as error:
        print(f"scripts/capacity: {error}", file=sys.stderr)
        # A file that was named is input.
        sys.exit(2 if options.costs else 1)
    found = report.build(Plan(profile, machines, known), known)
    print(json.dumps(found, indent=1, ensure_ascii=False) if options.json else report.text(found, options.brief))


if __name__ == "__main__":
    main()
