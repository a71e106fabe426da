"""kill -9 of the server under concurrent creations: what was accepted is there, and nothing is there twice."""

import collections
import threading
import uuid

import pytest
import requests

from harness.api import ApiClient
from harness.archives import Image, layer
from harness.puppet_host import PuppetHost
from harness.stack import Stack
from harness.waiting import wait_until

CREATIONS = 50
MIB = 1 << 20


@pytest.fixture
def stack():
    with Stack(agents=0) as stack:
        stack.api.call("POST", "/api/blueprints", params={"name": "base"}, data=Image([layer({"marker": b"x"})]).oci(),
                       headers={"Content-Type": "application/x-tar"})
        yield stack


class Creation(threading.Thread):
    """One client that asks once, whatever comes of it."""

    def __init__(self, stack, number, answered):
        super().__init__(daemon=True)
        self.body = {"blueprint": "base", "env": {"NUMBER": str(number)}, "resources": {"memoryBytes": 16 * MIB, "cpuMillis": 100}}
        self.headers = {"Idempotency-Key": str(uuid.uuid4())}
        self.client = ApiClient(stack.server.base_url, stack.server.api_key, timeout=60)
        self.answered, self.accepted = answered, None

    def run(self):
        try:
            self.accepted = self.again(expect=201)["id"]
            self.answered.release()
        except requests.RequestException:
            pass  # the server was killed first

    def again(self, expect=201):
        return self.client.call("POST", "/api/sandboxes", json=self.body, headers=self.headers, expect=expect)


@pytest.mark.parametrize("kill_after", [0, 1, 15, 40])
def test_no_accepted_creation_is_lost_and_none_is_doubled(stack, kill_after):
    host = PuppetHost(stack.server, stack.api.create_token()["token"], "survivor").connect()
    answered = threading.Semaphore(0)
    creations = [Creation(stack, number, answered) for number in range(CREATIONS)]
    for creation in creations:
        creation.start()
    for _ in range(kill_after):
        assert answered.acquire(timeout=60)
    stack.server.kill()
    for creation in creations:
        creation.join(60)
    host.disconnect()
    accepted = {creation.accepted for creation in creations if creation.accepted}
    assert len(accepted) >= kill_after

    stack.server.start()
    kept = {sandbox["id"] for sandbox in stack.api.list_all("/api/sandboxes")}
    assert accepted <= kept, "an accepted creation is lost"
    host.connect()
    wait_until(lambda: stack.api.host(host.host_id)["state"] == "connected", 20, "the host being back")
    for sandbox_id, generation in dict(host.held).items():
        host.say(sandbox_id, generation, "RUNNING")  # as an agent does until it is acknowledged
    # Those who got no answer ask again with their key; those who got one may as well.
    answers = [creation.again()["id"] for creation in creations]
    for creation, answer in zip(creations, answers):
        assert creation.accepted in (None, answer)
    sandboxes = stack.api.list_all("/api/sandboxes")
    assert collections.Counter(int(sandbox["env"]["NUMBER"]) for sandbox in sandboxes) == dict.fromkeys(range(CREATIONS), 1)
    assert {sandbox["id"] for sandbox in sandboxes} == set(answers) and kept <= set(answers)
    for sandbox in sandboxes:
        stack.api.wait_sandbox(sandbox["id"], "running")
    assert set(host.held) == set(answers), "the host was told of each, and of nothing else"
    host.disconnect()
    host.agent.close()


def test_a_key_outlives_the_server_and_is_one_tenants(stack):
    with PuppetHost(stack.server, stack.api.create_token()["token"], "keyed"):
        creation = Creation(stack, 0, threading.Semaphore(0))
        first = creation.again()
        stack.server.restart("stop")
        assert creation.again()["id"] == first["id"]
        other = stack.client(stack.server.create_tenant("other"))
        other.problem("POST", "/api/sandboxes", 404, "not_found", json=creation.body, headers=creation.headers)
