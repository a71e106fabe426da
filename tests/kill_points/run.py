#!/usr/bin/python3
"""Kill points: the agent dies at every named point of every verb, is started again, and everything must come right.

    tests/kill_points/run.py [--runs N] [--point VERB:POINT]… [--jobs N] [--seconds S] [--record FILE] [--private-engine]

For each (verb, point) and run: the agent is told to kill itself (SIGKILL) at that point, the verb is given through the API,
the agent dies, and is started again. Then, within 5 s (GS_KILL_POINTS_SECONDS):
  - the sandbox is what the verb asked for, in the generation of the wish;
  - there is exactly one container for each sandbox that is wanted and none besides; a bystander has not been touched;
  - a workload was started once a run that was asked for, never twice;
  - `gstacks-agent doctor --leaks` finds nothing.
One sandbox after the other is led through its life, from verb to verb, until every point has had its runs.

Long runs: --jobs has several hosts at work at once; --record appends one JSON line a run to a file, and the table is made of
all that the file holds, so that a run can be continued; --seconds begins no new run after that time; --private-engine uses
an engine of its own in the temporary directory (TMPDIR on tmpfs spares the disk).
Prints a table with the times to convergence, and last `N passed, N failed`. Run as root with a Docker engine.
"""

import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.docker_engine import PrivateDockerd, ensure_shared_dockerd  # noqa: E402
from harness.processes import REPOSITORY, find_binary, run_tool  # noqa: E402
from harness.stack import Stack  # noqa: E402
from harness.waiting import wait_until  # noqa: E402

WITHIN_SECONDS = float(os.environ.get("GS_KILL_POINTS_SECONDS") or 5)

MAKING = ["create.before", "create.after", "start.before", "start.after", "open_gate.after"]
POINTS = {
    "create": ["assign.before", "assign.after", "prepare.after", *MAKING],
    "stop": ["assign.before", "assign.after", "stop.before", "stop.after"],
    "start": ["assign.before", "assign.after", "start.before", "start.after", "open_gate.after"],
    # Its workload ends by itself, its policy starts it again: the end is told and cleaned up, then comes the counted start.
    "restart": ["stop.before", "stop.after", "start.before", "start.after", "open_gate.after"],
    "reprovision": ["assign.before", "assign.after", "prepare.after", "stop.before", "stop.after", "remove.before", "remove.after", *MAKING],
    "archive": ["assign.before", "assign.after", "stop.before", "stop.after", "take_layer.before", "take_layer.committed", "take_layer.spooled",
                "take_layer.after", "send_layer.before", "send_layer.after", "remove.before", "remove.after"],
    "restore": ["assign.before", "assign.after", "prepare.after", *MAKING],
    "delete": ["assign.before", "assign.after", "remove.before", "remove.after"],
}
AFTER = {"create": "running", "stop": "stopped", "start": "running", "restart": "running", "reprovision": "running", "archive": "archived",
         "restore": "running", "delete": None}
FROM_RUNNING = {"stop": ("stop", "start"), "restart": ("restart",), "reprovision": ("reprovision",), "archive": ("archive", "restore"),
                "delete": ("delete", "create")}  # and for whose sake a verb is given
# It ends by itself when it is told to. A line in /tmp/runs says that it is there and can be told.
WORKLOAD = ["sh", "-c", "trap 'exit 0' TERM; trap 'exit 3' USR1; echo $$ > /tmp/pid; echo run >> /tmp/runs; sleep 1000000 & wait"]
END_IT = ["sh", "-c", "kill -USR1 $(cat /tmp/pid)"]


class Plan:
    """How many runs each (verb, point) still needs."""

    def __init__(self, points, runs):
        self._left = {point: runs for point in points}

    def is_done(self):
        return not any(self._left.values())

    def runs_left(self, verbs):
        return max((left for (verb, _), left in self._left.items() if verb in verbs), default=0)

    def take(self, verb):
        """The point at which to die in this verb, or None."""
        left, point = max(((left, point) for (name, point), left in self._left.items() if name == verb), default=(0, None))
        if left == 0:
            return None
        self._left[verb, point] -= 1
        return point


class Host:
    """One stack with a bystander, and a sandbox that is led from verb to verb."""

    def __init__(self, stack, orders):
        self.stack, self.api, self.orders = stack, stack.api, Path(orders)
        self.bystander = self.api.create_sandbox("busybox", command=WORKLOAD)
        self.bystander_container = self.identity_of(self.bystander)
        self.forget()

    def forget(self):
        """No sandbox is there."""
        self.sandbox, self.state, self.runs, self.restarted = None, None, 0, False

    def identity_of(self, sandbox):
        container = self.stack.engine.inspect(f"gstacks-{sandbox['id']}")
        return container["Id"], container["State"]["Pid"], container["State"]["StartedAt"]

    def next_verb(self, plan):
        if self.state != "running":
            return {None: "create", "stopped": "start", "archived": "restore"}[self.state]
        # A second restart in one generation waits for longer than convergence may take, and rightly so.
        usable = [verb for verb in FROM_RUNNING if verb != "restart" or not self.restarted]
        verb = max(usable, key=lambda verb: plan.runs_left(FROM_RUNNING[verb]))
        return verb if plan.runs_left(FROM_RUNNING[verb]) else "stop"

    def give(self, verb):
        """The verb through the API, without waiting for its effect."""
        if verb == "create":
            self.sandbox = self.api.create_sandbox("busybox", wait=False, command=WORKLOAD, restart={"mode": "on_failure"})
            return
        name = self.sandbox["id"]
        if verb == "restart":
            self.api.exec(self.sandbox, END_IT, waitMs=10_000)  # the agent may die before it can answer
        elif verb in ("stop", "archive"):
            getattr(self.api, f"{verb}_sandbox")(name, grace_ms=1000, wait=False)
        else:
            getattr(self.api, f"{verb}_sandbox")(name, wait=False)

    def is_as_asked(self, verb):
        now = self.api.find_sandbox(self.sandbox["id"])
        if verb == "delete" or now is None:
            return now is None and verb == "delete"
        assert now["state"] != "failed", f"failed: {now.get('reason')}: {now.get('message')}"
        if verb == "archive":
            return now["state"] == "archived" and len(self.stack.agent.containers()) == 1 and not self.leaks()
        done = now["restarts"] == 1 if verb == "restart" else now["observedGeneration"] == now["generation"]
        return done and now["state"] == AFTER[verb]

    def leaks(self):
        agent = self.stack.agent
        done = run_tool([agent.binary, "doctor", "--config", agent.config_file, "--state-dir", agent.state_dir, "--run-dir", agent.run_dir,
                         "--docker-socket", agent.docker_socket, "--guest", find_binary("gstacks-guest"), "--leaks", "--json", "--min-age", "0"],
                        check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return json.loads(done.stdout)["leaks"]

    def carry_out(self, verb, point):
        """The verb, with a death at the point unless that is None; returns the seconds from the new start to convergence."""
        if (verb, point) == ("reprovision", "prepare.after"):
            self.stack.agent.restart("stop")  # one that has prepared the blueprint in its life does so no more
            self.stack.wait_connected()
        if point:
            # Found again, so that its gate is not the one at which the agent dies.
            assert self.api.exec(self.bystander, ["true"], waitMs=10_000).code == 0
            self.order(point)
        agent = self.stack.agent
        self.give(verb)
        if point:
            code = agent.process.wait_exit(30)
            assert code == -9, f"the agent exited with {code} instead of dying at the point"
        began = time.monotonic()
        if point:
            agent.start()
        wait_until(lambda: self.is_as_asked(verb), WITHIN_SECONDS, f"{verb} being carried out", interval=0.01)
        took = time.monotonic() - began
        self.keep_account(verb)
        self.check()
        if self.state is None:
            self.forget_images()
            self.forget()
        return took

    def order(self, point):
        new = self.orders.with_suffix(".new")
        new.write_text(point)
        new.replace(self.orders)

    def keep_account(self, verb):
        self.state = AFTER[verb]
        self.restarted = verb == "restart" or (self.restarted and verb == "archive")
        if verb == "archive":
            self.stack.remember_blueprint(self.api.sandbox(self.sandbox["id"])["archive"])
        elif verb in ("create", "reprovision"):
            self.runs = 1
        elif self.state == "running":
            self.runs += 1

    def check(self):
        wanted = {self.bystander["id"]: "running"}
        if self.state in ("running", "stopped"):
            wanted[self.sandbox["id"]] = "exited" if self.state == "stopped" else "running"
        found = sorted((c["Labels"]["gstacks.sandbox"], c["State"]) for c in self.stack.agent.containers())
        assert found == sorted(wanted.items()), f"containers {found}, wanted {wanted}"
        assert self.identity_of(self.bystander) == self.bystander_container, "the bystander was touched"
        if self.state == "running":
            runs = wait_until(self.count_runs, WITHIN_SECONDS, f"{self.runs} runs of the workload")
            assert runs == self.runs, f"the workload was started {runs} times, wanted {self.runs}"
        leaks = self.leaks()
        assert not leaks, f"leaks: {leaks}"

    def count_runs(self):
        """0 as long as there are too few: the workload's own first steps come after its start."""
        runs = self.api.exec(self.sandbox, ["cat", "/tmp/runs"], waitMs=5_000).check().count("run")
        return runs if runs >= self.runs else 0

    def forget_images(self):
        """Those of the archives, which nothing uses any more."""
        self.stack.remove_images(keep=self.api.list_all("/api/blueprints"))

    def recover(self):
        """After a failed run: nothing of it may be held against the next."""
        self.orders.unlink(missing_ok=True)
        self.stack.agent.restart("kill")
        self.stack.wait_connected()
        for sandbox in self.api.list_all("/api/sandboxes"):
            if sandbox["id"] != self.bystander["id"]:
                self.api.delete_sandbox(sandbox["id"])
        self.forget()


def run_host(job, plan, archive, docker_socket, scratch, record, until):
    """One host's share of the runs, each written to the record as soon as it is over."""
    orders = Path(scratch) / f"orders-{job}"
    with open(record, "a", buffering=1) as out, Stack(agents=1, engine=docker_socket, agent_env={"GSTACKS_CRASH_POINT": str(orders)}) as stack:
        stack.import_blueprint(archive)
        host = Host(stack, orders)
        while not plan.is_done() and time.monotonic() < until:
            verb = host.next_verb(plan)
            point = plan.take(verb)
            result = {"verb": verb, "point": point}
            try:
                result["seconds"] = round(host.carry_out(verb, point), 4)
            except AssertionError as error:
                result["problem"] = str(error)[:2000]
            if point or "problem" in result:
                out.write(json.dumps(result) + "\n")
            if "problem" in result:
                host.recover()


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(len(values) * q))]


def print_table(results):
    """(passed, failed)"""
    print(f"{'verb':11} {'point':20} {'runs':>6} {'failed':>7} {'p50 ms':>7} {'p95 ms':>7} {'max ms':>7}")
    names = Counter((r["verb"], r["point"]) for r in results)
    order = [(verb, point) for verb, points in POINTS.items() for point in [None, *points]]
    for verb, point in sorted(names, key=order.index):
        mine = [r for r in results if (r["verb"], r["point"]) == (verb, point)]
        times = [r["seconds"] for r in mine if "seconds" in r]
        problems = [r["problem"] for r in mine if "problem" in r]
        figures = [1000 * f for f in (statistics.median(times), quantile(times, 0.95), max(times))] if times else [0, 0, 0]
        print(f"{verb:11} {point or '(undisturbed)':20} {len(mine):6} {len(problems):7} " + " ".join(f"{f:7.0f}" for f in figures))
        for problem in problems[:3]:
            print(f"    {problem}")
    times = [r["seconds"] for r in results if "seconds" in r]
    if times:
        print(f"all: {len(times)} runs converged, p50 {1000 * statistics.median(times):.0f} ms, "
              f"p95 {1000 * quantile(times, 0.95):.0f} ms, max {1000 * max(times):.0f} ms")
    return len(times), len(results) - len(times)


def read_record(record):
    return [json.loads(line) for line in Path(record).read_text().splitlines()]


def run_all(arguments, points, scratch, record):
    archive = Path(scratch) / "busybox.tar"
    subprocess.run([REPOSITORY / "deploy" / "demo-blueprint" / "build.sh", "--busybox", archive], check=True, capture_output=True,
                   env={**os.environ, "GS_BLUEPRINT_CACHE": f"{scratch}/cache"})
    if arguments.private_engine:
        directory = Path(scratch) / "engine"
        directory.mkdir()
        private = PrivateDockerd(directory)
        docker_socket, stop_engine = private.start().socket_path, private.cleanup
    else:
        docker_socket, stop_engine = ensure_shared_dockerd(scratch)
    until = time.monotonic() + arguments.seconds
    # Each host takes its share of every point.
    shares = [Plan(points, arguments.runs // arguments.jobs + (1 if job < arguments.runs % arguments.jobs else 0)) for job in range(arguments.jobs)]
    try:
        if arguments.jobs == 1:
            run_host(0, shares[0], archive, docker_socket, scratch, record, until)
            return
        with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
            for done in [pool.submit(run_host, job, plan, archive, docker_socket, scratch, record, until) for job, plan in enumerate(shares)]:
                done.result()
    finally:
        stop_engine()


def main():
    parser = argparse.ArgumentParser(description="Kills the agent at every named point and checks that everything comes right.")
    parser.add_argument("--runs", type=int, default=1, help="runs a point (1)")
    parser.add_argument("--point", action="append", help="only this VERB:POINT, e.g. stop:stop.after; repeatable")
    parser.add_argument("--jobs", type=int, default=1, help="hosts at work at once (1)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no run after so many seconds (no limit)")
    parser.add_argument("--record", help="append each run to this file of JSON lines, and count what it holds already")
    parser.add_argument("--private-engine", action="store_true", help="use an engine of its own in the temporary directory")
    arguments = parser.parse_args()
    points = [(verb, point) for verb, names in POINTS.items() for point in names
              if not arguments.point or f"{verb}:{point}" in arguments.point]
    if not points:
        parser.error("no such point")
    with tempfile.TemporaryDirectory(prefix="gs-kill-") as scratch:
        record = arguments.record or Path(scratch) / "record"
        run_all(arguments, points, scratch, record)
        passed, failed = print_table(read_record(record))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
