"""Fixtures of all black-box tests. What they stand on is in tests/harness/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness.docker_engine import PrivateDockerd  # noqa: E402
from harness.processes import REPOSITORY  # noqa: E402
from harness.requirements import require_docker, require_root  # noqa: E402
from harness.stack import Stack  # noqa: E402

BUILD_BLUEPRINT = REPOSITORY / "deploy" / "demo-blueprint" / "build.sh"


@pytest.fixture(scope="session")
def build_archive(tmp_path_factory):
    """build_archive(*options) makes a busybox image archive, e.g. build_archive("--format", "docker-save")."""
    directory = tmp_path_factory.mktemp("archives")
    made = {}

    def build(*options):
        if options not in made:
            out = directory / f"busybox-{len(made)}.tar"
            done = subprocess.run([BUILD_BLUEPRINT, "--busybox", *options, out], capture_output=True, text=True,
                                  env={**os.environ, "GS_BLUEPRINT_CACHE": str(directory / "cache")})
            assert done.returncode == 0, done.stdout + done.stderr
            made[options] = out
        return made[options]

    return build


@pytest.fixture(scope="session")
def busybox_archive(build_archive):
    """A few MB, an OCI image layout, one uncompressed layer."""
    return build_archive()


@pytest.fixture(scope="session")
def docker():
    """The machine's own engine. Never stop it, remove only what you made."""
    require_root()
    return require_docker()


@pytest.fixture
def private_dockerd():
    """An engine that the test may stop, kill and pause."""
    require_root()
    require_docker()  # where the shared one cannot run, a private one cannot either
    engine = PrivateDockerd().start()
    yield engine
    engine.cleanup()


@pytest.fixture
def make_stack():
    """make_stack(agents=1, …) for tests that break things: each gets its own. See harness/stack.py."""
    stacks = []

    def make(**options):
        stack = Stack(**options)
        stacks.append(stack)
        return stack

    yield make
    for stack in reversed(stacks):
        stack.close()


@pytest.fixture(scope="session")
def shared_stack(docker, busybox_archive):
    """One server, one agent and the blueprint `busybox`, for tests that leave all of it as it was."""
    stack = Stack(agents=1, engine=docker, server_args=("--allow-origin", "https://console.example"))
    try:
        stack.import_blueprint(busybox_archive, "busybox")
        yield stack
    finally:
        stack.close()


@pytest.fixture
def stack(shared_stack):
    """The shared stack, alive at the start of the test whatever the one before did; its sandboxes are removed after it."""
    if not shared_stack.server.process.alive:
        shared_stack.server.start()
    if not shared_stack.agent.process.alive:
        shared_stack.agent.start()
    shared_stack.wait_connected()
    before = {sandbox["id"] for sandbox in shared_stack.api.list_all("/api/sandboxes")}
    yield shared_stack
    for sandbox in shared_stack.api.list_all("/api/sandboxes"):
        if sandbox["id"] not in before and sandbox["desiredState"] != "deleted":
            shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture
def sandbox(stack):
    """A running busybox sandbox of this test's own."""
    return stack.api.create_sandbox("busybox")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every log of the stacks that live at that moment."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for stack in Stack.live:
            report.sections.append((f"processes of {stack.directory}", stack.logs()))
