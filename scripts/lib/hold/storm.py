"""Kills a gateway with N clients and watches them go to another one. Started by scripts/storm, which builds
the programs first."""

import signal
import time
from dataclasses import dataclass

import limits
import samples as measure
from deployment import start_gateways
from experiment import POLL_SECONDS, Experiment, main, parser, say
from free_ports import free_ports
from processes import ProcessError, cpu_seconds

CONNECT_SECONDS = 120
RETURN_SECONDS = 60
REPORT_SECONDS = 60
# Messages flow for so long before the kill and after the last return.
QUIET_SECONDS = 3
DURABLE_ROOMS = 1000


def read_options():
    parse = parser(
        "storm", "Starts Redis and two gateways, with all N clients on the first and some on the second; "
        "kills the first (SIGKILL) while messages are published to all; its clients go to the second at once, "
        "with their tokens.",
        "Exit: 0 all clients came back and the second gateway's own clients received every message once; "
        "1 otherwise; 2 wrong usage.",
        10_000, "clients of the gateway that is killed")
    parse.add_argument(
        "--own", metavar="N", type=int, default=500, help="clients of the other gateway (default 500)")
    parse.add_argument(
        "--rate", metavar="N", type=int, default=50,
        help="messages a second to the other gateway's own clients (default 50)")
    parse.add_argument(
        "--handshake-rate", metavar="N", type=int, help="the gateways' --handshake-rate (default: no limit)")
    parse.add_argument(
        "--durable", action="store_true",
        help="four times: plain and resuming clients in one room, then both in 1,000 rooms; who resumes must miss "
        "nothing")
    options = parse.parse_args()
    most = int(limits.descriptors_per_process() * limits.GATEWAY_SHARE)
    if options.clients < 1 or options.own < 1 or options.clients + options.own > most:
        parse.error(f"N: expected 1 at least, and with --own {most} at most: a gateway must hold all of them")
    if not 1 <= options.rate <= 10_000:
        parse.error("--rate: expected 1 to 10000")
    return options


@dataclass
class Round:
    """One kill: how many rooms the many are in, how many messages a second they get together, and whether they
    resume."""

    title: str
    rooms: int
    rate: int
    is_durable: bool


class Storm(Experiment):
    """Kills a gateway, waits until its clients are back, and asks both load tests what they saw."""

    name = "storm"

    @staticmethod
    def obstacles(options):
        return limits.obstacles(options.clients + options.own, 1, False)

    def parts(self):
        return f"two gateways and {self.options.clients + self.options.own} clients"

    def rounds(self):
        clients = self.options.clients
        if not self.options.durable:
            # Ten messages a second: they must find out that nothing is missing, not fill the machine.
            return [Round("plain", max(1, clients // 100), 10, False)]
        # A message a second for each client, so that everybody misses some.
        return [
            Round(f"{'resuming' if is_durable else 'plain'}, {rooms:,} room{'s' if rooms > 1 else ''}", rooms, rooms,
                  is_durable)
            for rooms in (1, min(DURABLE_ROOMS, clients)) for is_durable in (False, True)]

    def start(self):
        redis_port, *ports = free_ports(5)
        self.gateway_ports, self.admin_ports = ports[:2], ports[2:]
        self.start_redis(redis_port)
        self.results = []

    def follow(self):
        for number, each in enumerate(self.rounds()):
            self.start_round(number, each)
            self.kill()
            self.results.append(self.round_result(each))
            self.processes.stop(self.few, self.many, *self.gateways)

    def start_round(self, number, each):
        extra = {}
        if self.options.handshake_rate:
            extra["GATEWAY_HANDSHAKE_RATE"] = str(self.options.handshake_rate)
        self.gateways = start_gateways(
            self.processes, self.options.binaries / "gateway", self.redis, self.gateway_ports, self.admin_ports,
            self.options.clients + self.options.own, extra)
        kind = ["--durable"] if each.is_durable else []
        suffix = f"-{number}" if self.options.durable else ""
        self.many = self.load(f"many{suffix}", 0, self.options.clients, each.rate, "--rooms", each.rooms,
                              "--failover", f"127.0.0.1:{self.gateway_ports[1]}", *kind)
        self.few = self.load(f"few{suffix}", 1, self.options.own, self.options.rate)

    def load(self, name, gateway, clients, rate, *extra):
        return self.start_loadtest(
            name, [self.gateway_ports[gateway]], clients,
            "--rate", rate, "--warmup", "0s", "--duration", "1h", "--settle", "10s", *extra)

    def connections(self, gateway):
        return int(measure.metrics(self.admin_ports[gateway])["roomcast_connections"])

    def wait(self, what, seconds, is_done):
        deadline = time.monotonic() + seconds
        while not is_done():
            self.processes.check()
            if time.monotonic() >= deadline:
                raise ProcessError(f"not within {seconds} s: {what}")
            time.sleep(POLL_SECONDS)

    def kill(self):
        options = self.options
        self.wait("all clients are connected", CONNECT_SECONDS,
                  lambda: self.connections(0) == options.clients and self.connections(1) == options.own)
        before = self.deliveries(1)
        self.wait("messages flow", CONNECT_SECONDS,
                  lambda: self.deliveries(1) > before + options.own * options.rate * QUIET_SECONDS)
        say(f"Killing the gateway with {options.clients} clients")
        first, second = self.gateways
        self.cpu_before = sum(cpu_seconds(second.pid))
        killed_at = time.monotonic()
        first.signal(signal.SIGKILL)
        first.wait()
        everybody = options.clients + options.own
        self.wait("all clients are back", RETURN_SECONDS, lambda: self.connections(1) == everybody)
        self.seconds = time.monotonic() - killed_at
        self.cpu = sum(cpu_seconds(second.pid)) - self.cpu_before
        say(f"All are back after {self.seconds:.1f} s")
        time.sleep(QUIET_SECONDS)
        for process in (self.few, self.many):
            # It stops publishing, waits for what is missing, and reports.
            process.signal(signal.SIGINT)
            process.wait(REPORT_SECONDS)

    def deliveries(self, gateway):
        return int(measure.metrics(self.admin_ports[gateway])["roomcast_frames_delivered_total"])

    def round_result(self, each):
        metrics = measure.metrics(self.admin_ports[1], has_labels=True)
        return {"title": each.title, "seconds": self.seconds, "cpuSeconds": self.cpu, "isDurable": each.is_durable,
                "many": self.report(self.many), "few": self.report(self.few),
                "reads": int(metrics.get("roomcast_history_reads_total", 0)),
                "resumes": {found: int(metrics.get(f'roomcast_resumes_total{{result="{found}"}}', 0))
                            for found in ("current", "ring", "read", "lost")}}

    def result(self):
        counts = {"clients": self.options.clients, "own": self.options.own}
        return counts | ({"rounds": self.results} if self.options.durable else self.results[0])

    def problems(self, result, _):
        return [f"{each['title']}: {problem}" if self.options.durable else problem
                for each in self.results for problem in self.problems_of(result | each)]

    def problems_of(self, result):
        found = [f"clients of the killed gateway: {text}" for text in result["many"]["problems"]]
        found += [f"clients of the other gateway: {text}" for text in result["few"]["problems"]]
        failover, checked = result["many"]["failover"], result["few"]["deliveries"]["checked"]
        if failover["returned"] != result["clients"]:
            found.append(f"{failover['returned']} of {result['clients']} clients came back")
        wanted = result["own"] * result["few"]["messages"]["published"]
        many = result["many"]["deliveries"]["checked"]
        if result["isDurable"] and (many["lost"] or result["resumes"]["lost"]):
            found.append(f"resuming clients missed {many['lost']} notices and were told of "
                         f"{result['resumes']['lost']} losses")
        if checked["received"] != wanted or wanted == 0:
            found.append(f"{checked['received']} of {wanted} deliveries reached the other gateway's clients")
        return found

    def table(self, result):
        rows = []
        for each in self.results:
            if self.options.durable:
                rows.append(("", each["title"].upper()))
            rows += self.rows(result | each)
        rows += [("PROBLEM", problem) for problem in result["problems"]]
        return "\n".join(f"{title:<13}{text}" for title, text in rows)

    def rows(self, result):
        failover, few = result["many"]["failover"], result["few"]
        absence, latency = failover["absenceMicroseconds"], few["deliveries"]["latencyMicroseconds"]
        checked = few["deliveries"]["checked"]
        refusals = ", ".join(f"{count} times {reason}" for reason, count in sorted(failover["refusals"].items()))
        rows = [
            ("returned", f"{failover['returned']:,} of {result['clients']:,}; from the first loss to the last return "
                         f"{failover['seconds']:.2f} s"),
            ("absence", f"p50 {absence['p50'] / 1e6:.2f} s, p99 {absence['p99'] / 1e6:.2f} s, "
                        f"max {absence['max'] / 1e6:.2f} s"),
            ("refused", refusals or "never"),
            ("CPU", f"the other gateway, meanwhile: {result['cpuSeconds']:.2f} s"),
            ("its clients", f"{checked['received']:,} of {checked['expected']:,} deliveries; lost {checked['lost']}, "
                            f"duplicated {checked['duplicated']}, out of order {checked['outOfOrder']}"),
            ("latency", f"p50 {latency['p50'] / 1000:.1f} ms, p99 {latency['p99'] / 1000:.1f} ms, "
                        f"max {latency['max'] / 1000:.0f} ms"),
        ]
        if result["isDurable"]:
            many, resumes = result["many"]["deliveries"]["checked"], result["resumes"]
            rows.insert(1, ("missed", f"{many['lost']:,} of {many['expected']:,} deliveries over both connections; "
                                      f"twice {many['duplicated']}, out of order {many['outOfOrder']}"))
            rows.insert(2, ("resumes", f"{resumes['current']:,} had missed nothing, {resumes['ring']:,} from memory, "
                                       f"{resumes['read']:,} read from Redis, {resumes['lost']:,} lost; "
                                       f"{result['reads']:,} reads of Redis"))
        return rows


main(Storm, read_options())
