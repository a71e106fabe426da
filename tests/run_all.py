#!/usr/bin/python3
"""Runs every tier that a merge needs and ends with one line: "N passed, N failed" (", N skipped" if any).

    tests/run_all.py               all tiers
    tests/run_all.py unit e2e      only these
    tests/run_all.py --list        their names and what they are

A tier that crashes, gives no count or runs nothing counts as failed: silence is never success. Exit code 1 on any failure.
Needs a build (make build) and, for the tiers with containers, root; starts a Docker engine if none answers and stops it again.
Details (JUnit and gtest XML, outputs of failures) lie in <build dir>/test-results/.

    GS_BUILD_DIR      build/release    the build under test
    GS_FUZZ_SECONDS   5                per fuzz target
    GS_SIM_SEEDS      400              fixed seeds of the simulation
    GS_SIM_SECONDS    20               fresh seeds of the simulation for so long; the first is printed, and each that breaks a rule
    GS_JOBS           processors       unit-test programs at a time
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parent
REPOSITORY = TESTS.parent
BUILD = Path(os.environ.get("GS_BUILD_DIR") or REPOSITORY / "build" / "release")
BUILD = BUILD if BUILD.is_absolute() else REPOSITORY / BUILD
RESULTS = BUILD / "test-results"
JOBS = int(os.environ.get("GS_JOBS") or os.cpu_count() or 1)
FUZZ_SECONDS = int(os.environ.get("GS_FUZZ_SECONDS") or 5)
SIM_SEEDS = int(os.environ.get("GS_SIM_SEEDS", "400"))
SIM_SECONDS = int(os.environ.get("GS_SIM_SECONDS", "20"))
UNIT_TIMEOUT = 600
PYTEST_TIMEOUT = 3600
SCRIPT_COUNT = re.compile(r"^(\d+) passed(?:, (\d+) failed)?(?:, (\d+) skipped)?\s*$")


@dataclass
class Outcome:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    notes: list = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.notes += other.notes

    def fail(self, note):
        self.failed += 1
        self.notes.append(note)


def show(text):
    print(text, flush=True)


def run_script(path, *arguments):
    """A check script says its count itself, in its last line."""
    outcome = Outcome()
    if not path.exists():
        outcome.fail(f"{path.relative_to(REPOSITORY)} is missing")
        return outcome
    done = subprocess.run([sys.executable, str(path), *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=UNIT_TIMEOUT)
    lines = done.stdout.strip().splitlines()
    count = SCRIPT_COUNT.match(lines[-1]) if lines else None
    if count:
        outcome.passed, outcome.failed, outcome.skipped = (int(group or 0) for group in count.groups())
    if done.returncode != 0 or not count or outcome.failed:
        show(done.stdout[-8000:] + done.stderr[-4000:])
    if not count:
        outcome.fail(f"{path.relative_to(REPOSITORY)} gave no count (exit code {done.returncode})")
    elif done.returncode != 0 and outcome.failed == 0:
        outcome.fail(f"{path.relative_to(REPOSITORY)} exited with {done.returncode} although it counted no failure")
    return outcome


# C++ unit tests: every *_test program, counted test by test. Suites named *Golden* are a tier of their own in the table.


def programs(suffix):
    found = [path for path in BUILD.rglob(f"*{suffix}") if path.is_file() and os.access(path, os.X_OK)]
    return sorted(path for path in found if "CMakeFiles" not in path.parts)


def gtest_counts(report):
    """(plain, golden) outcomes of one gtest XML report."""
    plain, golden = Outcome(), Outcome()
    for suite in xml.parse(report).getroot().iter("testsuite"):
        target = golden if "Golden" in suite.get("name", "") else plain
        for case in suite.iter("testcase"):
            failures = case.findall("failure")
            name = f"{suite.get('name')}.{case.get('name')}"
            if failures:
                target.fail(name)
            elif case.get("status") == "notrun" or case.get("result") == "skipped" or case.find("skipped") is not None:
                target.skipped += 1
                target.notes.append(f"skipped {name}")
            else:
                target.passed += 1
    return plain, golden


def run_unit_program(program):
    report = RESULTS / f"{program.name}.xml"
    log = RESULTS / f"{program.name}.log"
    report.unlink(missing_ok=True)
    environment = {**os.environ, "GTEST_COLOR": "no"}
    environment.pop("GTEST_FILTER", None)
    started = time.monotonic()
    with open(log, "wb") as output:
        try:
            code = subprocess.run([program, f"--gtest_output=xml:{report}"], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=subprocess.STDOUT, timeout=UNIT_TIMEOUT, env=environment).returncode
        except subprocess.TimeoutExpired:
            code = f"none after {UNIT_TIMEOUT} s: killed"
    try:
        plain, golden = gtest_counts(report)
    except (OSError, xml.ParseError):
        # gtest writes the report at the end: no report means that the program died on the way.
        plain, golden = Outcome(), Outcome()
        plain.fail(f"{program.name} died without a report (exit code {code})")
    failed = plain.failed + golden.failed
    if code != 0 and failed == 0:
        plain.fail(f"{program.name} exited with {code} although no test failed")
    if plain.passed + plain.failed + golden.passed + golden.failed == 0:
        plain.fail(f"{program.name} ran no test")
    failed = plain.failed + golden.failed
    show(f"  {'FAILED' if failed else 'ok':6} {program.name}: {plain.passed + golden.passed} passed, {failed} failed "
         f"({time.monotonic() - started:.1f} s)")
    if failed:
        show(tail(log, 80))
    return plain, golden


def tail(path, lines):
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


_golden = Outcome()


def run_unit():
    outcome = Outcome()
    with ThreadPoolExecutor(JOBS) as pool:
        for plain, golden in pool.map(run_unit_program, programs("_test")):
            outcome.add(plain)
            _golden.add(golden)
    return outcome


def run_golden():
    """Golden bytes: suites named *Golden* of the unit programs (counted while those ran), and tests/golden if there."""
    outcome = Outcome()
    outcome.add(_golden)
    if any((TESTS / "golden").glob("test_*.py")):
        outcome.add(run_pytest("golden"))
    return outcome


# Black-box tests in Python.


def run_pytest(tier):
    outcome = Outcome()
    directory = TESTS / tier
    if not any(directory.rglob("test_*.py")):
        outcome.fail(f"tests/{tier} has no test")
        return outcome
    report = RESULTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    # /usr/bin/python3 whatever PATH says: the libraries come from the distribution's packages.
    argv = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(REPOSITORY), "-q", "-rfEs", "--tb=short",
            "--durations=5", f"--junitxml={report}", str(directory)]
    environment = {**os.environ, "GS_BUILD_DIR": str(BUILD), "GS_REQUIRE_ALL": "1", "PYTHONUNBUFFERED": "1",
                   "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        code = subprocess.run(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, env=environment, timeout=PYTEST_TIMEOUT).returncode
    except subprocess.TimeoutExpired:
        code = f"none after {PYTEST_TIMEOUT} s: killed"
    try:
        for case in xml.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                outcome.fail(name)
            elif case.find("skipped") is not None:
                outcome.skipped += 1
                outcome.notes.append(f"skipped {name}: {case.find('skipped').get('message')}")
            else:
                outcome.passed += 1
    except (OSError, xml.ParseError):
        outcome.fail(f"pytest tests/{tier} left no report (exit code {code})")
    if code != 0 and outcome.failed == 0:
        outcome.fail(f"pytest tests/{tier} exited with {code} although it reported no failure")
    return outcome


def with_engine(run):
    def wrapped():
        sys.path.insert(0, str(TESTS))
        from harness.docker_engine import ensure_shared_dockerd
        outcome = Outcome()
        try:
            _, stop = ensure_shared_dockerd(RESULTS)
        except (RuntimeError, AssertionError) as error:
            outcome.fail(f"no Docker engine: {error}")
            return outcome
        try:
            return run()
        finally:
            stop()
    return wrapped


# Fuzzing, briefly: the corpus and a few seconds of new inputs. `make fuzz` takes longer and has sanitizers.


def run_fuzz_program(program):
    outcome = Outcome()
    log = RESULTS / f"{program.name}.log"
    corpora = [str(path) for path in [TESTS / "fuzz" / "corpus" / program.name] if path.is_dir()]
    # New inputs go to a directory that is thrown away: the first one given is where libFuzzer writes.
    with tempfile.TemporaryDirectory(prefix="gs-fuzz-") as scratch, open(log, "wb") as output:
        try:
            code = subprocess.run(
                [program, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={RESULTS}/{program.name}-",
                 scratch, *corpora],
                cwd=scratch, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=FUZZ_SECONDS + 120).returncode
        except subprocess.TimeoutExpired:
            code = "none in time: killed"
    runs = re.findall(r"^Done (\d+) runs", log.read_text(errors="replace"), re.M)
    if code != 0:
        outcome.fail(f"{program.name} exited with {code}; the input is in {RESULTS}")
        show(tail(log, 40))
    elif not runs or int(runs[0]) == 0:
        outcome.fail(f"{program.name} ran nothing")
        show(tail(log, 20))
    else:
        outcome.passed = 1
    show(f"  {'FAILED' if outcome.failed else 'ok':6} {program.name}: {runs[0] if runs else 'no'} runs, "
         f"{sum(len(os.listdir(corpus)) for corpus in corpora)} files of corpus")
    return outcome


def run_fuzz():
    outcome = Outcome()
    for program in programs("_fuzz"):
        outcome.add(run_fuzz_program(program))
    return outcome


# The deterministic simulation: seeds that are always the same, and new ones. A seed that breaks a rule is printed; `make sim SEED=x`
# shows it event by event.


def run_sim():
    outcome = Outcome()
    program = BUILD / "sim" / "gstacks-sim"
    if not program.exists():
        outcome.fail(f"{program} is not built")
        return outcome
    log = RESULTS / "sim.log"
    runs = [("replay", ["--seed", "1"]), ("fixed", ["--seeds", str(SIM_SEEDS), "--first", "1"])]
    if SIM_SECONDS:
        runs.append(("fresh", ["--seconds", str(SIM_SECONDS)]))
    for name, argv in runs:
        try:
            done = subprocess.run([program, *argv], cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", timeout=SIM_SECONDS + 300)
            code, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            code, output = "none in time: killed", ""
        log.write_text(output)
        for line in output.splitlines():
            if re.match(r"(seed \d+ |fresh seeds|\d+ seeds)", line):
                show(f"  {name}: {line}")
        if code != 0:
            outcome.fail(f"simulation, {name} seeds: exit code {code}")
        else:
            outcome.passed += 1
    return outcome


def run_docs():
    outcome = run_script(TESTS / "docs" / "check.py")
    outcome.add(run_pytest("docs"))
    return outcome


TIERS = {
    "layers": ("who may include whom", lambda: run_script(TESTS / "layers" / "check.py")),
    "contracts": ("the OpenAPI file is sound", lambda: run_script(REPOSITORY / "openapi" / "check.py")),
    "unit": ("C++ unit tests, beside the code", with_engine(run_unit)),
    "golden": ("golden bytes of wire types", run_golden),
    "harness": ("the harness, the scripts and the archive packer", with_engine(lambda: run_pytest("harness"))),
    "integration": ("single programs against the real thing", with_engine(lambda: run_pytest("integration"))),
    "e2e": ("the whole system, good and bad days", with_engine(lambda: run_pytest("e2e"))),
    "kill_points": ("the agent dies at every named point, once each", with_engine(lambda: run_script(TESTS / "kill_points" / "run.py", "--runs", "1"))),
    "sim": (f"{SIM_SEEDS} fixed seeds of the simulation" + (f", and fresh ones for {SIM_SECONDS} s" if SIM_SECONDS else ""), run_sim),
    "docs": ("links, paths and commands of the documents, and their examples", with_engine(run_docs)),
    "bench": ("the benchmark gives every row (--quick, no times are judged)",
              with_engine(lambda: run_script(TESTS / "bench" / "run.py", "--quick"))),
    "fuzz": (f"each fuzz target for {FUZZ_SECONDS} s", run_fuzz),
}


def run_tier(name):
    show(f"\n=== {name}: {TIERS[name][0]}")
    started = time.monotonic()
    try:
        outcome = TIERS[name][1]()
    except Exception as error:  # a broken tier must not hide the others, and must not look like success
        outcome = Outcome()
        outcome.fail(f"the tier itself broke: {error!r}")
    if outcome.passed + outcome.failed == 0:
        outcome.fail("nothing ran")
    outcome.seconds = time.monotonic() - started
    return outcome


def main(arguments):
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    if "--list" in arguments:
        for name, (what, _) in TIERS.items():
            print(f"{name:12} {what}")
        return 0
    unknown = [name for name in arguments if name not in TIERS]
    if unknown:
        print(f"unknown tier {unknown[0]}; there are: {' '.join(TIERS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    if not shutil.which("dockerd"):
        os.environ["PATH"] += ":/usr/sbin:/sbin"
    outcomes = {name: run_tier(name) for name in TIERS if not arguments or name in arguments}

    show("\n=== failures and skips")
    for name, outcome in outcomes.items():
        for note in outcome.notes:
            show(f"  {name}: {note}")
    if not any(outcome.notes for outcome in outcomes.values()):
        show("  none")
    show(f"\n{'tier':12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for name, outcome in outcomes.items():
        show(f"{name:12} {outcome.passed:7} {outcome.failed:7} {outcome.skipped:8} {outcome.seconds:8.1f}")
    passed, failed, skipped = (sum(getattr(outcome, what) for outcome in outcomes.values()) for what in ("passed", "failed", "skipped"))
    show(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
