"""A sandbox from create to delete, and the ways in which it ends by itself."""

import time

import pytest

from harness.waiting import wait_until


def run_dirs(stack):
    directory = stack.agent.run_dir / "sandboxes"
    return {path.name for path in directory.iterdir()} if directory.exists() else set()


def no_trace(stack, sandbox):
    return not stack.engine.containers(gstacks_sandbox=sandbox["id"]) and sandbox["id"] not in run_dirs(stack)


def test_create_exec_stop_start_delete(stack, container_of):
    sandbox = stack.api.create_sandbox("busybox", name="whole-life", env={"COLOUR": "blue"})
    assert (sandbox["state"], sandbox["desiredState"], sandbox["generation"], sandbox["observedGeneration"]) == ("running", "running", 1, 1)
    assert "reason" not in sandbox and sandbox["startedAt"] and sandbox["hostId"] == stack.agent.host_id
    assert stack.api.exec(sandbox, ["sh", "-c", "echo kept > /tmp/file; echo $COLOUR; hostname"]).check() == "blue\nwhole-life\n"
    container = container_of(stack, sandbox)
    assert container["Name"] == f"/gstacks-{sandbox['id']}"

    stopped = stack.api.stop_sandbox(sandbox["id"])
    assert (stopped["desiredState"], stopped["reason"], stopped["generation"]) == ("stopped", "stopped_by_user", 2)
    assert not container_of(stack, sandbox)["State"]["Running"]

    running = stack.api.start_sandbox(sandbox["id"])
    assert running["generation"] == 3 and "exit" not in running and "reason" not in running
    assert running["startedAt"] > sandbox["startedAt"]
    assert container_of(stack, sandbox)["Id"] == container["Id"]
    assert stack.api.exec(sandbox, ["cat", "/tmp/file"]).check() == "kept\n", "a stop keeps the disk"

    stack.api.delete_sandbox(sandbox["id"])
    assert no_trace(stack, sandbox)
    stack.api.problem("GET", f"/api/sandboxes/{sandbox['id']}", 404, "not_found")
    stack.api.problem("POST", f"/api/sandboxes/{sandbox['id']}/start", 404, "not_found")


def test_repeats_change_nothing(stack):
    sandbox = stack.api.create_sandbox("busybox")
    assert stack.api.start_sandbox(sandbox["id"])["generation"] == 1
    stack.api.stop_sandbox(sandbox["id"])
    assert stack.api.stop_sandbox(sandbox["id"])["generation"] == 2
    assert stack.api.delete(f"/api/sandboxes/{sandbox['id']}", expect=202)["desiredState"] == "deleted"
    answer = stack.api.raw("DELETE", f"/api/sandboxes/{sandbox['id']}")
    assert answer.status_code in (202, 404)
    wait_until(lambda: stack.api.find_sandbox(sandbox["id"]) is None, 30)
    stack.api.problem("DELETE", f"/api/sandboxes/{sandbox['id']}", 404, "not_found")


def test_a_name_is_unique_while_its_sandbox_lives_and_free_afterwards(stack):
    first = stack.api.create_sandbox("busybox", name="only-one")
    stack.api.problem("POST", "/api/sandboxes", 409, "already_exists", json={"blueprint": "busybox", "name": "only-one"})
    assert stack.api.exec("only-one", ["hostname"]).check() == "only-one\n", "the name stands for the sandbox"
    stack.api.delete_sandbox(first["id"])
    second = stack.api.create_sandbox("busybox", name="only-one")
    assert second["id"] != first["id"]


def test_a_sandbox_can_be_created_by_name_id_and_digest_of_its_blueprint(stack):
    blueprint = next(b for b in stack.api.list_all("/api/blueprints") if b["name"] == "busybox")
    for reference in (blueprint["name"], blueprint["id"], blueprint["digest"]):
        sandbox = stack.api.create_sandbox(reference)
        assert sandbox["blueprint"] == {"id": blueprint["id"], "name": "busybox", "digest": blueprint["digest"]}


def test_ten_sandboxes_at_once_all_run_and_all_go(stack):
    sandboxes = [stack.api.create_sandbox("busybox", wait=False, resources={"memoryBytes": 64 << 20}) for _ in range(10)]
    for sandbox in sandboxes:
        stack.api.wait_sandbox(sandbox["id"], "running")
    assert stack.api.host(stack.agent.host_id)["sandboxCount"] >= 10
    for sandbox in sandboxes:
        assert stack.api.exec(sandbox, ["hostname"]).check().strip() == sandbox["name"]
    for sandbox in sandboxes:
        stack.api.delete_sandbox(sandbox["id"], wait=False)
    for sandbox in sandboxes:
        wait_until(lambda: stack.api.find_sandbox(sandbox["id"]) is None, 30)
        assert no_trace(stack, sandbox)


# Stopping


def test_a_stop_gives_the_workload_term_and_the_grace_that_was_asked_for(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "trap 'sleep 0.3; exit 9' TERM; while :; do sleep 0.05; done"])
    stack.api.exec(sandbox, ["true"])
    stopped = stack.api.stop_sandbox(sandbox["id"], grace_ms=10_000)
    assert stopped["reason"] == "stopped_by_user" and stopped["exit"]["code"] == 9


def test_a_workload_that_ignores_term_is_killed_after_the_grace(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    started = time.monotonic()
    stopped = stack.api.stop_sandbox(sandbox["id"], grace_ms=1000)
    assert 1 <= time.monotonic() - started < 6
    assert stopped["exit"]["signal"] == "KILL"


def test_a_stop_without_grace_kills_at_once(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    started = time.monotonic()
    stack.api.stop_sandbox(sandbox["id"], grace_ms=0)
    assert time.monotonic() - started < 3


def test_deleting_kills_without_waiting_for_the_workload(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    started = time.monotonic()
    stack.api.delete_sandbox(sandbox["id"])
    assert time.monotonic() - started < 5 and no_trace(stack, sandbox)


def test_sessions_of_a_stopped_sandbox_end_with_a_signal(stack):
    sandbox = stack.api.create_sandbox("busybox")
    with stack.api.open_exec(sandbox, ["sleep", "1000"]) as session:
        session.wait_opened()
        stack.api.stop_sandbox(sandbox["id"])
        assert session.finish().signal in ("TERM", "KILL")


# Workloads that end


@pytest.mark.parametrize("command, state, exit_members", [
    (["true"], "stopped", {"code": 0}),
    (["sh", "-c", "exit 3"], "failed", {"code": 3}),
    (["sh", "-c", "kill -SEGV $$"], "failed", {"signal": "SEGV"}),
    (["sh", "-c", "kill -KILL $$"], "failed", {"signal": "KILL"}),
    (["sh", "-c", "sleep 0.4; exit 255"], "failed", {"code": 255}),
], ids=["code 0", "code 3", "a fault", "killed", "after a while"])
def test_a_workload_that_ends_is_told_with_how_it_ended(stack, command, state, exit_members):
    sandbox = stack.api.create_sandbox("busybox", wait=False, command=command)
    ended = stack.api.get(f"/api/sandboxes/{sandbox['id']}", params={"waitFor": "stopped,failed", "waitMs": 20_000})
    assert (ended["state"], ended["reason"], ended["desiredState"]) == (state, "workload_exited", "running"), ended
    assert {key: ended["exit"].get(key) for key in exit_members} == exit_members, ended["exit"]
    assert ("code" in ended["exit"]) != ("signal" in ended["exit"])
    container = wait_until(lambda: [c for c in stack.engine.containers(gstacks_sandbox=sandbox["id"]) if c["State"] == "exited"], 10)
    assert len(container) == 1


def test_a_workload_that_ended_can_be_started_again(stack, processes_of):
    once = "test -e /tmp/second && exec sleep 1000; touch /tmp/second; exit 4"
    sandbox = stack.api.create_sandbox("busybox", wait=False, command=["sh", "-c", once])
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    again = stack.api.start_sandbox(failed["id"])
    assert again["generation"] == 2 and "exit" not in again
    assert "sleep 1000" in processes_of(stack.api, again)


@pytest.mark.parametrize("members, word", [
    (dict(command=["/no/such/program"]), "no such"),
    (dict(command=["/etc/passwd"]), "permission"),
    (dict(command=["true"], workingDir="/no/such/directory"), "directory"),
    (dict(command=["true"], user="nobody-knows-me"), "user"),
    (dict(command=["true"], user="1000:no-such-group"), "group"),
], ids=["no such program", "not executable", "no such directory", "no such user", "no such group"])
def test_a_workload_that_cannot_start_says_why(stack, members, word):
    sandbox = stack.api.create_sandbox("busybox", wait=False, **members)
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert failed["reason"] == "workload_start_failed", failed
    assert word in failed["message"].lower(), failed["message"]


def test_a_workload_without_a_known_program_can_be_deleted(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, command=["/no/such/program"])
    stack.api.wait_sandbox(sandbox["id"], "failed")
    stack.api.delete_sandbox(sandbox["id"])
    assert no_trace(stack, sandbox)


# Limits


def test_a_workload_over_its_memory_limit_is_oom_killed_and_said_so(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, command=["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"],
                                       resources={"memoryBytes": 32 << 20})
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert failed["reason"] == "oom_killed" and failed["exit"]["oomKilled"] is True, failed


def test_an_exec_over_the_memory_limit_dies_and_the_sandbox_lives(stack):
    sandbox = stack.api.create_sandbox("busybox", resources={"memoryBytes": 32 << 20})
    assert stack.api.exec(sandbox, ["dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"]).signal == "KILL"
    assert stack.api.exec(sandbox, ["echo", "alive"]).check() == "alive\n"
    assert stack.api.sandbox(sandbox["id"])["state"] == "running"


def test_a_fork_bomb_hits_the_pids_limit_and_the_sandbox_lives(stack):
    sandbox = stack.api.create_sandbox("busybox", resources={"pids": 32})
    result = stack.api.exec(sandbox, ["sh", "-c", "i=0; while [ $i -lt 100 ]; do sleep 2 & i=$((i+1)); done"])
    assert "fork" in result.err, result
    assert wait_until(lambda: stack.api.exec(sandbox, ["echo", "alive"]).out == "alive\n", 10)


def test_the_limits_of_a_sandbox_are_those_that_were_asked_for(stack, container_of):
    sandbox = stack.api.create_sandbox("busybox", resources={"cpuMillis": 500, "memoryBytes": 64 << 20, "pids": 40})
    limits = container_of(stack, sandbox)["HostConfig"]
    assert (limits["NanoCpus"], limits["Memory"], limits["MemorySwap"], limits["PidsLimit"]) == (500_000_000, 64 << 20, 64 << 20, 40)


# Being in a hurry


def test_a_sandbox_is_deleted_while_its_blueprint_is_still_on_the_way(stack, unique_image, tmp_path):
    archive = unique_image(tmp_path / "big.tar", "big", megabytes=192)
    blueprint = stack.import_blueprint(archive, "big-one")
    sandbox = stack.api.create_sandbox("big-one", wait=False)
    seen = stack.api.get(f"/api/sandboxes/{sandbox['id']}", params={"waitFor": "provisioning,starting,running", "waitMs": 20_000})
    assert seen["state"] == "provisioning", seen
    stack.api.delete_sandbox(sandbox["id"], timeout=20)
    assert no_trace(stack, sandbox)
    stack.api.delete(f"/api/blueprints/{blueprint['id']}", expect=204)


def test_a_sandbox_that_is_deleted_before_its_host_heard_of_it_leaves_nothing(stack):
    stack.agent.process.pause()
    try:
        sandbox = stack.api.create_sandbox("busybox", wait=False)
        assert stack.api.sandbox(sandbox["id"])["state"] == "placing"
        stack.api.delete_sandbox(sandbox["id"], wait=False)
    finally:
        stack.agent.process.resume()
    wait_until(lambda: stack.api.find_sandbox(sandbox["id"]) is None, 20)
    assert no_trace(stack, sandbox)


def test_start_and_stop_in_quick_turn_end_where_the_last_word_says(stack):
    sandbox = stack.api.create_sandbox("busybox")
    for _ in range(4):
        stack.api.stop_sandbox(sandbox["id"], grace_ms=0, wait=False)
        stack.api.start_sandbox(sandbox["id"], wait=False)

    def settled():
        now = stack.api.sandbox(sandbox["id"])
        return now["observedGeneration"] == now["generation"] and now["state"] == "running" and now

    assert wait_until(settled, 30)["generation"] == 9
    assert stack.api.exec(sandbox, ["echo", "up"]).check() == "up\n"


def test_a_sandbox_whose_container_somebody_removed_is_failed_and_starts_anew(stack, container_of):
    sandbox = stack.api.create_sandbox("busybox")
    stack.engine.remove(container_of(stack, sandbox)["Id"])
    lost = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert lost["reason"] == "container_lost"
    stack.api.start_sandbox(sandbox["id"])
    assert stack.api.exec(sandbox, ["echo", "anew"]).check() == "anew\n"


def test_the_runtime_sbx_is_refused_as_coming_soon(stack):
    problem = stack.api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "busybox", "runtime": "sbx"})
    assert "coming soon" in problem["detail"]
    sbx = stack.runtime("sbx")
    assert sbx["state"] == "coming_soon" and sbx["schedulable"] is False
