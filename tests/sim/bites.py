#!/usr/bin/python3
"""Puts bugs into the product, one at a time, and shows that the simulation finds each within a stated number of seeds.

    bites.py list              "name=source" of each, separated by semicolons
    bites.py write NAME FILE   the source with the bug in it; fails when the text to be replaced is not there exactly once
    bites.py run DIRECTORY     runs each mutant in DIRECTORY (build/release/sim); ends with "N passed, N failed"

`make sim-bites` builds and runs them. A mutant that is not found any more says that the simulation has become blind to that bug,
or that the product now has a second guard against it; then look which, before changing the number here.
"""

import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Mutant:
    name: str
    why: str
    source: str
    old: str
    new: str
    seeds: int  # from seed 1; found within a third of it when it was written


MUTANTS = [
    Mutant("older-generation", "a host takes an assignment that is older than what it has",
           "src/agent/core/sandbox_model.cc",
           "if (incoming.generation < held.generation) {",
           "if (incoming.generation + 1'000'000 < held.generation) {", 1000),
    Mutant("outage-starts-again", "an engine that did not answer is blamed for an end that was the sandbox's own",
           "src/agent/core/sandbox_model.cc",
           "return record.runInstance != facts.instance;",
           "return facts.runtimeWasLost || record.runInstance != facts.instance;", 1000),
    Mutant("effect-before-intent", "containers are changed without a word in the journal",
           "src/agent/sandboxes/sandbox_actor.cc",
           "  GS_CO_CHECK(co_await save());\n  if (staged_) sink_(*staged_);",
           "  if (staged_) sink_(*staged_);", 1000),
    Mutant("told-before-disk", "an observation is told before it is on disk, and its number is given to another after a crash",
           "src/agent/sandboxes/sandbox_actor.cc",
           "  GS_CO_CHECK(co_await save());\n  // Another commit",
           "  sink_(*staged_);\n  GS_CO_CHECK(co_await save());\n  // Another commit", 1000),
    Mutant("stranger-removed", "a container that no record knows is removed on nobody's authority",
           "src/agent/sandboxes/supervisor.cc",
           "  strangers_ = std::move(found);",
           "  for (const auto& id : found) (void)co_await parts_.runtime.remove(id, Deadline::after(Millis(30'000)));\n"
           "  strangers_ = std::move(found);", 1000),
    Mutant("older-observation", "the server lets an older observation replace a newer one",
           "src/server/store/observation_store.cc",
           "return std::pair(generation, sequence) > std::pair(s.observedGeneration, s.sequence);",
           "return std::pair(generation, sequence) != std::pair(s.observedGeneration, s.sequence);", 1000),
    Mutant("deleted-comes-back", "an old message makes a deleted sandbox again",
           "src/agent/sandboxes/supervisor.cc",
           "assignment.generation < gone->second) {",
           "assignment.generation + 1'000'000 < gone->second) {", 1000),
    Mutant("died-with-a-link", "an agent that died with a link takes all of the time since for an outage",
           "src/agent/sandboxes/link_outage.cc",
           "Millis(memory->downMs) : -kRememberEvery;",
           "Millis(memory->downMs) : Millis(0);", 1000),
    Mutant("kept-without-link", "a sandbox that is to be stopped without a control plane runs on",
           "src/agent/core/sandbox_model.cc",
           "      if (facts.container == Seen::kRunning) return doing(Step::kStop);\n      // It is not restarted",
           "      // It is not restarted", 1000),
    Mutant("waits-for-the-past", "a wait that is over is waited for without end while the control plane is out of reach",
           "src/agent/core/sandbox_model.cc",
           "      next.restartWithin.reset();\n", "", 4000),
    Mutant("idle-despite-session", "a sandbox in use is taken for idle",
           "src/server/store/deadline_store.cc",
           "    for (const auto& id : inUse) {",
           "    for (const auto& id : std::vector<SandboxId>()) {", 1000),
    Mutant("fence-lets-through", "any number of sandboxes may be destroyed at once",
           "src/agent/core/deletion_fence.cc",
           "return wished_.size() > most ?",
           "return wished_.size() > most + 1'000 ?", 1000),
    Mutant("held-forgotten", "what was held is let go when the agent is restarted",
           "src/agent/sandboxes/supervisor.cc",
           "addActor(std::move(record), answer);",
           "addActor(std::move(record), answer == Destruction::kHeld ? Destruction::kReleased : answer);", 1000),
    Mutant("adopted-and-stopped", "a sandbox that runs is adopted as one that is to be stopped",
           "src/server/hosts/adoption.cc",
           "out.desired = assignment.desired == DesiredState::kRunning ?",
           "out.desired = assignment.desired == DesiredState::kDeleted ?", 8000),
    Mutant("fresh-root-kept", "a fresh root file system is asked for, and the old container is started",
           "src/agent/core/sandbox_model.cc",
           "return there && facts.containerGeneration < record.assignment.rootGeneration;",
           "return there && facts.containerGeneration + 1'000'000 < record.assignment.rootGeneration;", 1000),
    Mutant("expires-early", "a sandbox is deleted two seconds before its time",
           "src/server/store/deadline_store.cc",
           "{} AND s.expires_at <= $1 ORDER",
           "{} AND s.expires_at - 2000 <= $1 ORDER", 1000),
]


def write(name, target):
    mutant = next(m for m in MUTANTS if m.name == name)
    text = (REPOSITORY / mutant.source).read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.source}: the text that mutant {name} replaces is there {text.count(mutant.old)} times, not once")
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.replace(mutant.old, mutant.new))


def run(directory):
    passed = failed = 0
    for mutant in MUTANTS:
        began = time.monotonic()
        done = subprocess.run([Path(directory) / f"gstacks-sim-mutant-{mutant.name}", "--hunt", str(mutant.seeds), "--first", "1"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=900)
        found = re.search(r"^seed (\d+) hash \w+: ([^:]*):", done.stdout, re.MULTILINE)
        if done.returncode == 0 and found:
            passed += 1
            print(f"  found   {mutant.name}: by seed {found.group(1)} of {mutant.seeds}, as '{found.group(2)}' "
                  f"({time.monotonic() - began:.1f} s): {mutant.why}", flush=True)
        else:
            failed += 1
            print(f"  MISSED  {mutant.name} in {mutant.seeds} seeds (exit code {done.returncode}): {mutant.why}\n"
                  f"{done.stdout[-500:]}{done.stderr[-500:]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main():
    match sys.argv[1:]:
        case ["list"]:
            print(";".join(f"{m.name}={m.source}" for m in MUTANTS))
            return 0
        case ["write", name, target]:
            write(name, target)
            return 0
        case ["run", directory]:
            return run(directory)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
