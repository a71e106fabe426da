#!/usr/bin/env python3
"""Checks who may include whom (docs/architecture: includes go down only).

Each row of ALLOWED names a folder under src/ and what its files may include, besides themselves and the standard
library. A file that includes anything else of ours, or a heavy library outside the folder that hides it, is a failure.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

BASE = ["base"]
ASYNC = BASE + ["async"]
IO = ASYNC + ["net", "proc", "db"]
WIRE = BASE + ["wire"]

# folder -> what it may include. The longest matching folder counts. Reasons stand beside what is not obvious.
ALLOWED = {
    "base": [],
    "async": BASE,
    "net": ASYNC,
    "proc": ASYNC,
    "db": ASYNC,
    "wire": BASE,
    "agent/core": WIRE,
    "agent/policy": WIRE + ["agent/core"],
    "agent/guest_channel": IO + ["wire", "agent/core"],
    "agent/runtimes": IO + ["wire", "agent/core"],
    "agent/runtimes/docker": IO + ["wire", "agent/core", "agent/runtimes"],
    "agent/blueprints": IO + ["wire", "agent/core", "agent/runtimes"],
    # Spools through the blueprint cache's seam for files; its way out is an interface that the link implements.
    "agent/layers": IO + ["wire", "agent/core", "agent/runtimes", "agent/blueprints"],
    "agent/link": IO + ["wire", "agent/core", "agent/blueprints", "agent/layers"],
    "agent/telemetry": IO + ["wire", "agent/core"],
    # Interfaces only: no concrete runtime, cache or link.
    "agent/sandboxes": IO + ["wire", "agent/core", "agent/policy", "agent/runtimes", "agent/guest_channel"],
    "agent/logs": IO + ["wire", "agent/core", "agent/guest_channel"],
    "agent/sessions": IO + ["wire", "agent/core", "agent/guest_channel"],
    "agent/daemon": IO + ["wire", "agent"],
    # Shared by the guest, which links nothing else of ours, and the command line: the standard library and system calls.
    "trees": ["base"],
    "guest": WIRE + ["trees"],
    "egress": IO,
    "server/core": WIRE,
    "server/placement": WIRE + ["server/core"],
    "server/store": ASYNC + ["db", "wire", "server/core"],
    "server/identity": IO + ["wire", "server/core", "server/store"],
    "server/audit": IO + ["wire", "server/core", "server/store"],
    "server/blueprints": IO + ["wire", "server/core", "server/store"],
    "server/hosts": IO + ["wire", "server/core", "server/store", "server/gateway"],
    "server/sandboxes": IO + ["wire", "server/core", "server/store", "server/placement", "server/gateway"],
    "server/gateway": IO + ["wire", "server/core", "server/store", "server/blueprints", "server/sandboxes", "server/identity"],
    "server/sessions": IO + ["wire", "server/core", "server/store", "server/gateway", "server/sandboxes"],
    "server/files": IO + ["wire", "trees", "server/core", "server/store", "server/gateway", "server/sessions"],
    "server/logs": IO + ["wire", "server/core", "server/store", "server/gateway"],
    "server/api": IO + ["wire", "server"],
    "server/daemon": IO + ["wire", "server"],
    "cli": IO + ["wire", "trees"],
}

# A heavy library and the only folders that may include it, so that nobody pays its compile time by accident.
HIDDEN = {
    r"boost/beast|boost/asio/ssl": ["net/beast"],
    r"\.pb\.h": ["wire", "agent/guest_channel", "guest"],
    r"sqlite3\.h": ["db"],
    r"valijson/": ["server/api"],
    r"CLI/": ["cli", "agent/daemon", "server/daemon"],
    r"^archive(_entry)?\.h": ["server/blueprints"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_rule(rel):
    best = None
    for folder in ALLOWED:
        if (rel == folder or rel.startswith(folder + "/")) and (best is None or len(folder) > len(best)):
            best = folder
    return best


def ours(include):
    head = include.split("/")[0]
    return (SRC / head).is_dir() and "/" in include


def check(path):
    rel = path.relative_to(SRC).as_posix()
    folder = folder_rule(str(pathlib.PurePosixPath(rel).parent))
    if folder is None:
        return [f"{rel}: its folder has no row in the layer table"]
    problems = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        kind, name = found.groups()
        if kind == '"' and ours(name):
            target = str(pathlib.PurePosixPath(name).parent)
            fine = any(target == a or target.startswith(a + "/") for a in [folder, *ALLOWED[folder]])
            # A runtime never includes a sibling.
            if folder == "agent/runtimes" and target.startswith("agent/runtimes/"):
                fine = False
            # Tests may reach for the real thing below and beside them within the same program.
            if not fine and path.name.endswith(("_test.cc", "_fuzz.cc", "_bench.cc")):
                fine = target.split("/")[0] == rel.split("/")[0] or target.split("/")[0] in IO + ["wire"]
            if not fine:
                problems.append(f"{rel}:{number}: {folder} may not include {name}")
        for pattern, homes in HIDDEN.items():
            if re.search(pattern, name) and not any(rel.startswith(home + "/") for home in homes):
                problems.append(f"{rel}:{number}: {name} belongs behind {', '.join(homes)}")
    return problems


def main():
    files = sorted(p for p in SRC.rglob("*") if p.suffix in (".h", ".cc"))
    # One result a folder of the table, however many files it has.
    results = {}
    for path in files:
        problems = check(path)
        folder = folder_rule(path.parent.relative_to(SRC).as_posix())
        results[folder] = results.get(folder, 0) + len(problems)
        for problem in problems:
            print(problem)
    if not files:
        print("no sources found")
        results[None] = 1
    bad = sum(1 for count in results.values() if count)
    print(f"{len(results) - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
