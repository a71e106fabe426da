"""The control plane's database is gone, or came from a backup: nothing is deleted, and everything can be taken up again."""

import sqlite3

import pytest

from harness.docker_engine import PrivateDockerd
from harness.stack import Stack
from harness.waiting import hold, wait_until


@pytest.fixture
def stack(docker, busybox_archive):
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


def identity_of(stack, sandbox):
    seen = stack.engine.inspect(f"gstacks-{sandbox['id']}")
    return seen["Id"], seen["State"]["Pid"], seen["State"]["StartedAt"]


def back_up(stack):
    """A consistent copy while the server runs, as an operator makes it."""
    copy = stack.directory / "server.db.backup"
    with sqlite3.connect(stack.server.database()) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    return copy


def restore(stack, copy):
    stack.server.kill()
    for path in stack.server.data_dir.glob("server.db*"):
        path.unlink()
    stack.server.database().write_bytes(copy.read_bytes())
    stack.server.start()
    stack.wait_connected()


def adoptable(stack):
    return {item["id"]: item for item in stack.api.get(f"/api/hosts/{stack.agent.host_id}/adoptable")["items"]}


def test_after_a_restored_backup_nothing_is_undone_and_the_unknown_can_be_adopted(stack):
    kept, stopped, started, deleted = (stack.api.create_sandbox("busybox") for _ in range(4))
    stack.api.stop_sandbox(started["id"])
    ended = stack.api.create_sandbox("busybox", command=["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 6"])
    copy = back_up(stack)
    newer = [stack.api.create_sandbox("busybox", name=f"newer-{n}", command=["sh", "-c", "while :; do sleep 0.1; done"]) for n in range(2)]
    stack.api.stop_sandbox(stopped["id"])
    stack.api.start_sandbox(started["id"])
    stack.api.delete_sandbox(deleted["id"])
    # It ends by itself: no wish changes, and the agent was told that its word was heard.
    stack.api.exec(ended, ["touch", "/tmp/go"])
    stack.api.wait_sandbox(ended["id"], "failed")
    known = {s["id"]: stack.api.sandbox(s["id"]) for s in (kept, stopped, started, ended)}
    before = {s["id"]: identity_of(stack, s) for s in (kept, started, *newer)}

    restore(stack, copy)
    wait_until(lambda: set(adoptable(stack)) == {s["id"] for s in newer}, 20, "the host's unknown sandboxes being shown")
    # What is known and older here takes the host's word, and nothing is done to it.
    for sandbox_id, then in known.items():
        def same():
            now = stack.api.sandbox(sandbox_id)
            # Who asked for it was in the database that is lost.
            for each in (then, now):
                each.get("exit", {}).pop("by", None)
            changed = {member: (then.get(member), now.get(member)) for member in ("generation", "state", "desiredState", "reason", "exit")
                       if then.get(member) != now.get(member)}
            assert not changed, changed
            return True
        wait_until(same, 20, f"{then['name']} being as it was before the restoration")
    # It was deleted after the backup was made: it does not come back to life.
    lost = stack.api.wait_sandbox(deleted["id"], "failed")
    assert lost["reason"] == "container_lost"
    hold(2)
    assert {s["id"]: identity_of(stack, s) for s in (kept, started, *newer)} == before, "the same containers, the same processes"
    assert len(stack.agent.containers()) == 6
    actions = [line["action"] for line in stack.api.list_all("/api/audit")]
    assert actions.count("sandbox.recover") == 2

    cli = stack.cli()
    assert "newer-0" in cli.run("host", "adoptable", stack.agent.host_id)
    cli.run("host", "adopt", stack.agent.host_id, newer[0]["id"])
    taken = stack.api.create_sandbox("busybox", name="newer-1")
    refused = cli.try_run("host", "adopt", stack.agent.host_id, newer[1]["id"])
    assert refused.returncode == 5 and "--name" in refused.stderr
    cli.run("host", "adopt", stack.agent.host_id, newer[1]["id"], "--name", "newer-again")
    for sandbox, name in zip(newer, ("newer-0", "newer-again")):
        adopted = wait_until(lambda: (lambda s: s["observedGeneration"] == s["generation"] and s)(stack.api.sandbox(sandbox["id"])), 20)
        assert (adopted["state"], adopted["name"], adopted["generation"]) == ("running", name, 2)
        assert stack.api.exec(sandbox["id"], ["echo", "on"]).check() == "on\n"
    assert {s["id"]: identity_of(stack, s) for s in (kept, started, *newer)} == before
    assert adoptable(stack) == {}
    # From here on they are sandboxes like any other.
    for sandbox in (kept, stopped, started, ended, deleted, taken, *newer):
        stack.api.delete_sandbox(sandbox["id"])
    assert stack.agent.containers() == []


def test_an_empty_sandbox_table_deletes_nothing(stack, busybox_archive):
    sandboxes = [stack.api.create_sandbox("busybox") for _ in range(3)]
    before = {s["id"]: identity_of(stack, s) for s in sandboxes}
    stack.server.kill()
    with sqlite3.connect(stack.server.database()) as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM sandbox")
        db.execute("DELETE FROM blueprint")
    stack.server.start()
    stack.wait_connected()
    wait_until(lambda: set(adoptable(stack)) == set(before), 20)
    hold(2)
    assert {s["id"]: identity_of(stack, s) for s in sandboxes} == before
    first = sandboxes[0]["id"]
    path = f"/api/hosts/{stack.agent.host_id}/adoptable/{first}"
    missing = stack.api.problem("POST", path, 409, "failed_precondition")
    assert missing["reason"] == "blueprint_missing" and sandboxes[0]["blueprint"]["digest"] in missing["detail"]
    stack.import_blueprint(busybox_archive, "again")
    assert stack.api.post(path, expect=201)["blueprint"]["name"] == "again"
    stack.agent.restart()
    stack.wait_connected()
    wait_until(lambda: set(adoptable(stack)) == set(before) - {first}, 20, "the rest being told of anew")
    assert identity_of(stack, sandboxes[0]) == before[first]


def cordon(stack, agent, wish):
    host = stack.api.host(agent.host_id)
    stack.api.patch(f"/api/hosts/{agent.host_id}", {"cordoned": wish}, host["version"], expect=200)


def waiting_sandbox(stack, name):
    body = {"blueprint": "busybox", "name": name, "waitForHost": True, "command": ["sh", "-c", "echo run >> /tmp/runs; while :; do sleep 0.1; done"]}
    made = stack.api.post("/api/sandboxes", json=body, expect=201)
    assert made["state"] == "requested"
    return made


@pytest.fixture
def pair(docker, busybox_archive):
    """Two hosts with an engine each, and a server that gives those that are away two seconds after its start."""
    other = PrivateDockerd().start()
    try:
        with Stack(agents=1, engine=docker, server_args=["--await-hosts-seconds", "2"]) as stack:
            stack.add_agent(docker_socket=other.socket_path)
            stack.wait_connected()
            stack.import_blueprint(busybox_archive)
            yield stack
    finally:
        other.cleanup()


def settled(sandbox):
    """Its state, once its host has said it of the present generation."""
    return sandbox["state"] if sandbox["observedGeneration"] == sandbox["generation"] else ""


def claims(stack):
    return [line for line in stack.api.list_all("/api/audit") if line["action"] == "sandbox.claim"]


def test_one_that_waits_in_the_backup_goes_to_the_host_that_has_it(stack):
    cordon(stack, stack.agent, True)
    sandbox, other = (waiting_sandbox(stack, name) for name in ("waits", "waits-on"))
    copy = back_up(stack)
    cordon(stack, stack.agent, False)
    stack.api.wait_sandbox(sandbox["id"], "running")
    stack.api.wait_sandbox(other["id"], "running")
    stack.api.stop_sandbox(other["id"])
    before = {s["id"]: identity_of(stack, s) for s in (sandbox, other)}
    restore(stack, copy)
    # Nobody uncordons: only the host's own word can bring them there.
    wait_until(lambda: settled(stack.api.sandbox(sandbox["id"])) == "running", 20, "the one that runs")
    wait_until(lambda: settled(stack.api.sandbox(other["id"])) == "stopped", 20, "the one that was stopped")
    now, stopped = (stack.api.sandbox(s["id"]) for s in (sandbox, other))
    assert (now["hostId"], now["desiredState"]) == (stack.agent.host_id, "running")
    assert (stopped["hostId"], stopped["desiredState"]) == (stack.agent.host_id, "stopped"), "the wish that the backup has lost"
    assert stack.api.exec(now, ["cat", "/tmp/runs"]).check() == "run\n"
    assert {s["id"]: identity_of(stack, s) for s in (sandbox, other)} == before
    assert len(claims(stack)) == 2 and adoptable(stack) == {}
    kinds = [event["kind"] for event in stack.api.get(f"/api/sandboxes/{sandbox['id']}/events")["items"]]
    assert kinds[:2] == ["created", "recovered"] and "placed" not in kinds


def test_one_that_was_placed_anew_while_its_host_was_away_goes_back_and_nothing_is_deleted(pair):
    first, second = pair.agents
    for agent in pair.agents:
        cordon(pair, agent, True)
    sandbox = waiting_sandbox(pair, "twice")
    copy = back_up(pair)
    cordon(pair, first, False)
    pair.api.wait_sandbox(sandbox["id"], "running")
    first.stop()
    pair.server.kill()
    for path in pair.server.data_dir.glob("server.db*"):
        path.unlink()
    pair.server.database().write_bytes(copy.read_bytes())
    pair.server.start()
    pair.wait_connected(second)
    cordon(pair, second, False)
    fresh = pair.api.wait_sandbox(sandbox["id"], "running")
    assert fresh["hostId"] == second.host_id, "its host is gone for all that the server knows"
    pair.api.exec(fresh, ["touch", "/tmp/written-here"]).check()
    first.start()
    wait_until(lambda: pair.api.sandbox(sandbox["id"])["hostId"] == first.host_id, 20, "it being where it lived")
    wait_until(lambda: settled(pair.api.sandbox(sandbox["id"])) == "running", 20, "its host having found it again")
    assert pair.api.exec(sandbox["id"], ["cat", "/tmp/runs"]).check() == "run\n"
    def one_runs():
        states = [c["State"] for agent in pair.agents for c in agent.containers()]
        return sorted(states) == ["exited", "running"]
    wait_until(one_runs, 20, "the second one being stopped, and kept")
    held = wait_until(lambda: pair.api.get(f"/api/hosts/{second.host_id}/adoptable")["items"], 10)
    assert [each["id"] for each in held] == [sandbox["id"]]
    known = pair.api.problem("POST", f"/api/hosts/{second.host_id}/adoptable/{sandbox['id']}", 409, "already_exists")
    assert known["reason"] == "sandbox_known"
    # Over again it comes out the same.
    second.restart()
    pair.wait_connected(second)
    wait_until(lambda: pair.api.get(f"/api/hosts/{second.host_id}/adoptable")["items"], 10)
    assert pair.api.sandbox(sandbox["id"])["hostId"] == first.host_id and len(claims(pair)) == 1
    assert one_runs()
