"""A disk was cloned with the agent's state on it: two agents dial in as one host."""

import shutil

from harness.stack import Agent, Stack
from harness.waiting import wait_until


def conditions(stack):
    return {condition["code"]: condition for condition in stack.api.host(stack.agent.host_id)["conditions"]}


def test_the_newer_link_wins_the_older_is_fenced_and_the_host_is_flagged(docker):
    with Stack(agents=1, engine=docker) as stack:
        stack.agent.stop()
        clone = Agent(stack.directory / "clone", stack.server.agent_url, docker_socket=stack.docker_socket, name="clone")
        shutil.copytree(stack.agent.state_dir, clone.state_dir)
        stack.agents.append(clone)
        stack.agent.start()
        stack.wait_connected(stack.agent)
        assert "duplicate_identity" not in conditions(stack)
        # Heard once on its new link: otherwise the clone's could as well be the same agent that lost an answer.
        wait_until(lambda: stack.agent.process.log_text().count("link_up") == 2, 15)
        before = stack.api.host(stack.agent.host_id)["lastSeenAt"]
        wait_until(lambda: stack.api.host(stack.agent.host_id)["lastSeenAt"] > before, 15, "a heartbeat")
        clone.start()
        wait_until(lambda: "4409" in stack.agent.process.log_text(), 15, "the older link being fenced")
        assert "duplicate_identity" not in conditions(stack), "a machine that was set back looks the same until here"
        # The fenced one comes back after half a minute or more, and the clone is fenced in turn.
        wait_until(lambda: "duplicate_identity" in conditions(stack), 120, "the host being flagged")
        condition = conditions(stack)["duplicate_identity"]
        assert "enroll" in condition["fix"] and condition["since"], condition
        assert "duplicate_identity" in stack.cli().run("host", "info", stack.agent.host_id)
        lines = [line for line in stack.api.list_all("/api/audit") if line["action"] == "host.duplicate_identity"]
        assert len(lines) == 1 and lines[0]["subject"] == stack.agent.host_id and lines[0]["actor"] == "system"
        # The flag is kept by the server's database.
        stack.server.restart()
        assert "duplicate_identity" in conditions(stack)


def test_one_agent_that_comes_and_goes_is_not_flagged(docker):
    with Stack(agents=1, engine=docker) as stack:
        for how in ("kill", "stop", "kill"):
            epoch = stack.agent.process.log_text().count("link_up")
            stack.agent.restart(how)
            wait_until(lambda: stack.agent.process.log_text().count("link_up") > epoch, 30)
        assert "duplicate_identity" not in conditions(stack)
