"""Holds N clients in one room on this machine. Started by scripts/hold, which builds the programs first."""

import time

import limits
import report
import samples as measure
from deployment import start_gateways, start_nginx
from experiment import POLL_SECONDS, Experiment, main, parser, say
from free_ports import free_ports
from processes import children

SAMPLE_SECONDS = 1.0
PROGRESS_SECONDS = 5.0


def read_options():
    parse = parser(
        "hold", "Starts Redis and as many gateways as N clients need (a process needs a descriptor for each "
        "connection), holds the clients in one room with a heartbeat every 25 s each, sends notices to all of "
        "them, and reports CPU, memory and times.",
        "Exit: 0 all clients stayed connected and received every notice once; 1 otherwise; 2 wrong usage.",
        100_000, "clients")
    parse.add_argument(
        "--hold", metavar="SECONDS", type=float, default=60, help="how long to hold all (default 60)")
    parse.add_argument(
        "--every", metavar="SECONDS", type=float, default=5, help="time between notices (default 5)")
    parse.add_argument(
        "--connect-rate", metavar="N", type=int, default=2000,
        help="handshakes a second at most (default 2000)")
    parse.add_argument(
        "--gateways", metavar="N", type=int, help="processes (default: as few as N clients need)")
    parse.add_argument("--nginx", action="store_true", help="connect through nginx")
    options = parse.parse_args()
    if not 1 <= options.clients <= 960_000:
        parse.error("N: expected 1 to 960000")
    if not 1 <= options.every <= 100 or not options.every < options.hold <= 86_400:
        parse.error("--every: expected 1 to 100, and less than --hold (86400 at most)")
    if not 1 <= options.connect_rate <= 100_000:
        parse.error("--connect-rate: expected 1 to 100000")
    if options.gateways is None:
        options.gateways = limits.gateways_for(options.clients)
    if not 1 <= options.gateways <= min(200, options.clients):
        parse.error("--gateways: expected 1 to 200, and no more than N")
    return options


class Hold(Experiment):
    """Samples until the load test has ended."""

    name = "hold"
    problems = staticmethod(report.problems)
    table = staticmethod(report.table)

    def __init__(self, options, processes):
        super().__init__(options, processes)
        self.samples = []
        self.memory = {}
        self.most_socket_buffer_bytes = 0

    @staticmethod
    def obstacles(options):
        return limits.obstacles(options.clients, options.gateways, options.nginx)

    def parts(self):
        return f"gateways ({self.options.gateways}) and {self.options.clients} clients"

    def start(self):
        count, nginx_count = self.options.gateways, 0
        if self.options.nginx:
            nginx_count = limits.nginx_workers_for(self.options.clients)
        self.kernel_before = measure.kernel_memory()
        redis_port, *ports = free_ports(1 + 2 * count + nginx_count)
        gateway_ports, self.admin_ports = ports[:count], ports[count:2 * count]
        nginx_ports = ports[2 * count:]
        self.start_redis(redis_port)
        # least_conn keeps the gateways equal but for a few: each nginx counts for itself.
        maximum = limits.processes_for(self.options.clients, count) + 2 * nginx_count
        self.gateways = start_gateways(
            self.processes, self.options.binaries / "gateway", self.redis, gateway_ports, self.admin_ports, maximum)
        self.nginx = start_nginx(
            self.processes, nginx_ports, gateway_ports, limits.descriptors_per_process() - 64)
        options = self.options
        self.loadtest = self.start_loadtest(
            "loadtest", nginx_ports or gateway_ports, options.clients,
            "--rooms", 1, "--connect-rate", options.connect_rate,
            "--rate", f"{1 / options.every:.6f}", "--warmup", "2s",
            "--duration", f"{options.hold * 1000:.0f}ms", "--settle", "30s",
            "--pids", ",".join(str(process.pid) for process in self.gateways))
        self.loadtest.should_run = False

    def follow(self):
        """Samples once a second until the load test has ended."""
        next_sample = next_progress = time.monotonic()
        pids = [process.pid for process in self.gateways]
        while self.loadtest.exit_code is None:
            self.processes.check()
            now = time.monotonic()
            if now >= next_sample:
                next_sample = now + SAMPLE_SECONDS
                sample = measure.Sample(pids, self.admin_ports)
                self.samples.append(sample)
                self.look_at_memory(sample)
            if now >= next_progress and self.samples:
                next_progress = now + PROGRESS_SECONDS
                last = self.samples[-1]
                say(f"{last.connections} of {self.options.clients} clients, {last.deliveries} deliveries")
            time.sleep(POLL_SECONDS)

    def look_at_memory(self, sample):
        """Once all have been there for half of the time: all notices of a kind have passed by then."""
        kernel = measure.kernel_memory()
        self.most_socket_buffer_bytes = max(self.most_socket_buffer_bytes, kernel["socketBufferBytes"])
        if self.memory or sample.connections < self.options.clients:
            return
        full = next(each for each in self.samples if each.connections >= self.options.clients)
        if sample.time < full.time + self.options.hold / 2:
            return
        workers = [pid for process in self.nginx for pid in [process.pid, *children(process.pid)]]
        self.memory = {
            "gateways": measure.memory([process.pid for process in self.gateways]),
            "redis": measure.memory([self.redis.process.pid]),
            "nginx": measure.memory(workers),
            "loadProcesses": measure.memory(children(self.loadtest.pid)),
            "kernel": {
                "slabBytes": kernel["slabBytes"] - self.kernel_before["slabBytes"],
                "socketBufferBytes": kernel["socketBufferBytes"],
                "tcpSockets": kernel["tcpSockets"],
            },
        }

    def result(self):
        loadtest = self.report(self.loadtest)
        if self.memory:
            self.memory["kernel"]["mostSocketBufferBytes"] = self.most_socket_buffer_bytes
        return {
            "clients": self.options.clients, "gateways": len(self.gateways), "nginxWorkers": len(self.nginx),
            "holdSeconds": self.options.hold, "everySeconds": self.options.every,
            "hold": report.hold_figures(self.samples, self.options.clients, self.options.hold),
            "memory": self.memory, "loadtest": loadtest,
        }


main(Hold, read_options())
