#!/usr/bin/python3
"""Kill points: the agent dies at every named point of every verb, is started again, and everything must come right.

    tests/kill_points/run.py [--runs N] [--point VERB:POINT]…

For each (verb, point) and run: the agent is started so that it kills itself (SIGKILL) at that point, the verb is given
through the API, the agent dies, and is started again. Then, within 5 s (GS_KILL_POINTS_SECONDS):
  - the sandbox is what the verb asked for, in the generation of the wish;
  - there is exactly one container for each sandbox that is wanted and none besides; a bystander has not been touched;
  - a workload was started once a run that was asked for, never twice;
  - `gstacks-agent doctor --leaks` finds nothing.
Prints a table with the times to convergence, and last `N passed, N failed`. Run as root with a Docker engine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.docker_engine import ensure_shared_dockerd  # noqa: E402
from harness.processes import REPOSITORY, find_binary, run_tool  # noqa: E402
from harness.stack import Stack  # noqa: E402
from harness.waiting import wait_until  # noqa: E402

WITHIN_SECONDS = float(os.environ.get("GS_KILL_POINTS_SECONDS") or 5)

# The gates of a bystander, and of a sandbox that runs already, are opened again by each start of the agent and come first.
POINTS = {
    "create": ["assign.before", "assign.after", "prepare.after", "create.before", "create.after", "start.before", "start.after", "open_gate.after:2"],
    "stop": ["assign.before", "assign.after", "stop.before", "stop.after"],
    "start": ["assign.before", "assign.after", "start.before", "start.after", "open_gate.after:2"],
    # Its workload ends by itself, its policy starts it again: the end is told and cleaned up, then comes the counted start.
    "restart": ["stop.before", "stop.after", "start.before", "start.after", "open_gate.after:3"],
    "reprovision": ["assign.before", "assign.after", "prepare.after", "stop.before", "stop.after", "remove.before", "remove.after", "create.before",
                    "create.after", "start.before", "start.after", "open_gate.after:3"],
    "archive": ["assign.before", "assign.after", "stop.before", "stop.after", "take_layer.before", "take_layer.committed", "take_layer.spooled",
                "take_layer.after", "send_layer.before", "send_layer.after", "remove.before", "remove.after"],
    "delete": ["assign.before", "assign.after", "remove.before", "remove.after"],
}
WORKLOAD = ["sh", "-c", "echo run >> /tmp/runs; trap 'exit 0' TERM; while :; do sleep 0.05; done"]
# Ends by itself once, when it is told to.
ENDS_ONCE = ["sh", "-c", "echo run >> /tmp/runs; while [ ! -e /tmp/end ]; do sleep 0.05; done; rm /tmp/end; exit 3"]
RUNS = {"create": 1, "start": 2, "restart": 2, "reprovision": 1}  # of the workload, in the end


class Host:
    """One stack with a bystander, on which verbs are interrupted."""

    def __init__(self, stack):
        self.stack, self.api = stack, stack.api
        self.bystander = self.api.create_sandbox("busybox", command=WORKLOAD)
        self.bystander_container = self.identity_of(self.bystander)

    def identity_of(self, sandbox):
        container = self.stack.engine.inspect(f"gstacks-{sandbox['id']}")
        return container["Id"], container["State"]["Pid"], container["State"]["StartedAt"]

    def make(self, verb):
        """The sandbox as it is before the verb, or None."""
        if verb == "create":
            return None
        if verb == "restart":
            return self.api.create_sandbox("busybox", command=ENDS_ONCE, restart={"mode": "on_failure"})
        sandbox = self.api.create_sandbox("busybox", command=WORKLOAD)
        if verb == "start":
            self.api.stop_sandbox(sandbox["id"])
        return sandbox

    def give(self, verb, sandbox):
        """The verb through the API, without waiting for its effect."""
        if verb == "create":
            return self.api.create_sandbox("busybox", wait=False, command=WORKLOAD)
        if verb == "start":
            return self.api.start_sandbox(sandbox["id"], wait=False)
        if verb == "reprovision":
            return self.api.reprovision_sandbox(sandbox["id"], wait=False)
        if verb == "archive":
            return self.api.archive_sandbox(sandbox["id"], grace_ms=1000, wait=False)
        if verb == "stop":
            return self.api.stop_sandbox(sandbox["id"], grace_ms=1000, wait=False)
        if verb == "restart":
            self.api.exec(sandbox, ["touch", "/tmp/end"], waitMs=10_000).check()
            return sandbox
        self.api.delete_sandbox(sandbox["id"], wait=False)
        return sandbox

    def is_as_asked(self, verb, sandbox_id):
        now = self.api.find_sandbox(sandbox_id)
        if verb == "delete" or now is None:
            return now is None and verb == "delete"
        if verb == "archive":
            return now["state"] == "archived" and len(self.stack.agent.containers()) == 1 and not self.leaks()
        wanted = "stopped" if verb == "stop" else "running"
        assert now["state"] != "failed", f"failed: {now.get('reason')}: {now.get('message')}"
        done = verb != "restart" or now["restarts"] == 1
        return done and now["state"] == wanted and now["observedGeneration"] == now["generation"]

    def leaks(self):
        agent = self.stack.agent
        done = run_tool([agent.binary, "doctor", "--config", agent.config_file, "--state-dir", agent.state_dir, "--run-dir", agent.run_dir,
                         "--docker-socket", agent.docker_socket, "--guest", find_binary("gstacks-guest"), "--leaks", "--json", "--min-age", "0"],
                        check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return json.loads(done.stdout)["leaks"]

    def interrupt(self, verb, point):
        """One run; returns the seconds to convergence. An AssertionError says what is wrong."""
        agent = self.stack.agent
        sandbox = self.make(verb)
        agent.stop()
        agent.start_with_crash_point(point)
        self.stack.wait_connected()
        # Found again, so that its gate has been counted.
        assert self.api.exec(self.bystander, ["true"], waitMs=10_000).code == 0
        sandbox = self.give(verb, sandbox)
        code = agent.process.wait_exit(30)
        assert code == -9, f"the agent exited with {code} instead of dying at the point"
        began = time.monotonic()
        agent.start()
        wait_until(lambda: self.is_as_asked(verb, sandbox["id"]), WITHIN_SECONDS, f"{verb} being carried out", interval=0.01)
        took = time.monotonic() - began
        self.check(verb, sandbox)
        if verb == "archive":
            # All that it had written is there again.
            self.stack.remember_blueprint(self.api.sandbox(sandbox["id"])["archive"])
            self.api.restore_sandbox(sandbox["id"])
            assert self.api.exec(sandbox, ["cat", "/tmp/runs"], waitMs=5_000).check().count("run") == 2
        if verb != "delete":
            self.api.delete_sandbox(sandbox["id"])
        return took

    def check(self, verb, sandbox):
        wanted = {self.bystander["id"]: "running"}
        if verb not in ("delete", "archive"):
            wanted[sandbox["id"]] = "exited" if verb == "stop" else "running"
        found = sorted((c["Labels"]["gstacks.sandbox"], c["State"]) for c in self.stack.agent.containers())
        assert found == sorted(wanted.items()), f"containers {found}, wanted {wanted}"
        assert self.identity_of(self.bystander) == self.bystander_container, "the bystander was touched"
        if verb in RUNS:
            runs = self.api.exec(sandbox, ["cat", "/tmp/runs"], waitMs=5_000).check().count("run")
            assert runs == RUNS[verb], f"the workload was started {runs} times"
        leaks = self.leaks()
        assert not leaks, f"leaks: {leaks}"

    def recover(self):
        """After a failed run: nothing of it may be held against the next."""
        if not self.stack.agent.process.alive:
            self.stack.agent.start()
        self.stack.wait_connected()
        for sandbox in self.api.list_all("/api/sandboxes"):
            if sandbox["id"] != self.bystander["id"]:
                self.api.delete_sandbox(sandbox["id"])


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def run_points(host, points, runs):
    """(passed, failed), and the table on the way."""
    passed, failed, all_times = 0, 0, []
    print(f"{'verb':11} {'point':20} {'runs':>5} {'failed':>7} {'p50 ms':>7} {'p95 ms':>7} {'max ms':>7}", flush=True)
    for verb, point in points:
        times, problems = [], []
        for _ in range(runs):
            try:
                times.append(host.interrupt(verb, point))
            except AssertionError as error:
                problems.append(str(error))
                host.recover()
        passed, failed, all_times = passed + len(times), failed + len(problems), all_times + times
        figures = [1000 * f for f in (statistics.median(times), quantile(times, 0.95), max(times))] if times else [0, 0, 0]
        print(f"{verb:11} {point:20} {runs:5} {len(problems):7} " + " ".join(f"{f:7.0f}" for f in figures), flush=True)
        for problem in problems[:3]:
            print(f"    {problem}", flush=True)
    if all_times:
        print(f"all: {len(all_times)} runs converged, p50 {1000 * statistics.median(all_times):.0f} ms, "
              f"p95 {1000 * quantile(all_times, 0.95):.0f} ms, max {1000 * max(all_times):.0f} ms")
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="Kills the agent at every named point and checks that everything comes right.")
    parser.add_argument("--runs", type=int, default=1, help="runs a point (1)")
    parser.add_argument("--point", action="append", help="only this VERB:POINT, e.g. stop:stop.after; repeatable")
    arguments = parser.parse_args()
    points = [(verb, point) for verb, names in POINTS.items() for point in names
              if not arguments.point or f"{verb}:{point}" in arguments.point]
    if not points:
        parser.error("no such point")
    with tempfile.TemporaryDirectory(prefix="gs-kill-") as scratch:
        archive = Path(scratch) / "busybox.tar"
        subprocess.run([REPOSITORY / "deploy" / "demo-blueprint" / "build.sh", "--busybox", archive], check=True, capture_output=True,
                       env={**os.environ, "GS_BLUEPRINT_CACHE": f"{scratch}/cache"})
        _, stop_engine = ensure_shared_dockerd(scratch)
        try:
            with Stack(agents=1) as stack:
                stack.import_blueprint(archive)
                passed, failed = run_points(Host(stack), points, arguments.runs)
        finally:
            stop_engine()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
