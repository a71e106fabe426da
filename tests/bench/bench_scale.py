"""Many at once: 100 creates beside 100 `docker run`, a crash of the agent under 100 sandboxes, an agent with 1,000, placement."""

import json
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from bench_memory import MIB, memory_of
from bench_sandboxes import IDLE, MS, peer_config, run_flags
from clients import EngineClient, SessionClient, api_connection, spawn
from harness.fake_engine import FakeEngine
from harness.processes import find_binary
from harness.stack import Stack
from harness.waiting import hold, wait_until
from report import make_row

CROWD_ROWS = {"create_100_at_once", "agent_crash_to_converged_100"}
MANY_ROWS = {"agent_rss_1000_sandboxes", "agent_rss_1000_restarted", "placement_decision_10000_hosts"}
FEW = CROWD_ROWS | MANY_ROWS  # each sample takes many seconds, or is many in itself: fewer than 30 will do
RESOURCES = {"cpuMillis": 100, "memoryBytes": 32 << 20, "pids": 64}


def in_parallel(count, action):
    """All at once; returns the seconds until the last is done. Any failure is raised."""
    with ThreadPoolExecutor(count) as pool:
        start = time.perf_counter()
        for done in [pool.submit(action, number) for number in range(count)]:
            done.result()
        return time.perf_counter() - start


def soon(condition):
    """As wait_until, but looks every few milliseconds: how long it takes is what is measured."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        hold(0.005)


class Crowd:
    def __init__(self, bench):
        self.bench, self.stack, self.api = bench, bench.stack, bench.stack.api
        self.count, self.rounds = (10, 2) if bench.quick else (100, 6)
        self.engine = EngineClient(self.stack.docker_socket)
        sandbox = self.api.create_sandbox("busybox", resources=RESOURCES)
        self.config = peer_config(self.stack.engine, f"gstacks-{sandbox['id']}")
        self.api.delete_sandbox(sandbox["id"])

    def create_ours(self, label):
        """Returns (seconds until all run, ids)."""
        ids = [None] * self.count
        url, key = self.stack.server.base_url, self.stack.server.api_key

        def create(number):
            connection = api_connection(url, key)
            made = connection.request("POST", "/api/sandboxes", {"blueprint": "busybox", "name": f"{label}-{number}", "resources": RESOURCES})
            ids[number] = made["id"]
            while made["state"] != "running":
                assert made["state"] != "failed", made
                made = connection.request("GET", f"/api/sandboxes/{made['id']}?waitFor=running,failed&waitMs=60000")
            connection.close()

        return in_parallel(self.count, create), ids

    def delete_ours(self, ids):
        for sandbox in ids:
            self.api.delete_sandbox(sandbox, wait=False)
        for sandbox in ids:
            wait_until(lambda sandbox=sandbox: self.api.find_sandbox(sandbox) is None, 120, f"sandbox {sandbox} being gone")

    def run_peer(self, label):
        names = [f"gs-bench-{label}-{number}" for number in range(self.count)]
        flags = run_flags(self.config)
        try:
            seconds = in_parallel(self.count, lambda number: spawn(
                ["docker", "run", "-d", "--name", names[number], *flags, self.config["Image"], *IDLE[1:]]))
        finally:
            for name in names:
                self.engine.remove(name)
        return seconds

    def measure_creates(self):
        samples = {"ours": [], "peer": []}
        for number in range(self.rounds):
            for who in (("ours", "peer"), ("peer", "ours"))[number % 2]:
                if who == "ours":
                    seconds, ids = self.create_ours(f"crowd{number}")
                    self.delete_ours(ids)
                else:
                    seconds = self.run_peer(f"crowd{number}")
                samples[who].append(seconds)
                self.bench.note(f"{self.count} at once, {who}: {seconds:.2f} s")
                hold(self.bench.settle)
        pairs = [ours / peer for ours, peer in zip(samples["ours"], samples["peer"])]
        return make_row("create_100_at_once", "s", samples["ours"], samples["peer"], "docker run -d, as many at once", 1.10,
                        count=self.count, all_succeeded=True, median_of_pair_ratios=round(statistics.median(pairs), 3))

    def list_by_engine(self):
        """What dockerd alone takes to say what is there: a list, and a look at each, one after the other."""
        start = time.perf_counter()
        listed = self.engine.api.request("GET", f"/containers/json?all=1&filters=%7B%22label%22%3A%5B%22gstacks.host%3D{self.stack.agent.host_id}%22%5D%7D")
        for container in listed:
            self.engine.api.request("GET", f"/containers/{container['Id']}/json")
        return time.perf_counter() - start

    def measure_crashes(self):
        _, ids = self.create_ours("crash")
        session = SessionClient(self.stack.server.base_url, self.stack.server.api_key)
        before = {container["Id"] for container in self.stack.agent.containers()}
        samples, peer, linked = [], [], []
        try:
            for _ in range(2 if self.bench.quick else 10):
                start = time.perf_counter()
                self.stack.agent.kill()
                soon(lambda: self.stack.host_state() == "disconnected")
                self.stack.agent.start()
                # An exec waits until the agent has found the sandbox and its guest again: each of them must answer.
                soon(lambda: self.stack.host_state() == "connected")
                linked.append(time.perf_counter() - start)
                with ThreadPoolExecutor(16) as pool:
                    for done in [pool.submit(SessionClient.exec, session, sandbox, ["true"], 30000) for sandbox in ids]:
                        done.result()
                samples.append(time.perf_counter() - start)
                peer.append(self.list_by_engine())
                hold(1)
            assert {container["Id"] for container in self.stack.agent.containers()} == before, "a container was replaced"
        finally:
            self.delete_ours(ids)
        return make_row("agent_crash_to_converged_100", "s", samples, peer, "dockerd alone: list, and inspect each in turn", count=self.count,
                        linked_s=round(statistics.median(linked), 3))


def measure_crowd(bench):
    crowd = Crowd(bench)
    yield crowd.measure_creates()
    yield crowd.measure_crashes()


def rss_looks(bench, pid):
    looks = []
    for _ in range(bench.rounds(30)):
        looks.append(memory_of(pid))
        hold(0.2)
    return [rss / MIB for rss, _ in looks], round(statistics.median(pss for _, pss in looks) / MIB, 3)


def measure_many(bench):
    count = 50 if bench.quick else 1000
    archive = bench.stack.directory / "busybox.tar"
    with Stack(agents=0, server_args=["--cpu-overcommit", "1000", "--max-sandboxes-per-host", "2000"]) as stack:
        with FakeEngine(stack.directory / "engine.sock", find_binary("gstacks-guest")) as engine:
            agent = stack.add_agent(docker_socket=engine.socket_path)
            stack.wait_connected()
            stack.api.create_blueprint("busybox", archive)
            resources = {"cpuMillis": 100, "memoryBytes": 16 << 20, "pids": 16}
            hold(bench.settle)
            empty = memory_of(agent.process.pid)[0] / MIB
            start = time.perf_counter()
            made = [stack.api.create_sandbox("busybox", wait=False, name=f"many-{number}", resources=resources)["id"] for number in range(count)]
            for sandbox in made:
                stack.api.wait_sandbox(sandbox, "running")
            bench.note(f"{count} sandboxes with a guest each took {time.perf_counter() - start:.1f} s")
            hold(bench.settle)
            rss, pss = rss_looks(bench, agent.process.pid)
            extra = {"count": count, "rss_before_mib": round(empty, 2)}
            yield make_row("agent_rss_1000_sandboxes", "MiB", rss, pss_mib=pss, kib_each=round((statistics.median(rss) - empty) * 1024 / count, 2), **extra)
            agent.restart()
            stack.wait_connected()
            hold(max(bench.settle, 5))  # startup memory is given back after the first health check
            rss, pss = rss_looks(bench, agent.process.pid)
            yield make_row("agent_rss_1000_restarted", "MiB", rss, pss_mib=pss, **extra)
            agent.kill()
    done = subprocess.run([find_binary("server_placement_bench")], capture_output=True, text=True, timeout=60)
    told = json.loads(done.stdout)
    yield make_row("placement_decision_10000_hosts", "ms", [told["p50Ms"]] * told["decisions"], bar=told["barMs"], p99_ms=told["p99Ms"], hosts=told["hosts"])
