#!/usr/bin/python3
"""Measures ours beside its peers on this machine: what `make bench` runs, as root. See docs/benchmarks.md.

    run.py              n >= 30, about five minutes; writes build/bench/results.json
    run.py --quick      n = 5: only shows that every row is still produced; writes build/bench/results-quick.json
    run.py --only upload,memory    some of: memory, sandboxes, upload, files, crowd, many

A bar that does not hold is reported, not failed on. Exit code 1 when a row is missing or cannot be true; the last line is
"N passed, N failed", one for each row. The build under test: GS_BUILD_DIR or GS_BIN_DIR, default build/release.
"""

import argparse
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPOSITORY = BENCH.parents[1]
sys.path[:0] = [str(BENCH), str(BENCH.parent)]
sys.dont_write_bytecode = True

import bench_files  # noqa: E402
import bench_memory  # noqa: E402
import bench_sandboxes  # noqa: E402
import bench_scale  # noqa: E402
import bench_upload  # noqa: E402
import report  # noqa: E402
from harness.docker_engine import ensure_shared_dockerd  # noqa: E402
from harness.processes import find_binary  # noqa: E402
from harness.stack import Stack  # noqa: E402

# In this order: memory at idle is that of processes that have done nothing yet. Later parts add their own lines.
PARTS = (
    ("memory", bench_memory.IDLE_ROWS, bench_memory.measure_idle),
    ("sandboxes", bench_sandboxes.ROWS, bench_sandboxes.measure),
    ("memory", bench_memory.LOADED_ROWS, bench_memory.measure_loaded),
    ("upload", bench_upload.ROWS, bench_upload.measure),
    ("files", bench_files.ROWS, bench_files.measure),
    ("crowd", bench_scale.CROWD_ROWS, bench_scale.measure_crowd),
    ("many", bench_scale.MANY_ROWS, bench_scale.measure_many),
)
QUICK_ROUNDS = 5
PROGRAMS = ("gstacks-server", "gstacks-agent", "gstacks-guest", "gstacks")


class Bench:
    """What a measurement gets."""

    def __init__(self, stack, quick):
        self.stack = stack
        self.quick = quick
        self.warm_up = 1 if quick else 3
        self.settle = 1 if quick else 5
        self._start = time.monotonic()

    def rounds(self, full):
        return QUICK_ROUNDS if self.quick else full

    def note(self, text):
        print(f"[{time.monotonic() - self._start:6.1f} s] {text}", flush=True)


def build_archive(directory):
    out = directory / "busybox.tar"
    subprocess.run([REPOSITORY / "deploy" / "demo-blueprint" / "build.sh", "--busybox", out], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "GS_BLUEPRINT_CACHE": str(directory / "blueprint-cache")})
    return out


def run(parts, quick):
    """Returns (machine, rows, problems)."""
    rows, problems = [], []
    _, stop_engine = ensure_shared_dockerd()
    try:
        with Stack(agents=1) as stack:
            bench = Bench(stack, quick)
            machine = report.machine(stack.engine, {name: find_binary(name) for name in PROGRAMS})
            for name, expected, measure in PARTS:
                if name not in parts:
                    continue
                bench.note(f"{name}: {', '.join(sorted(expected))}")
                if measure is not bench_memory.measure_idle and not stack.api.list_all("/api/blueprints"):
                    stack.import_blueprint(build_archive(stack.directory), "busybox")
                made = []
                try:
                    for row in measure(bench):
                        made.append(row)
                except Exception:  # one broken measurement must not take the others along
                    traceback.print_exc()
                    print(stack.logs())
                rows += made
                problems += [f"{row} was not produced" for row in sorted(expected - {row["name"] for row in made})]
            bench.note("done")
    finally:
        stop_engine()
    machine["loadAtEnd"] = os.getloadavg()[0]
    machine["quick"] = quick
    return machine, rows, problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="n = 5, to see that every row is produced")
    parser.add_argument("--only", default="memory,sandboxes,upload,files,crowd,many", help="parts to run, with commas between")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("this drives a Docker engine: run it as root", file=sys.stderr)
        return 2
    machine, rows, problems = run(set(arguments.only.split(",")), arguments.quick)
    for row in rows:
        few = row["name"] in bench_scale.FEW or arguments.quick and row["name"] in bench_upload.ROWS
        least = (2 if arguments.quick else 5) if few else QUICK_ROUNDS if arguments.quick else 30
        problem = report.problem_of(row, least)
        if problem:
            problems.append(f"{row['name']} {problem}")
    results = REPOSITORY / "build" / "bench" / ("results-quick.json" if arguments.quick else "results.json")
    report.write(results, machine, rows)
    print(f"\n{machine['cpuModel']}, {machine['cores']} cores, {machine['memoryBytes'] >> 30} GiB, Linux {machine['kernel']}, {machine['os']}; "
          f"dockerd {machine['dockerd']}, containerd {machine['containerd']}, docker {machine['dockerCli']}; "
          f"load {machine['loadAtStart']:.1f} to {machine['loadAtEnd']:.1f}\n")
    print(report.table(rows))
    print(f"\n{results}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print(f"{len(rows)} passed, {len(problems)} failed")
    return 1 if problems or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
