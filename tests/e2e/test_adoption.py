"""The agent's memory is gone, and its sandboxes are not: they are found by label, and taken as they are."""

import os
import shutil

import pytest

from harness.stack import Stack
from harness.waiting import hold, wait_until

COUNT = 20


@pytest.fixture
def host(docker, busybox_archive):
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


def container_of(stack, sandbox):
    return stack.engine.inspect(f"gstacks-{sandbox['id']}")


def identity_of(container):
    """What a restart, let alone a second container, would change."""
    return container["Id"], container["State"]["Pid"], container["State"]["StartedAt"]


def lose_journal(agent):
    for path in agent.state_dir.glob("agent.db*"):
        path.unlink()


def lose_state(agent):
    """All but the identity: without that it is another host."""
    for path in agent.state_dir.iterdir():
        if path.name != "identity":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def damage_journal(agent):
    lose_journal(agent)
    agent.database().write_bytes(os.urandom(8192))


def wait_all(stack, sandboxes, state="running"):
    for sandbox in sandboxes:
        stack.api.wait_sandbox(sandbox["id"], state)


@pytest.mark.parametrize("lose", [lose_journal, lose_state])
def test_twenty_running_sandboxes_are_adopted_and_not_restarted(host, lose):
    command = ["sh", "-c", "echo $$ > /tmp/pid; echo run >> /tmp/runs; while :; do sleep 0.2; done"]
    sandboxes = [host.api.create_sandbox("busybox", wait=False, **({"user": "65534", "workingDir": "/tmp"} if n % 2 else {}),
                                         **({"command": command} if n < COUNT // 2 else {})) for n in range(COUNT)]
    wait_all(host, sandboxes)
    before = {s["id"]: identity_of(container_of(host, s)) for s in sandboxes}
    records = {s["id"]: host.api.sandbox(s["id"]) for s in sandboxes}
    host.agent.kill()
    lose(host.agent)
    host.agent.start()
    host.wait_connected()
    for n, sandbox in enumerate(sandboxes):
        seen = host.api.exec(sandbox, ["sh", "-c", "id -u; pwd; cat /tmp/runs 2> /dev/null || true"], waitMs=20_000).check().split()
        assert seen[:2] == (["65534", "/tmp"] if n % 2 else ["0", "/"]), seen
        assert seen[2:] == (["run"] if n < COUNT // 2 else []), "the workload was started once"
    assert {s["id"]: identity_of(container_of(host, s)) for s in sandboxes} == before
    assert len(host.agent.containers()) == COUNT
    for sandbox in sandboxes:
        now, then = host.api.sandbox(sandbox["id"]), records[sandbox["id"]]
        for member in ("state", "generation", "observedGeneration", "startedAt"):
            assert now[member] == then[member], (member, now, then)
    # What happens from now on is heard, although the agent's own count of what it told has begun anew.
    host.api.stop_sandbox(sandboxes[0]["id"])
    host.api.start_sandbox(sandboxes[0]["id"])
    for sandbox in sandboxes:
        host.api.delete_sandbox(sandbox["id"])
    assert host.agent.containers() == []


def test_a_journal_of_garbage_is_set_aside_and_what_runs_is_adopted(host):
    sandbox = host.api.create_sandbox("busybox")
    before = identity_of(container_of(host, sandbox))
    host.agent.kill()
    damage_journal(host.agent)
    garbage = host.agent.database().read_bytes()
    host.agent.start()
    host.wait_connected()
    assert host.api.exec(sandbox, ["echo", "unharmed"], waitMs=10_000).check() == "unharmed\n"
    assert identity_of(container_of(host, sandbox)) == before
    aside = list(host.agent.state_dir.glob("agent.db.damaged-*"))
    assert [path.read_bytes() for path in aside] == [garbage], "what cannot be read is kept for a person to look at"


def test_a_workload_that_ended_while_the_agent_lost_its_memory_is_told_and_not_run_again(host):
    sandbox = host.api.create_sandbox(
        "busybox", command=["sh", "-c", "echo run >> /tmp/runs; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 6"])
    host.api.exec(sandbox, ["sh", "-c", "(sleep 0.7; touch /tmp/go) > /dev/null 2>&1 &"]).check()
    host.agent.kill()
    lose_journal(host.agent)
    # Long enough for the workload to be over; only the guest, which waits for the agent, could say so.
    hold(1.5)
    host.agent.start()
    failed = host.api.wait_sandbox(sandbox["id"], "failed")
    assert failed["reason"] == "workload_exited" and failed["exit"]["code"] == 6, failed
    hold(1)
    assert host.api.sandbox(sandbox["id"])["state"] == "failed"


def test_stopped_failed_and_deleted_ones_stay_what_they_were(host):
    stopped, failed, deleted = (host.api.create_sandbox("busybox") for _ in range(3))
    host.api.stop_sandbox(stopped["id"])
    # Its first process dies by a hand from outside.
    os.kill(container_of(host, failed)["State"]["Pid"], 9)
    before = host.api.wait_sandbox(failed["id"], "failed")
    host.agent.kill()
    lose_journal(host.agent)
    host.api.delete_sandbox(deleted["id"], wait=False)
    host.agent.start()
    host.wait_connected()
    wait_until(lambda: host.api.find_sandbox(deleted["id"]) is None, 20, "the deletion")
    hold(1)  # nothing may be started: only time shows that
    assert host.api.sandbox(stopped["id"])["state"] == "stopped"
    after = host.api.sandbox(failed["id"])
    assert (after["state"], after["reason"]) == ("failed", before["reason"])
    assert [c["State"] for c in host.agent.containers()] == ["exited", "exited"]
    host.api.start_sandbox(stopped["id"])
    host.api.start_sandbox(failed["id"])
    assert host.api.exec(stopped, ["echo", "up"]).check() == "up\n"
