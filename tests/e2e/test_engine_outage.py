"""Days on which the Docker engine is stopped, killed or hangs: nothing is taken for dead, and all is well when it returns."""

import os
import signal

import pytest

from harness.docker_engine import PrivateDockerd
from harness.requirements import require_docker, require_root
from harness.stack import Stack
from harness.waiting import assert_stays, wait_until


@pytest.fixture(params=[False, True], ids=["live-restore off", "live-restore on"], scope="module")
def outage(request, busybox_archive):
    """A stack on an engine of its own, with sandboxes that idle, work, are stopped, and have ended by themselves."""
    require_root()
    require_docker()
    engine = PrivateDockerd(live_restore=request.param).start()
    try:
        with Stack(agents=1, engine=engine.engine) as stack:
            stack.dockerd, stack.live_restore = engine, request.param
            stack.import_blueprint(busybox_archive)
            stack.box = stack.api.create_sandbox("busybox", name="survivor")
            work = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
            stack.busy = stack.api.create_sandbox("busybox", name="worker", command=work)
            stack.ended = stack.api.create_sandbox("busybox", name="ended", wait=False, command=["sh", "-c", "exit 7"])
            stack.api.wait_sandbox(stack.ended["id"], "failed")
            stack.idle = stack.api.create_sandbox("busybox", name="sleeper")
            stack.api.stop_sandbox(stack.idle["id"])
            yield stack
    finally:
        engine.cleanup()


def wait_unhealthy(stack):
    return wait_until(lambda: (r := stack.runtime())["state"] == "unhealthy" and r, 15, "the runtime being unhealthy")


def wait_well(stack):
    wait_until(lambda: stack.runtime()["state"] == "healthy", 20, "the runtime being healthy")
    for sandbox in (stack.box, stack.busy):
        stack.api.wait_sandbox(sandbox["id"], "running")
    ended = stack.api.wait_sandbox(stack.ended["id"], "failed")
    assert (ended["reason"], ended["exit"]["code"]) == ("workload_exited", 7), "what ended by itself is not begun again"
    wait_until(lambda: stack.api.exec(stack.box, ["echo", "well"]).out == "well\n", 20, "exec working")


def never_dead(stack):
    alive = [stack.api.sandbox(sandbox["id"])["state"] for sandbox in (stack.box, stack.busy)]
    return all(state in ("running", "starting", "unknown") for state in alive) and (
        stack.api.sandbox(stack.idle["id"])["state"] in ("stopped", "unknown"))


def pid_of(stack):
    return stack.engine.inspect(f"gstacks-{stack.box['id']}")["State"]["Pid"]


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_engine_that_goes_away_makes_the_runtime_unhealthy_and_nothing_dead(outage, how):
    stack = outage
    stack.api.exec(stack.box, ["sh", "-c", f"echo {how} > /tmp/kept"]).check()
    pid = pid_of(stack)
    getattr(stack.dockerd, how)()

    runtime = wait_unhealthy(stack)
    assert runtime["schedulable"] is False and "docker" in runtime["reason"].lower()
    assert stack.host_state() == "connected" and "docker" not in stack.api.host(stack.agent.host_id)["traits"]
    problem = stack.api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "busybox"})
    assert runtime["reason"] in problem["errors"][0]["detail"] and problem["fix"]
    assert_stays(lambda: never_dead(stack), 2, "nothing being taken for dead")

    stack.dockerd.start()
    wait_well(stack)
    assert never_dead(stack)
    assert stack.api.exec(stack.box, ["cat", "/tmp/kept"]).check() == f"{how}\n"
    if stack.live_restore:
        assert pid_of(stack) == pid, "with live-restore nothing was interrupted"
    assert len(stack.engine.containers(gstacks_managed="1")) == 4


def test_a_wish_made_while_the_engine_is_away_is_carried_out_when_it_returns(outage):
    stack = outage
    extra = stack.api.create_sandbox("busybox", name="to-be-deleted")
    stack.dockerd.stop()
    wait_unhealthy(stack)
    stack.api.start_sandbox(stack.idle["id"], wait=False)
    stack.api.delete_sandbox(extra["id"], wait=False)
    assert stack.api.sandbox(extra["id"])["state"] == "deleting"
    stack.dockerd.start()
    wait_well(stack)
    stack.api.wait_sandbox(stack.idle["id"], "running")
    wait_until(lambda: stack.api.find_sandbox(extra["id"]) is None, 30, "the deletion")
    assert len(stack.engine.containers(gstacks_managed="1")) == 4
    stack.api.stop_sandbox(stack.idle["id"])


def test_an_agent_that_starts_while_the_engine_is_away_takes_nothing_for_dead(outage):
    stack = outage
    stack.agent.restart()  # so that only the record knows of the ends before
    stack.wait_connected()
    stack.agent.stop()
    stack.dockerd.stop()
    stack.agent.start()
    wait_unhealthy(stack)
    stack.wait_connected()
    assert_stays(lambda: never_dead(stack), 2, "nothing being taken for dead")
    stack.dockerd.start()
    wait_well(stack)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_an_agent_that_was_away_when_the_engine_was_restarted_blames_no_sandbox(outage, how):
    """Only the record says in which life of the engine the sandboxes were started."""
    stack = outage
    stack.agent.kill()
    getattr(stack.dockerd, how)()
    stack.dockerd.start()
    stack.agent.start()
    stack.wait_connected()
    wait_well(stack)


def test_a_sandbox_that_ends_by_itself_while_the_engine_hangs_and_the_agent_is_away_is_not_begun_again(outage):
    stack = outage
    lost = stack.api.create_sandbox("busybox", name="lost")
    container = f"gstacks-{lost['id']}"
    before = stack.engine.inspect(container)["State"]
    stack.agent.kill()
    stack.dockerd.pause()
    try:
        os.kill(before["Pid"], signal.SIGKILL)
        stack.agent.start()
        stack.wait_connected()
        wait_unhealthy(stack)
        assert stack.api.sandbox(lost["id"])["state"] in ("running", "unknown")
    finally:
        stack.dockerd.resume()
    failed = stack.api.wait_sandbox(lost["id"], "failed")
    assert failed["reason"] == "guest_lost"
    wait_well(stack)
    assert stack.engine.inspect(container)["State"]["StartedAt"] == before["StartedAt"]
    stack.api.delete_sandbox(lost["id"])


def test_an_engine_that_hangs_makes_the_runtime_unhealthy_and_exec_still_works(outage):
    """Exec goes through the guest, not through the engine."""
    stack = outage
    stack.dockerd.pause()
    try:
        runtime = wait_unhealthy(stack)
        assert "answer" in runtime["reason"]
        assert never_dead(stack)
        assert stack.api.exec(stack.box, ["echo", "still here"]).check() == "still here\n"
    finally:
        stack.dockerd.resume()
    wait_well(stack)


def test_a_condition_tells_that_live_restore_is_off(outage):
    codes = {condition["code"] for condition in outage.api.host(outage.agent.host_id)["conditions"]}
    assert ("docker_live_restore_off" in codes) == (not outage.live_restore)
