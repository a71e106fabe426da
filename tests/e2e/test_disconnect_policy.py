"""A host that cannot reach the control plane stops what was asked to be stopped then, and nothing else."""

import sqlite3
import time

import pytest

from harness.stack import Stack
from harness.waiting import hold, wait_until

AFTER = 12
LOUD_END = ["sh", "-c", "trap 'exit 0' TERM; echo run >> /tmp/runs; while :; do sleep 0.05; done"]


@pytest.fixture
def cut(docker, busybox_archive):
    """A stack of its own, whose server the test stops."""
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


def running(stack, sandbox):
    return stack.engine.inspect(f"gstacks-{sandbox['id']}")["State"]["Running"]


def remembered_outage(agent):
    """Milliseconds that the agent had been cut off when it wrote that down; -1: it had a link."""
    with sqlite3.connect(f"file:{agent.database()}?mode=ro", uri=True) as database:
        return int(database.execute("SELECT value FROM agent_state WHERE key = 'link_outage'").fetchone()[0].split()[-1])


def test_it_is_stopped_when_the_server_is_gone_for_so_long_and_started_when_it_is_back(cut):
    kept = cut.api.create_sandbox("busybox")
    stopped = cut.api.create_sandbox("busybox", command=LOUD_END, onDisconnect={"stopAfterSeconds": AFTER})
    unwanted = cut.api.create_sandbox("busybox", onDisconnect={"stopAfterSeconds": AFTER})
    assert stopped["onDisconnect"] == {"stopAfterSeconds": AFTER} and "onDisconnect" not in kept
    pid = cut.engine.inspect(f"gstacks-{kept['id']}")["State"]["Pid"]
    wait_until(lambda: remembered_outage(cut.agent) == -1, 30, "a link that counts")
    cut.server.kill()
    gone = time.monotonic()
    wait_until(lambda: remembered_outage(cut.agent) >= 0, 30, "the outage being noticed")
    # A restart of the agent late in the outage is no new beginning of it, which would add as long to the time below, and
    # no end of it. Nothing but time tells how late it is.
    hold(gone + 8 - time.monotonic())
    cut.agent.restart("kill")
    assert running(cut, stopped)
    wait_until(lambda: not running(cut, stopped) and not running(cut, unwanted), 30, "the stop")
    took = time.monotonic() - gone
    assert AFTER - 1 <= took <= AFTER + 6, f"it was stopped after {took:.1f} s"
    cut.agent.restart("kill")
    cut.server.start()
    cut.api.stop_sandbox(unwanted["id"], wait=False)
    cut.wait_connected()
    wait_until(lambda: cut.api.sandbox(stopped["id"])["state"] == "running", 30, "its start")
    now = cut.api.sandbox(stopped["id"])
    assert (now["generation"], now["restarts"]) == (1, 0) and "exit" not in now
    assert cut.api.exec(stopped, ["cat", "/tmp/runs"], waitMs=10_000).check().count("run") == 2
    assert cut.engine.inspect(f"gstacks-{kept['id']}")["State"]["Pid"] == pid
    ended = cut.api.wait_sandbox(unwanted["id"], "stopped")
    assert not running(cut, unwanted) and ended["desiredState"] == "stopped"
    reasons = [event.get("reason") for event in cut.api.list_all(f"/api/sandboxes/{stopped['id']}/events")]
    assert "host_disconnected_stop" in reasons


def test_the_command_line_asks_for_it_and_shows_it(stack):
    cli = stack.cli()
    cli.run("sandbox", "create", "--blueprint", "busybox", "--name", "supervised", "--stop-after-disconnect", "10m")
    assert "stopped after 10m without the server" in cli.run("sandbox", "info", "supervised")
