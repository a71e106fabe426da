"""A sandbox is deleted when its time is over and stopped when nobody uses it, also over crashes of the server."""

import pytest

from harness.fake_time import FakeClock
from harness.stack import Stack
from harness.waiting import assert_stays, wait_until

# The server looks at its deadlines at least twice a minute; a clock that was moved is noticed then.
LOOK = 45


@pytest.fixture
def dated(docker, busybox_archive, tmp_path):
    """(stack, clock): a stack of its own whose server's wall clock the test moves."""
    clock = FakeClock(tmp_path)
    with Stack(agents=1, engine=docker, server_env=clock.env) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack, clock


def actors_of(stack, sandbox, action):
    return [entry["actor"] for entry in stack.api.list_all("/api/audit") if entry["subject"] == sandbox["id"] and entry["action"] == action]


def test_an_expired_sandbox_is_deleted_also_when_the_server_was_down_then(dated):
    stack, clock = dated
    brief = stack.api.create_sandbox("busybox", ttlSeconds=3600)
    longer = stack.api.create_sandbox("busybox", ttlSeconds=3600)
    stack.api.post(f"/api/sandboxes/{longer['id']}/lifetime", {"ttlSeconds": 7 * 86400}, expect=200)
    stack.server.kill()
    clock.set(hours=2)
    stack.server.start()
    wait_until(lambda: stack.api.find_sandbox(brief["id"]) is None, LOOK, "the deletion")
    assert not stack.engine.containers(gstacks_sandbox=brief["id"])
    assert actors_of(stack, brief, "sandbox.delete") == ["system (ttl)"]
    assert stack.api.sandbox(longer["id"])["desiredState"] == "running"


def test_an_idle_sandbox_is_stopped_and_one_with_a_session_is_not(dated):
    stack, clock = dated
    idle = stack.api.create_sandbox("busybox", idleStopSeconds=60)
    used = stack.api.create_sandbox("busybox", idleStopSeconds=60)
    with stack.api.open_exec(used, ["sleep", "1000"]) as session:
        session.wait_opened()
        clock.set(minutes=10)
        stopped = stack.api.wait_sandbox(idle["id"], "stopped", timeout=LOOK)
        assert (stopped["reason"], stopped["desiredState"]) == ("idle_stopped", "stopped")
        assert actors_of(stack, idle, "sandbox.stop") == ["system (idle)"]
        assert stack.api.sandbox(used["id"])["state"] == "running"
    again = stack.api.start_sandbox(idle["id"])
    assert again["state"] == "running" and "reason" not in again
    assert_stays(lambda: stack.api.sandbox(used["id"])["desiredState"] == "running", 2, "the sandbox that was used a moment ago")
    clock.set(minutes=20)
    for sandbox in (idle, used):
        assert stack.api.wait_sandbox(sandbox["id"], "stopped", timeout=LOOK)["reason"] == "idle_stopped"


def test_the_command_line_sets_a_lifetime_and_changes_it(stack):
    cli = stack.cli()
    cli.run("sandbox", "create", "--blueprint", "busybox", "--name", "dated", "--ttl", "8h", "--idle-stop", "30m")
    info = cli.run("sandbox", "info", "dated")
    assert "Expires" in info and "(in 7h" in info and "after 30m without a session" in info
    assert "expires" in cli.run("sandbox", "lifetime", "dated", "--ttl", "2d")
    assert "does not expire, is not stopped when idle" in cli.run("sandbox", "lifetime", "dated", "--ttl", "never", "--idle-stop", "never")
    refused = cli.try_run("sandbox", "create", "--blueprint", "busybox", "--ttl", "5s")
    assert refused.returncode != 0 and "60" in refused.stderr
    assert cli.try_run("sandbox", "lifetime", "dated").returncode == 2
