"""Destroying many sandboxes at once waits for a second, separate confirmation, and the limit is the host's own."""

import pytest

from harness.processes import run_tool
from harness.stack import Stack
from harness.waiting import hold, wait_until

COUNT = 6
# Half of six go, the other half waits. Small, so that a test need not start dozens of containers.
LIMITS = "deletionFence: {percent: 50, atLeast: 3, windowSeconds: 600}\n"


@pytest.fixture
def stack(docker, busybox_archive):
    with Stack(agents=1, engine=docker, agent_config=LIMITS) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


def held_condition(stack):
    return next((c for c in stack.api.host(stack.agent.host_id)["conditions"] if c["code"] == "deletions_held"), None)


def deletions(stack, *words):
    agent = stack.agent
    return run_tool([agent.binary, "deletions", *words, "--config", agent.config_file, "--state-dir", agent.state_dir, "--run-dir", agent.run_dir],
                    check=False)


def running(stack):
    return {c["Labels"]["gstacks.sandbox"]: c["Id"] for c in stack.agent.containers() if c["State"] == "running"}


def delete_all(stack):
    """Creates six, wishes all of them gone; returns what is held: {id: container}."""
    sandboxes = [stack.api.create_sandbox("busybox", wait=False) for _ in range(COUNT)]
    for sandbox in sandboxes:
        stack.api.wait_sandbox(sandbox["id"], "running")
    # Those that came within the window do not count; a new agent does not know how long they have been here.
    stack.agent.restart("stop")
    stack.wait_connected()
    for sandbox in sandboxes:
        stack.api.delete_sandbox(sandbox["id"], wait=False)
    wait_until(lambda: len(running(stack)) == COUNT // 2 and held_condition(stack), 30, "half of them being gone, the rest held")
    for sandbox_id in running(stack):
        wait_until(lambda: stack.api.sandbox(sandbox_id).get("reason") == "deletion_held", 10)
        assert stack.api.sandbox(sandbox_id)["state"] == "deleting"
    return running(stack)


def fence_of(stack):
    return held_condition(stack)["message"].split()[-1]


def wait_all_gone(stack):
    wait_until(lambda: stack.agent.containers() == [] and stack.api.list_all("/api/sandboxes") == [], 30, "the held ones being gone")
    wait_until(lambda: held_condition(stack) is None, 15, "the condition being gone")


def test_the_surplus_is_held_over_restarts_until_an_admin_confirms_exactly_it(stack):
    held = delete_all(stack)
    stack.agent.restart()
    stack.wait_connected()
    stack.server.restart()
    stack.wait_connected()
    hold(2)  # nothing may be removed: only time shows that
    assert running(stack) == held, "neither restart is a confirmation"
    fence = fence_of(stack)
    path = f"/api/hosts/{stack.agent.host_id}/deletion-confirmations"
    assert stack.api.problem("POST", path, 409, json={"fence": "0" * 32})["reason"] == "fence_changed"
    member = stack.api.with_key(stack.api.post("/api/api-keys", {"name": "member", "role": "member"})["key"])
    member.problem("POST", path, 403, "permission_denied", json={"fence": fence})
    assert running(stack) == held
    assert "deletion_held" in stack.cli().try_run("sandbox", "delete", next(iter(held)), "--wait").stderr + stack.cli().run("sandbox", "info", next(iter(held)))
    assert "3 deletions go on" in stack.cli().run("host", "confirm-deletions", stack.agent.host_id, "--fence", fence)
    wait_all_gone(stack)
    assert [line["detail"] for line in stack.api.list_all("/api/audit") if line["action"] == "host.confirm_deletions"][0].endswith(fence)


def test_root_confirms_on_the_host_which_may_insist_on_it(stack):
    stack.agent.config_file.write_text(LIMITS.replace("}", ", remoteConfirmation: false}"))
    stack.agent.restart("stop")
    stack.wait_connected()
    held = delete_all(stack)
    fence = fence_of(stack)
    refused = stack.api.problem("POST", f"/api/hosts/{stack.agent.host_id}/deletion-confirmations", 403, "permission_denied", json={"fence": fence})
    assert refused["reason"] == "confirm_on_host"
    listed = deletions(stack, "list")
    assert listed.returncode == 0 and fence in listed.stdout and all(sandbox in listed.stdout for sandbox in held)
    wrong = deletions(stack, "confirm", "--fence", "0" * 32)
    assert wrong.returncode == 1 and "deletions list" in wrong.stderr
    assert running(stack) == held
    confirmed = deletions(stack, "confirm", "--fence", fence)
    assert confirmed.returncode == 0, confirmed.stderr
    wait_all_gone(stack)
    assert "no deletions are held" in deletions(stack, "list").stdout


@pytest.mark.parametrize("point", ["assign.before:6", "assign.after:6", "confirm_deletions.before", "confirm_deletions.after"])
def test_a_crash_at_any_step_neither_loses_nor_makes_a_confirmation(stack, point):
    sandboxes = [stack.api.create_sandbox("busybox", wait=False) for _ in range(COUNT)]
    for sandbox in sandboxes:
        stack.api.wait_sandbox(sandbox["id"], "running")
    stack.agent.stop()
    stack.agent.start_with_crash_point(point)
    stack.wait_connected()
    for sandbox in sandboxes:
        stack.api.delete_sandbox(sandbox["id"], wait=False)
    if point.startswith("confirm"):
        wait_until(lambda: len(running(stack)) == COUNT // 2 and held_condition(stack), 30)
        with pytest.raises(AssertionError):  # the host dies before it answers
            stack.api.post(f"/api/hosts/{stack.agent.host_id}/deletion-confirmations", {"fence": fence_of(stack)}, timeout=30)
    assert stack.agent.process.wait_exit(30) == -9
    stack.agent.start()
    stack.wait_connected()
    if point != "confirm_deletions.after":
        # An agent that comes back has a new window: a wish that was not on disk counts in that one.
        wait_until(lambda: held_condition(stack) or len(running(stack)) < COUNT // 2, 20)
        hold(1)
        if held_condition(stack):
            assert len(running(stack)) in (COUNT // 2, COUNT // 2 - 1)
            stack.cli().run("host", "confirm-deletions", stack.agent.host_id, "--fence", fence_of(stack))
    wait_all_gone(stack)


def test_sandboxes_that_came_a_moment_ago_can_all_go(stack):
    sandboxes = [stack.api.create_sandbox("busybox", wait=False) for _ in range(COUNT)]
    for sandbox in sandboxes:
        stack.api.wait_sandbox(sandbox["id"], "running")
    for sandbox in sandboxes:
        stack.api.delete_sandbox(sandbox["id"])
    assert held_condition(stack) is None


def reason_of(stack, sandbox_id):
    return stack.api.sandbox(sandbox_id).get("reason")


@pytest.mark.parametrize("where", ["api", "crash.after"])
def test_what_is_rejected_goes_on_until_it_is_wished_anew(stack, where):
    if where.startswith("crash"):
        sandboxes = [stack.api.create_sandbox("busybox", wait=False) for _ in range(COUNT)]
        for sandbox in sandboxes:
            stack.api.wait_sandbox(sandbox["id"], "running")
        stack.agent.stop()
        stack.agent.start_with_crash_point(where.replace("crash", "reject_deletions"))
        stack.wait_connected()
        for sandbox in sandboxes:
            stack.api.delete_sandbox(sandbox["id"], wait=False)
        wait_until(lambda: len(running(stack)) == COUNT // 2 and held_condition(stack), 30)
        held = running(stack)
    else:
        held = delete_all(stack)
    fence = fence_of(stack)
    path = f"/api/hosts/{stack.agent.host_id}/deletion-rejections"
    if where == "api":
        assert stack.api.problem("POST", path, 409, json={"fence": "0" * 32})["reason"] == "fence_changed"
        assert "3 deletions are refused" in stack.cli().run("host", "reject-deletions", stack.agent.host_id, "--fence", fence)
        assert stack.api.post(path, {"fence": fence}, expect=200)["rejected"] == 3, "a repeat"
        assert any(line["action"] == "host.reject_deletions" for line in stack.api.list_all("/api/audit"))
    else:
        assert deletions(stack, "reject", "--fence", fence).returncode == 0
    if where.startswith("crash"):
        # It dies when the answer is on disk, and before it did anything about it.
        assert stack.agent.process.wait_exit(30) == -9
        stack.agent.start()
        stack.wait_connected()
    for sandbox_id in held:
        wait_until(lambda: reason_of(stack, sandbox_id) == "deletion_rejected", 15, "the refusal being told")
    wait_until(lambda: held_condition(stack) is None, 15, "nobody being asked any more")
    stack.agent.restart()
    stack.wait_connected()
    assert deletions(stack, "list").stdout.count("rejected") == 3
    assert running(stack) == held
    first, second, third = held
    # One is taken back, one is wished again, one stays as it is.
    stack.api.post(f"/api/sandboxes/{first}/start", expect=202)
    wait_until(lambda: (lambda s: (s["state"], s["observedGeneration"]) == ("running", s["generation"]))(stack.api.sandbox(first)), 20)
    assert stack.api.exec(first, ["echo", "here"]).check() == "here\n"
    assert running(stack) == held, "the same containers"
    stack.api.delete_sandbox(second)
    assert set(running(stack)) == {first, third} and reason_of(stack, third) == "deletion_rejected"
    stack.api.delete_sandbox(first)
    assert set(running(stack)) == {third}
