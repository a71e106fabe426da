"""Hosts that cannot be heard, are found again, have a wrong clock, or exist twice."""

import re
import shutil
import time

import pytest

from harness.fake_time import FakeClock
from harness.stack import Stack
from harness.waiting import assert_stays


def test_a_silent_host_is_lost_within_ten_seconds_and_found_again_without_harm(docker, busybox_archive):
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        sandbox = stack.api.create_sandbox("busybox")
        pid = stack.engine.inspect(f"gstacks-{sandbox['id']}")["State"]["Pid"]
        with stack.api.open_exec(sandbox, ["cat"]) as session:
            session.wait_opened()
            stack.agent.process.pause()
            paused = time.monotonic()
            stack.wait_disconnected(timeout=12)
            assert time.monotonic() - paused <= 10
            host = stack.api.host(stack.agent.host_id)
            assert host["disconnectReason"] == "heartbeat_lost" and host["lastSeenAt"]
            lost = stack.api.sandbox(sandbox["id"])
            assert (lost["state"], lost["reason"], lost["desiredState"]) == ("unknown", "host_disconnected", "running")
            assert session.finish().close_code == 4503
        assert stack.api.exec(sandbox, ["true"]).error["code"] in ("unavailable", "failed_precondition")
        problem = stack.api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "busybox"})
        assert "disconnected" in problem["errors"][0]["detail"]

        stack.agent.process.resume()
        stack.wait_connected(timeout=15)
        found = stack.api.wait_sandbox(sandbox["id"], "running")
        assert found["generation"] == 1 and found["startedAt"] == sandbox["startedAt"]
        assert stack.engine.inspect(f"gstacks-{sandbox['id']}")["State"]["Pid"] == pid
        assert stack.api.exec(sandbox, ["echo", "found"], waitMs=10_000).check() == "found\n"
        assert len(stack.agent.containers()) == 1


def test_an_agent_that_is_stopped_in_order_is_disconnected_at_once(docker):
    with Stack(agents=1, engine=docker) as stack:
        stack.agent.stop()
        stack.wait_disconnected(timeout=2)
        assert stack.api.host(stack.agent.host_id)["disconnectReason"] == "link_closed"


@pytest.mark.parametrize("hours", [1, -1])
def test_a_host_whose_clock_is_an_hour_off_works_and_is_told_about_it(docker, busybox_archive, tmp_path, hours):
    clock = FakeClock(tmp_path, hours=hours)
    with Stack(agents=1, engine=docker, agent_env=clock.env) as stack:
        stack.import_blueprint(busybox_archive)
        sandbox = stack.api.create_sandbox("busybox")
        assert stack.api.exec(sandbox, ["echo", "works"]).check() == "works\n"
        stack.api.stop_sandbox(sandbox["id"])
        stack.api.start_sandbox(sandbox["id"])
        stack.agent.restart()
        stack.wait_connected()
        assert stack.api.exec(sandbox, ["echo", "still"], waitMs=10_000).check() == "still\n"
        # The heartbeats of a wrong clock keep the host alive as well.
        assert_stays(lambda: stack.host_state() == "connected", 4)
        conditions = {condition["code"]: condition for condition in stack.api.host(stack.agent.host_id)["conditions"]}
        assert re.search(rf"(3599|360[0-2]) s {'ahead of' if hours > 0 else 'behind'}", conditions["clock_skew"]["message"]), conditions
        stack.api.delete_sandbox(sandbox["id"])


def test_a_servers_clock_that_jumps_an_hour_harms_nothing(docker, busybox_archive, tmp_path):
    clock = FakeClock(tmp_path)
    with Stack(agents=1, engine=docker, server_env=clock.env) as stack:
        stack.import_blueprint(busybox_archive)
        sandbox = stack.api.create_sandbox("busybox")
        for hours in (1, -1):
            clock.set(hours=hours)
            assert_stays(lambda: stack.host_state() == "connected", 1)
            assert stack.api.exec(sandbox, ["echo", "works"]).check() == "works\n"
            other = stack.api.create_sandbox("busybox")
            stack.api.delete_sandbox(other["id"])


def test_of_two_agents_with_one_identity_the_newer_wins_and_the_older_keeps_away(docker, busybox_archive):
    with Stack(agents=1, engine=docker) as stack:
        original = stack.agent
        copy = stack.new_agent()
        shutil.copytree(original.state_dir, copy.state_dir)
        copy.start()
        assert copy.host_id == original.host_id
        original.process.wait_for_log("4409", timeout=10)
        copy.process.wait_for_log("link_up", timeout=10)
        assert stack.host_state() == "connected"
        # The older one comes back after half a minute at the earliest, so that the two do not cut each other for ever.
        losses = copy.process.log_text().count("link_lost")
        assert_stays(lambda: copy.process.log_text().count("link_lost") == losses and stack.host_state() == "connected", 3)
        copy.stop()
        assert original.process.alive
