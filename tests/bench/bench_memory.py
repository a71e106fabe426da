"""Resident memory of agent and server: before anything was done, with 20 sandboxes, and after they are gone."""

import time

from harness.waiting import hold, wait_until
from report import make_row

SANDBOXES = 20
RESOURCES = {"cpuMillis": 100, "memoryBytes": 32 << 20, "pids": 64}
MIB = float(1 << 20)
IDLE_ROWS = {"agent_rss_idle", "server_rss_idle"}
LOADED_ROWS = {"agent_rss_20_sandboxes", "server_rss_20_sandboxes", "agent_rss_afterwards", "server_rss_afterwards"}


def memory_of(pid):
    """(RSS, PSS) in bytes. PSS counts a page that is shared with n processes as a n-th of a page."""
    values = {}
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        for line in rollup:
            fields = line.split()
            if fields[0] in ("Rss:", "Pss:"):
                values[fields[0]] = int(fields[1]) * 1024
    return values["Rss:"], values["Pss:"]


def sample(bench, suffix, agent_bar=None):
    """30 looks within six seconds: heartbeats and their buffers are in it."""
    processes = {"agent": bench.stack.agent.process, "server": bench.stack.server.process}
    looks = {who: [] for who in processes}
    for _ in range(bench.rounds(30)):
        for who, process in processes.items():
            looks[who].append(memory_of(process.pid))
        hold(0.2)
    for who, values in looks.items():
        rss = [value[0] / MIB for value in values]
        pss = sorted(value[1] / MIB for value in values)[len(values) // 2]
        yield make_row(f"{who}_rss_{suffix}", "MiB", rss, bar=agent_bar if who == "agent" else None, pss_mib=round(pss, 3))


def measure_idle(bench):
    hold(bench.settle)
    yield from sample(bench, "idle", agent_bar=15)


def measure_loaded(bench):
    api = bench.stack.api
    start = time.perf_counter()
    made = [api.create_sandbox("busybox", wait=False, name=f"memory-{number}", resources=RESOURCES)["id"] for number in range(SANDBOXES)]
    try:
        for sandbox in made:
            api.wait_sandbox(sandbox, "running")
        bench.note(f"{SANDBOXES} sandboxes at once took {time.perf_counter() - start:.1f} s")
        hold(bench.settle)
        yield from sample(bench, f"{SANDBOXES}_sandboxes")
    finally:
        for sandbox in made:
            api.delete_sandbox(sandbox, wait=False)
        for sandbox in made:
            wait_until(lambda sandbox=sandbox: api.find_sandbox(sandbox) is None, 60, f"sandbox {sandbox} being gone")
    hold(bench.settle)
    yield from sample(bench, "afterwards")
