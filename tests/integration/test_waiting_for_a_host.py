"""A sandbox that may wait is recorded when no host fits, says why it waits, and gets a host as soon as one fits."""

import threading

import pytest

from harness.archives import Image, layer
from harness.contract import CheckedClient
from harness.puppet_host import PuppetHost
from harness.stack import Stack
from harness.waiting import hold, wait_until


@pytest.fixture
def stack():
    with Stack(agents=0) as stack:
        yield stack


@pytest.fixture
def api(stack):
    api = CheckedClient(stack.server.base_url, stack.server.api_key)
    api.call("POST", "/api/blueprints", params={"name": "base"}, data=Image([layer({"a": b"b"})]).oci(), expect=201,
             headers={"Content-Type": "application/x-tar"})
    return api


def create(api, headers=None, **members):
    body = {"blueprint": "base", "waitForHost": True, **members}
    return api.call("POST", "/api/sandboxes", json=body, headers=headers or {}, expect=201)


def running(api, sandbox):
    return api.get(f"/api/sandboxes/{sandbox['id']}", params={"waitFor": "running", "waitMs": 15000})


def test_waits_says_why_and_is_placed_when_a_host_comes(stack, api):
    made = create(api, name="patient")
    assert (made["state"], made["reason"], "hostId" in made) == ("requested", "no_host_fits", False)
    api.problem("POST", "/api/sandboxes", 409, "already_exists", json={"blueprint": "base", "name": "patient", "waitForHost": True})
    api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "base"})
    shown = api.get(f"/api/sandboxes/{made['id']}")
    assert shown["placement"]["hosts"] == [] and "enroll" in shown["placement"]["fix"]
    with PuppetHost(stack.server, api.create_token()["token"]) as host:
        assert running(api, made)["hostId"] == host.host_id
        assert [event["kind"] for event in api.get(f"/api/sandboxes/{made['id']}/events")["items"]] == ["created", "placed", "observed"]
        assert "placement" not in api.get(f"/api/sandboxes/{made['id']}")


def test_is_placed_for_each_thing_that_can_make_room(stack, api):
    with PuppetHost(stack.server, api.create_token()["token"], memory_bytes=1 << 30) as host:
        large = create(api, resources={"memoryBytes": 1 << 30})
        assert running(api, large)["state"] == "running"
        second = create(api, resources={"memoryBytes": 1 << 30})
        why = api.get(f"/api/sandboxes/{second['id']}")["placement"]["hosts"]
        assert [(each["hostId"], each["reason"]) for each in why] == [(host.host_id, "no_memory")]
        api.delete_sandbox(large["id"])
        assert running(api, second)["hostId"] == host.host_id, "a sandbox went"
        api.delete_sandbox(second["id"])
        version = api.host(host.host_id)["version"]
        version = api.patch(f"/api/hosts/{host.host_id}", {"cordoned": True}, version, expect=200)["version"]
        third = create(api)
        assert third["state"] == "requested"
        api.patch(f"/api/hosts/{host.host_id}", {"cordoned": False}, version, expect=200)
        assert running(api, third)["state"] == "running", "an operator uncordoned"
        fourth = create(api, requiredTags={"zone": "a"})
        api.patch(f"/api/hosts/{host.host_id}", {"tags": {"zone": "a"}}, api.host(host.host_id)["version"], expect=200)
        assert running(api, fourth)["state"] == "running", "a tag came"


def test_the_oldest_comes_first_and_one_that_is_too_large_holds_up_nobody(stack, api):
    giant = create(api, resources={"memoryBytes": 64 << 30})
    waiting = [create(api, resources={"memoryBytes": 600 << 20}) for _ in range(3)]
    with PuppetHost(stack.server, api.create_token()["token"], memory_bytes=1280 << 20):
        for sandbox in waiting[:2]:
            assert running(api, sandbox)["state"] == "running"
        # Time is the only proof that nothing more is placed.
        hold(1)
        assert api.sandbox(waiting[2]["id"])["state"] == "requested" == api.sandbox(giant["id"])["state"]


def test_can_be_stopped_started_and_deleted_while_it_waits(stack, api):
    made = create(api)
    path = f"/api/sandboxes/{made['id']}"
    assert api.post(f"{path}/start", expect=202)["generation"] == 1
    assert api.post(f"{path}/stop", expect=202)["state"] == "stopped"
    with PuppetHost(stack.server, api.create_token()["token"]):
        hold(1)  # a stopped one is not placed, which only time shows
        assert api.get(path)["state"] == "stopped"
        assert api.post(f"{path}/start", expect=202)["state"] == "requested"
        assert running(api, made)["state"] == "running"
    other = create(api)
    api.delete(f"/api/sandboxes/{other['id']}", expect=202)
    api.problem("GET", f"/api/sandboxes/{other['id']}", 404, "not_found")


def test_nothing_is_lost_or_doubled_when_the_server_is_killed(stack, api):
    """While many wait, while they are placed, and while clients repeat with their keys."""
    made = [create(api, headers={"Idempotency-Key": f"k-{n}"}, resources={"memoryBytes": 16 << 20}) for n in range(20)]
    stack.server.restart("kill")
    again = [create(api, headers={"Idempotency-Key": f"k-{n}"}, resources={"memoryBytes": 16 << 20}) for n in range(20)]
    assert [each["id"] for each in again] == [each["id"] for each in made]
    host = PuppetHost(stack.server, api.create_token()["token"]).connect()
    wait_until(lambda: len(api.list_all("/api/sandboxes", state="requested")) < 20)
    host.disconnect()
    stack.server.restart("kill")
    host.connect()
    wait_until(lambda: len(api.list_all("/api/sandboxes", state="running")) == 20, timeout=30)
    assert {each["id"] for each in api.list_all("/api/sandboxes")} == {each["id"] for each in made}
    assert set(host.held) == {each["id"] for each in made}
    for each in made:
        kinds = [event["kind"] for event in api.get(f"/api/sandboxes/{each['id']}/events")["items"]]
        assert kinds.count("created") == 1 == kinds.count("placed")
    host.disconnect()
    host.agent.close()


def test_racing_creations_and_a_host_that_comes_share_its_room_out_once(stack, api):
    with PuppetHost(stack.server, api.create_token()["token"], memory_bytes=1 << 30) as host:
        made, threads = [], []
        for _ in range(4):
            threads.append(threading.Thread(target=lambda: made.extend(
                create(api, resources={"memoryBytes": 256 << 20}) for _ in range(3))))
            threads[-1].start()
        for thread in threads:
            thread.join(30)
        wait_until(lambda: len(api.list_all("/api/sandboxes", state="running")) == 4)
        assert len(made) == 12 and len(api.list_all("/api/sandboxes", state="requested")) == 8
        first = api.list_all("/api/sandboxes", state="running")[0]
        api.delete_sandbox(first["id"])
        wait_until(lambda: len(api.list_all("/api/sandboxes", state="requested")) == 7)
        assert sum(each["resources"]["memoryBytes"] for each in api.list_all("/api/sandboxes", hostId=host.host_id)) <= 1 << 30
