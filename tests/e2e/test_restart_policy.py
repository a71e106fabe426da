"""What ends by itself is started again by its policy: as often as it says, with waits, and over crashes of the agent."""

from harness.waiting import assert_stays, wait_until

ON_THIRD_RUN = "echo run >> /tmp/runs; [ $(wc -l < /tmp/runs) -ge 3 ] && exec sleep 100000; exit 3"


def state_of(stack, sandbox):
    return stack.api.sandbox(sandbox["id"])


def test_a_workload_that_fails_is_started_again_until_it_runs(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, restart={"mode": "on_failure"}, command=["sh", "-c", ON_THIRD_RUN])
    assert sandbox["restart"] == {"mode": "on_failure"} and sandbox["restarts"] == 0
    waits = []

    def runs_for_the_third_time():
        now = state_of(stack, sandbox)
        assert now["state"] not in ("failed", "stopped"), now
        if now.get("reason") == "restart_backoff":
            assert now["state"] == "starting" and now["exit"]["code"] == 3
            waits.append(now["message"])
        return now["state"] == "running" and now["restarts"] == 2

    wait_until(runs_for_the_third_time, 30, "the third run")
    assert waits and "exit code 3" in waits[0]
    now = state_of(stack, sandbox)
    assert now["generation"] == 1 and "exit" not in now and "reason" not in now
    assert stack.api.exec(sandbox, ["cat", "/tmp/runs"]).check().count("run") == 3


def test_the_end_after_the_last_restart_is_final(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, restart={"mode": "always", "maxRestarts": 1}, command=["sh", "-c", "exit 0"])
    ended = stack.api.wait_sandbox(sandbox["id"], "stopped")
    assert (ended["reason"], ended["restarts"], ended["exit"]["code"]) == ("workload_exited", 1, 0)
    assert_stays(lambda: state_of(stack, sandbox)["state"] == "stopped", 2, "the sandbox being over")
    again = stack.api.start_sandbox(sandbox["id"], wait=False)
    assert again["generation"] == 2

    def ended_again():
        now = state_of(stack, sandbox)
        return now if now["state"] == "stopped" and now["observedGeneration"] == 2 else None
    assert wait_until(ended_again, 30)["restarts"] == 1, "a new generation counts anew"


def test_a_good_end_is_no_failure(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, restart={"mode": "on_failure"}, command=["true"])
    ended = stack.api.wait_sandbox(sandbox["id"], "stopped")
    assert (ended["reason"], ended["restarts"]) == ("workload_exited", 0)


def test_a_program_that_does_not_exist_is_not_started_for_ever(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, restart={"mode": "always"}, command=["/no/such/program"])
    ended = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert (ended["reason"], ended["restarts"]) == ("workload_start_failed", 0)


def test_a_stop_ends_the_wait(stack):
    def waiting(sandbox):
        now = state_of(stack, sandbox)
        return now if now.get("reason") == "restart_backoff" and now["restarts"] >= 3 else None

    # A wait is drawn anew each time and can be too short to be met: what had been started again by then is another case.
    for _ in range(5):
        sandbox = stack.api.create_sandbox("busybox", wait=False, restart={"mode": "always"}, command=["sh", "-c", "exit 5"])
        met = wait_until(lambda sandbox=sandbox: waiting(sandbox), 60, interval=0.02)
        stopped = stack.api.stop_sandbox(sandbox["id"])
        assert stopped["state"] == "stopped"
        if stopped["exit"]["at"] == met["exit"]["at"]:
            break
    assert (stopped["exit"]["at"], stopped["exit"]["code"]) == (met["exit"]["at"], 5)
    assert_stays(lambda: state_of(stack, sandbox)["state"] == "stopped", 2, "the sandbox being stopped")


def test_one_that_is_killed_from_outside_is_started_again_although_nothing_runs_in_it(stack, container_of):
    sandbox = stack.api.create_sandbox("busybox", restart={"mode": "on_failure"})
    first = container_of(stack, sandbox)
    stack.engine.kill(first["Id"])
    wait_until(lambda: (lambda now: now["state"] == "running" and now["restarts"] == 1)(state_of(stack, sandbox)), 30)
    now = container_of(stack, sandbox)
    assert now["Id"] == first["Id"] and now["State"]["StartedAt"] != first["State"]["StartedAt"]


def test_a_crash_of_the_agent_during_the_wait_neither_loses_nor_doubles_a_restart(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, restart={"mode": "on_failure"}, command=["sh", "-c", ON_THIRD_RUN])
    wait_until(lambda: state_of(stack, sandbox).get("reason") == "restart_backoff", 30, "the wait", interval=0.01)
    stack.agent.restart("kill")
    wait_until(lambda: (lambda now: now["state"] == "running" and now["restarts"] == 2)(state_of(stack, sandbox)), 30)
    assert stack.api.exec(sandbox, ["cat", "/tmp/runs"], waitMs=10_000).check().count("run") == 3


def test_the_command_line_asks_for_a_policy_and_shows_it(stack):
    cli = stack.cli()
    cli.run("sandbox", "create", "--blueprint", "busybox", "--name", "restarted", "--restart", "on-failure:4")
    assert "on failure, 0 of 4 done" in cli.run("sandbox", "info", "restarted")
    for wrong in ("sometimes", "on-failure:x", "never:3"):
        refused = cli.try_run("sandbox", "create", "--blueprint", "busybox", "--restart", wrong)
        assert refused.returncode == 2 and "--restart" in refused.stderr
