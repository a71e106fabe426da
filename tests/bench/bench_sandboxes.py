"""Cold create to first exec, and exec, each in turn with the peers."""

import os
import socket
import statistics
import struct
import time

from clients import EngineClient, Reader, SessionClient, api_connection, spawn
from report import make_row

ROWS = {"cold_create_to_exec", "cold_create_to_exec_vs_cli", "exec_true", "exec_true_vs_engine_api", "exec_true_cli",
        "bench_client_overhead"}
RESOURCES = {"cpuMillis": 1000, "memoryBytes": 64 << 20, "pids": 128}
IDLE = ["sleep", "1000000"]
MS = 1000.0


def seconds_of(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turn(contenders, rounds, warm_up, after_each=lambda: None):
    """Runs each contender once a round, in an order that rotates; returns {name: [seconds]} without the warm-up rounds."""
    samples = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(warm_up + rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            seconds = contenders[name]()
            after_each()
            if number >= warm_up:
                samples[name].append(seconds)
    return samples


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peer_config(engine, container):
    """Our container's own configuration without our mounts and labels, idling: what the peers create."""
    seen = engine.inspect(container)
    host = {key: seen["HostConfig"][key] for key in (
        "NetworkMode", "CapDrop", "CapAdd", "SecurityOpt", "IpcMode", "CgroupnsMode", "Memory", "MemorySwap", "NanoCpus", "PidsLimit",
        "OomScoreAdj", "LogConfig", "RestartPolicy", "Privileged", "AutoRemove")}
    # What the client sent, not what the engine made of it: the expanded profile is not accepted back.
    host["SecurityOpt"] = ["no-new-privileges:true"]
    return {"Image": seen["Image"], "Entrypoint": IDLE, "Cmd": [], "User": "0:0", "WorkingDir": "/", "HostConfig": host}


def run_flags(config):
    host = config["HostConfig"]
    return ["--network", "none", "--ipc", host["IpcMode"], "--cgroupns", host["CgroupnsMode"], "--log-driver", "none",
            "--security-opt", "no-new-privileges:true", "--cap-drop", "ALL", *(flag for cap in host["CapAdd"] for flag in ("--cap-add", cap)),
            "--memory", str(host["Memory"]), "--memory-swap", str(host["MemorySwap"]), "--cpus", str(host["NanoCpus"] / 1e9),
            "--pids-limit", str(host["PidsLimit"]), "--oom-score-adj", str(host["OomScoreAdj"]), "--user", "0:0", "--workdir", "/",
            "--entrypoint", IDLE[0]]


class Contest:
    """The contenders over one stack with the blueprint `busybox`."""

    def __init__(self, stack):
        self.stack = stack
        self.api = api_connection(stack.server.base_url, stack.server.api_key)
        self.session = SessionClient(stack.server.base_url, stack.server.api_key)
        self.engine = EngineClient(stack.docker_socket)
        self.name = f"gs-bench-{os.getpid()}"
        self.number = 0
        self.leftovers = []
        sandbox = self.stack.api.create_sandbox("busybox", resources=RESOURCES)
        self.config = peer_config(stack.engine, f"gstacks-{sandbox['id']}")
        self.sandbox_id = sandbox["id"]

    def fresh_name(self):
        self.number += 1
        return f"{self.name}-{self.number}"

    # Cold create to first exec

    def ours_create(self):
        self.api.reconnect()  # both sides start with an open connection, and neither with one that idled too long
        start = time.perf_counter()
        sandbox = self.api.request("POST", "/api/sandboxes", {"blueprint": "busybox", "resources": RESOURCES})
        created = time.perf_counter()
        self.leftovers.append(lambda: self.stack.api.delete_sandbox(sandbox["id"]))
        # Its clock stops at the exit frame, before the closing handshake.
        session = self.session.exec(sandbox["id"], ["true"], wait_ms=60000)
        self.create_marks.append((created - start, self.session.marks["opened"], session))
        return created - start + session

    def engine_create(self):
        name = self.fresh_name()
        self.leftovers.append(lambda: self.engine.remove(name))
        self.engine.api.reconnect()
        start = time.perf_counter()
        container = self.engine.create(name, self.config)
        created = time.perf_counter()
        self.engine.start(container)
        started = time.perf_counter()
        self.engine.exec(container, ["true"])
        end = time.perf_counter()
        self.engine_marks.append((created - start, started - created, end - started))
        return end - start

    def cli_create(self):
        name = self.fresh_name()
        self.leftovers.append(lambda: self.engine.remove(name))

        def run():
            spawn(["docker", "run", "-d", "--name", name, *run_flags(self.config), self.config["Image"], *IDLE[1:]])
            spawn(["docker", "exec", name, "true"])

        return seconds_of(run)

    def clean_up(self):
        """Takes away what the last contender made, so that its removal is not measured with the next one."""
        while self.leftovers:
            self.leftovers.pop()()

    def measure_create(self, rounds, warm_up):
        self.create_marks, self.engine_marks = [], []
        samples = in_turn({"ours": self.ours_create, "engine": self.engine_create, "cli": self.cli_create}, rounds, warm_up, self.clean_up)
        ours, engine, cli = ([value * MS for value in samples[name]] for name in ("ours", "engine", "cli"))

        def medians(marks, names):
            return {name: round(statistics.median(values) * MS, 3) for name, values in zip(names, zip(*marks[warm_up:]))}

        steps = {"ours_steps_ms": medians(self.create_marks, ("post", "session_to_opened", "session_to_exit")),
                 "peer_steps_ms": medians(self.engine_marks, ("create", "start", "exec"))}
        return [make_row("cold_create_to_exec", "ms", ours, engine, "Engine API create + start + exec", 1.10, **steps),
                make_row("cold_create_to_exec_vs_cli", "ms", ours, cli, "docker run -d + docker exec")]

    # Exec

    def measure_exec(self, rounds, warm_up):
        name = self.fresh_name()
        container = self.engine.create(name, self.config)
        self.engine.start(container)
        cli = self.stack.cli()
        gstacks = [cli.binary, "--config-file", cli.config_file, "sandbox", "exec", self.sandbox_id, "--", "true"]
        processes = {"server": self.stack.server.process.pid, "agent": self.stack.agent.process.pid}
        before = {who: cpu_seconds(pid) for who, pid in processes.items()}
        marks = []

        def ours():
            seconds = self.session.exec(self.sandbox_id, ["true"])
            marks.append(tuple(self.session.marks.values()))
            return seconds

        try:
            samples = in_turn({
                "ours": ours,
                "docker": lambda: seconds_of(lambda: spawn(["docker", "exec", name, "true"])),
                "engine": lambda: seconds_of(lambda: self.engine.exec(container, ["true"])),
                "gstacks": lambda: seconds_of(lambda: spawn(gstacks)),
            }, rounds, warm_up)
        finally:
            self.engine.remove(container)
        # Two of the four go through our processes.
        execs = 2 * (rounds + warm_up)
        cpu = {f"{who}_cpu_ms_per_exec": round((cpu_seconds(pid) - before[who]) * MS / execs, 3) for who, pid in processes.items()}
        steps = dict(zip(self.session.marks, (round(statistics.median(values) * MS, 3) for values in zip(*marks[warm_up:]))))
        ours, docker, engine, gstacks = ([value * MS for value in samples[who]] for who in ("ours", "docker", "engine", "gstacks"))
        return [make_row("exec_true", "ms", ours, docker, "docker exec", 0.2, steps_ms=steps, **cpu),
                make_row("exec_true_vs_engine_api", "ms", ours, engine, "Engine API exec"),
                make_row("exec_true_cli", "ms", gstacks, docker, "docker exec")]

    def close(self):
        self.clean_up()
        self.stack.api.delete_sandbox(self.sandbox_id)


# What the client costs


def _serve_stub(listener):
    """Answers each session at once, with the frames of a real one. Runs in a process of its own."""
    frames = [b"\x10" + b'{"sessionId":"ses_0123456789abcdefghjk"}', b"\x13" + b'{"code":0}']
    answer = b"".join(struct.pack("!BB", 0x82, len(frame)) + frame for frame in frames) + b"\x88\x02\x03\xe8"
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Reader(connection).until(b"\r\n\r\n")
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            connection.recv(4096)
            connection.sendall(answer)
            connection.recv(4096)


def measure_client(rounds, warm_up):
    """The exec exchange with nobody behind it: an upper bound, since the stub is Python as well. And a bare spawn."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stub = os.fork()
        if stub == 0:
            try:
                _serve_stub(listener)
            finally:
                os._exit(1)
        try:
            session = SessionClient(f"http://127.0.0.1:{listener.getsockname()[1]}", "gsk_x")
            samples = in_turn({"exchange": lambda: session.exec("sbx_0123456789abcdefghjk", ["true"]),
                               "spawn": lambda: seconds_of(lambda: spawn(["/bin/true"]))}, rounds, warm_up)
        finally:
            os.kill(stub, 9)
            os.waitpid(stub, 0)
    return [make_row("bench_client_overhead", "ms", [value * MS for value in samples["exchange"]],
                     spawn_true_ms=round(statistics.median(samples["spawn"]) * MS, 3))]


def measure(bench):
    contest = Contest(bench.stack)
    try:
        yield from measure_client(bench.rounds(60), 5)
        yield from contest.measure_exec(bench.rounds(60), 5)
        yield from contest.measure_create(bench.rounds(30), bench.warm_up)
    finally:
        contest.close()
