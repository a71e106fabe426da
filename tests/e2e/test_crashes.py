"""kill -9, at any moment: afterwards there is exactly what was asked for, once, and the record says so."""

import os
import time

import pytest

from harness.stack import Stack
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def crashing(docker, busybox_archive):
    """A stack whose agent and server the tests kill; each test leaves it running and without sandboxes."""
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


@pytest.fixture
def stack(crashing):
    for process in (crashing.server, crashing.agent):
        if not process.process.alive:
            process.start()
    crashing.wait_connected()
    yield crashing
    for process in (crashing.server, crashing.agent):
        if not process.process.alive:
            process.start()
    for sandbox in crashing.api.list_all("/api/sandboxes"):
        crashing.api.delete_sandbox(sandbox["id"])
    assert_nothing_left(crashing)


def run_dirs(stack):
    directory = stack.agent.run_dir / "sandboxes"
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


def assert_nothing_left(stack):
    assert stack.agent.containers() == [] and run_dirs(stack) == set()


def assert_exactly(stack, *sandboxes):
    """One container and one directory for each, and nothing else."""
    ids = {sandbox["id"] for sandbox in sandboxes}
    found = [container["Labels"]["gstacks.sandbox"] for container in stack.agent.containers()]
    assert sorted(found) == sorted(ids)
    assert run_dirs(stack) == ids


def converged(stack, sandbox_id, state):
    sandbox = stack.api.sandbox(sandbox_id)
    return sandbox["state"] == state and sandbox["observedGeneration"] == sandbox["generation"] and sandbox


def crash_during(stack, point, act):
    """The agent runs into the crash point while it carries out `act`; then it is started again."""
    stack.agent.stop()
    stack.agent.start_with_crash_point(point)
    stack.wait_connected()
    result = act()
    assert stack.agent.process.wait_exit(30) == -9, f"{point} was not reached"
    return result


# Named places before (intent on disk) and after (effect done, result not on disk) each effect.


@pytest.mark.parametrize("point", ["prepare.after", "create.before", "create.after", "start.before", "start.after", "open_gate.after"])
def test_an_agent_killed_while_it_creates_ends_with_one_running_sandbox(stack, point):
    sandbox = crash_during(stack, point, lambda: stack.api.create_sandbox(
        "busybox", wait=False, command=["sh", "-c", "echo run >> /tmp/runs; exec sleep 1000"]))
    assert len(stack.agent.containers()) <= 1
    stack.agent.start()
    sandbox = stack.api.wait_sandbox(sandbox["id"], "running")
    assert converged(stack, sandbox["id"], "running")
    assert_exactly(stack, sandbox)
    assert stack.api.exec(sandbox, ["cat", "/tmp/runs"]).check() == "run\n", "the workload was started once"


@pytest.mark.parametrize("point", ["prepare.after", "create.after", "start.after", "open_gate.after"])
def test_a_sandbox_deleted_while_its_agent_is_dead_in_the_middle_of_creating_it_leaves_nothing(stack, point):
    sandbox = crash_during(stack, point, lambda: stack.api.create_sandbox("busybox", wait=False))
    stack.api.delete_sandbox(sandbox["id"], wait=False)
    stack.agent.start()
    wait_until(lambda: stack.api.find_sandbox(sandbox["id"]) is None, 30, "the deletion")
    assert_nothing_left(stack)


@pytest.mark.parametrize("point", ["stop.before", "stop.after"])
def test_an_agent_killed_while_it_stops_ends_with_one_stopped_sandbox(stack, point):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.05; done"])
    crash_during(stack, point, lambda: stack.api.stop_sandbox(sandbox["id"], grace_ms=5000, wait=False))
    stack.agent.start()
    stopped = stack.api.wait_sandbox(sandbox["id"], "stopped")
    assert converged(stack, sandbox["id"], "stopped") and stopped["reason"] == "stopped_by_user"
    assert_exactly(stack, sandbox)
    stack.api.start_sandbox(sandbox["id"])


@pytest.mark.parametrize("point", ["start.before", "start.after", "open_gate.after"])
def test_an_agent_killed_while_it_starts_again_ends_with_one_running_sandbox(stack, point):
    sandbox = stack.api.create_sandbox("busybox")
    stack.api.stop_sandbox(sandbox["id"])
    crash_during(stack, point, lambda: stack.api.start_sandbox(sandbox["id"], wait=False))
    stack.agent.start()
    stack.api.wait_sandbox(sandbox["id"], "running")
    assert_exactly(stack, sandbox)
    assert stack.api.exec(sandbox, ["echo", "up"]).check() == "up\n"


@pytest.mark.parametrize("point", ["remove.before", "remove.after"])
def test_an_agent_killed_while_it_deletes_ends_with_nothing(stack, point):
    sandbox = stack.api.create_sandbox("busybox")
    bystander = stack.api.create_sandbox("busybox")
    crash_during(stack, point, lambda: stack.api.delete_sandbox(sandbox["id"], wait=False))
    stack.agent.start()
    wait_until(lambda: stack.api.find_sandbox(sandbox["id"]) is None, 30, "the deletion")
    assert_exactly(stack, bystander)
    assert stack.api.exec(bystander, ["echo", "untouched"], waitMs=10_000).check() == "untouched\n"


def test_an_agent_that_dies_again_and_again_gets_there_in_the_end(stack):
    sandbox = crash_during(stack, "prepare.after", lambda: stack.api.create_sandbox("busybox", wait=False))
    for point in ("create.before", "create.after", "start.before", "start.after", "open_gate.after"):
        stack.agent.start_with_crash_point(point)
        assert stack.agent.process.wait_exit(30) == -9, f"{point} was not reached"
    stack.agent.start()
    stack.api.wait_sandbox(sandbox["id"], "running")
    assert_exactly(stack, sandbox)


# Sandboxes outlive the agent


def container_of(stack, sandbox):
    return stack.engine.inspect(f"gstacks-{sandbox['id']}")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_sandbox_outlives_its_agent_with_the_same_processes(stack, how):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "echo $$ > /tmp/pid; while :; do sleep 0.05; done"])
    before = container_of(stack, sandbox)
    workload = stack.api.exec(sandbox, ["cat", "/tmp/pid"]).check()
    getattr(stack.agent, how)()
    stack.agent.start()
    stack.wait_connected()
    assert stack.api.exec(sandbox, ["cat", "/tmp/pid"], waitMs=10_000).check() == workload
    after = container_of(stack, sandbox)
    for part in ("Pid", "StartedAt"):
        assert after["State"][part] == before["State"][part]
    assert after["Id"] == before["Id"]
    assert stack.api.exec(sandbox, ["kill", "-0", workload.strip()]).code == 0
    record = stack.api.sandbox(sandbox["id"])
    assert (record["state"], record["generation"], record["startedAt"]) == ("running", 1, sandbox["startedAt"])


def test_a_workload_that_ends_while_the_agent_is_dead_is_told_afterwards(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 6"])
    stack.api.exec(sandbox, ["sh", "-c", "(sleep 0.7; touch /tmp/go) > /dev/null 2>&1 &"]).check()
    stack.agent.kill()
    wait_until(lambda: only_the_guest_is_left(stack, sandbox), 10, "the workload's end")
    stack.agent.start()
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert failed["reason"] == "workload_exited" and failed["exit"]["code"] == 6, failed


def only_the_guest_is_left(stack, sandbox):
    return len(stack.engine.request("GET", f"/containers/gstacks-{sandbox['id']}/top")["Processes"]) == 1


def test_sessions_of_a_dead_agent_are_told_as_unavailable_and_their_programs_end(stack, processes_of):
    sandbox = stack.api.create_sandbox("busybox")
    with stack.api.open_exec(sandbox, ["sleep", "4004"]) as session:
        session.wait_opened()
        stack.agent.kill()
        assert session.finish().close_code == 4503
    stack.agent.start()
    stack.wait_connected()
    wait_until(lambda: "sleep 4004" not in processes_of(stack.api, sandbox, waitMs=10_000), 10, "the program ending")


def test_a_damaged_journal_does_not_stop_the_agent_or_its_sandboxes(stack):
    """The agent's database is replaced by garbage while it is down; nothing that runs is harmed."""
    sandbox = stack.api.create_sandbox("busybox")
    pid = container_of(stack, sandbox)["State"]["Pid"]
    stack.agent.stop()
    saved = {path: path.read_bytes() for path in stack.agent.state_dir.glob("agent.db*")}
    try:
        stack.agent.database().write_bytes(os.urandom(8192))
        for path in stack.agent.state_dir.glob("agent.db-*"):
            path.unlink()
        stack.agent.start()
        stack.wait_connected()
        assert stack.api.exec(sandbox, ["echo", "unharmed"], waitMs=10_000).check() == "unharmed\n"
        assert container_of(stack, sandbox)["State"]["Pid"] == pid
    finally:
        if not stack.agent.process.alive:
            for path, content in saved.items():
                path.write_bytes(content)
            stack.agent.start()


# The server


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_server_that_comes_back_finds_its_agents_and_sandboxes_unchanged(stack, how):
    sandbox = stack.api.create_sandbox("busybox", name="outlives-the-server")
    stopped = stack.api.create_sandbox("busybox")
    stack.api.stop_sandbox(stopped["id"])
    before = container_of(stack, sandbox)
    stack.server.restart(how)
    stack.wait_connected(timeout=20)
    assert stack.api.exec(sandbox, ["echo", "back"], waitMs=10_000).check() == "back\n"
    after = container_of(stack, sandbox)
    assert (after["Id"], after["State"]["Pid"]) == (before["Id"], before["State"]["Pid"])
    for sandbox_id, state, generation in ((sandbox["id"], "running", 1), (stopped["id"], "stopped", 2)):
        record = stack.api.wait_sandbox(sandbox_id, state)
        assert record["generation"] == generation
    assert_exactly(stack, sandbox, stopped)


def test_what_was_asked_of_a_server_that_died_at_once_is_done_by_the_next(stack):
    """The answer was given, so the intent is on disk, whether or not the host has heard of it."""
    stack.agent.process.pause()
    sandbox = stack.api.create_sandbox("busybox", wait=False)
    stack.server.kill()
    stack.agent.process.resume()
    stack.server.start()
    stack.wait_connected(timeout=20)
    stack.api.wait_sandbox(sandbox["id"], "running")
    assert_exactly(stack, sandbox)


def test_sessions_end_with_the_server_and_their_programs_too(stack, processes_of):
    sandbox = stack.api.create_sandbox("busybox")
    session = stack.api.open_exec(sandbox, ["sleep", "4005"])
    session.wait_opened()
    stack.server.kill()
    while session.receive() is not None:
        pass
    session.close()
    stack.server.start()
    stack.wait_connected(timeout=20)
    wait_until(lambda: "sleep 4005" not in processes_of(stack.api, sandbox, waitMs=10_000), 10, "the program ending")


def test_a_workload_that_ends_while_the_server_is_down_is_told_when_it_is_back(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 8"])
    stack.api.exec(sandbox, ["sh", "-c", "(sleep 0.7; touch /tmp/go) > /dev/null 2>&1 &"]).check()
    stack.server.kill()
    wait_until(lambda: not container_of(stack, sandbox)["State"]["Running"], 15, "the workload's end")
    stack.server.start()
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert failed["exit"]["code"] == 8


def test_everything_dies_at_once_and_comes_back(stack):
    sandboxes = [stack.api.create_sandbox("busybox") for _ in range(3)]
    pids = {s["id"]: container_of(stack, s)["State"]["Pid"] for s in sandboxes}
    stack.agent.kill()
    stack.server.kill()
    stack.server.start()
    stack.agent.start()
    stack.wait_connected()
    for sandbox in sandboxes:
        assert stack.api.exec(sandbox, ["echo", "back"], waitMs=10_000).check() == "back\n"
        assert container_of(stack, sandbox)["State"]["Pid"] == pids[sandbox["id"]]
    assert_exactly(stack, *sandboxes)


def test_a_stop_signal_ends_agent_and_server_with_code_zero_within_five_seconds(stack):
    sandbox = stack.api.create_sandbox("busybox")
    with stack.api.open_exec(sandbox, ["sleep", "1000"]) as session:
        session.wait_opened()
        for process in (stack.agent.process, stack.server.process):
            started = time.monotonic()
            assert process.stop(timeout=10) == 0
            assert time.monotonic() - started < 5, process.name
