"""A sandbox that may wait is recorded when no host fits, says why it waits, and gets a host as soon as one fits."""

import threading

from harness.puppet_host import PuppetHost
from harness.waiting import hold, wait_until


def create(api, headers=None, **members):
    body = {"blueprint": "base", "waitForHost": True, **members}
    return api.call("POST", "/api/sandboxes", json=body, headers=headers or {}, expect=201)


def running(api, sandbox):
    return api.get(f"/api/sandboxes/{sandbox['id']}", params={"waitFor": "running", "waitMs": 15000})


def test_waits_says_why_and_is_placed_when_a_host_comes(fresh_stack, fresh_api):
    made = create(fresh_api, name="patient")
    assert (made["state"], made["reason"], "hostId" in made) == ("requested", "no_host_fits", False)
    fresh_api.problem("POST", "/api/sandboxes", 409, "already_exists", json={"blueprint": "base", "name": "patient", "waitForHost": True})
    fresh_api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "base"})
    shown = fresh_api.get(f"/api/sandboxes/{made['id']}")
    assert shown["placement"]["hosts"] == [] and "enroll" in shown["placement"]["fix"]
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]) as host:
        assert running(fresh_api, made)["hostId"] == host.host_id
        assert [event["kind"] for event in fresh_api.get(f"/api/sandboxes/{made['id']}/events")["items"]] == ["created", "placed", "observed"]
        assert "placement" not in fresh_api.get(f"/api/sandboxes/{made['id']}")


def test_is_placed_for_each_thing_that_can_make_room(fresh_stack, fresh_api):
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"], memory_bytes=1 << 30) as host:
        large = create(fresh_api, resources={"memoryBytes": 1 << 30})
        assert running(fresh_api, large)["state"] == "running"
        second = create(fresh_api, resources={"memoryBytes": 1 << 30})
        why = fresh_api.get(f"/api/sandboxes/{second['id']}")["placement"]["hosts"]
        assert [(each["hostId"], each["reason"]) for each in why] == [(host.host_id, "no_memory")]
        fresh_api.delete_sandbox(large["id"])
        assert running(fresh_api, second)["hostId"] == host.host_id, "a sandbox went"
        fresh_api.delete_sandbox(second["id"])
        version = fresh_api.host(host.host_id)["version"]
        version = fresh_api.patch(f"/api/hosts/{host.host_id}", {"cordoned": True}, version, expect=200)["version"]
        third = create(fresh_api)
        assert third["state"] == "requested"
        fresh_api.patch(f"/api/hosts/{host.host_id}", {"cordoned": False}, version, expect=200)
        assert running(fresh_api, third)["state"] == "running", "an operator uncordoned"
        fourth = create(fresh_api, requiredTags={"zone": "a"})
        fresh_api.patch(f"/api/hosts/{host.host_id}", {"tags": {"zone": "a"}}, fresh_api.host(host.host_id)["version"], expect=200)
        assert running(fresh_api, fourth)["state"] == "running", "a tag came"


def test_the_oldest_comes_first_and_one_that_is_too_large_holds_up_nobody(fresh_stack, fresh_api):
    giant = create(fresh_api, resources={"memoryBytes": 64 << 30})
    waiting = [create(fresh_api, resources={"memoryBytes": 600 << 20}) for _ in range(3)]
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"], memory_bytes=1280 << 20):
        for sandbox in waiting[:2]:
            assert running(fresh_api, sandbox)["state"] == "running"
        # Time is the only proof that nothing more is placed.
        hold(1)
        assert fresh_api.sandbox(waiting[2]["id"])["state"] == "requested" == fresh_api.sandbox(giant["id"])["state"]


def test_can_be_stopped_started_and_deleted_while_it_waits(fresh_stack, fresh_api):
    made = create(fresh_api)
    path = f"/api/sandboxes/{made['id']}"
    assert fresh_api.post(f"{path}/start", expect=202)["generation"] == 1
    assert fresh_api.post(f"{path}/stop", expect=202)["state"] == "stopped"
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]):
        hold(1)  # a stopped one is not placed, which only time shows
        assert fresh_api.get(path)["state"] == "stopped"
        assert fresh_api.post(f"{path}/start", expect=202)["state"] == "requested"
        assert running(fresh_api, made)["state"] == "running"
    other = create(fresh_api)
    fresh_api.delete(f"/api/sandboxes/{other['id']}", expect=202)
    fresh_api.problem("GET", f"/api/sandboxes/{other['id']}", 404, "not_found")


def test_nothing_is_lost_or_doubled_when_the_server_is_killed(fresh_stack, fresh_api):
    """While many wait, while they are placed, and while clients repeat with their keys."""
    made = [create(fresh_api, headers={"Idempotency-Key": f"k-{n}"}, resources={"memoryBytes": 16 << 20}) for n in range(20)]
    fresh_stack.server.restart("kill")
    again = [create(fresh_api, headers={"Idempotency-Key": f"k-{n}"}, resources={"memoryBytes": 16 << 20}) for n in range(20)]
    assert [each["id"] for each in again] == [each["id"] for each in made]
    host = PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]).connect()
    wait_until(lambda: len(fresh_api.list_all("/api/sandboxes", state="requested")) < 20)
    host.disconnect()
    fresh_stack.server.restart("kill")
    host.connect()
    wait_until(lambda: len(fresh_api.list_all("/api/sandboxes", state="running")) == 20, timeout=30)
    assert {each["id"] for each in fresh_api.list_all("/api/sandboxes")} == {each["id"] for each in made}
    assert set(host.held) == {each["id"] for each in made}
    for each in made:
        kinds = [event["kind"] for event in fresh_api.get(f"/api/sandboxes/{each['id']}/events")["items"]]
        assert kinds.count("created") == 1 == kinds.count("placed")
    host.disconnect()
    host.agent.close()


def test_racing_creations_and_a_host_that_comes_share_its_room_out_once(fresh_stack, fresh_api):
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"], memory_bytes=1 << 30) as host:
        made, threads = [], []
        for _ in range(4):
            threads.append(threading.Thread(target=lambda: made.extend(
                create(fresh_api, resources={"memoryBytes": 256 << 20}) for _ in range(3))))
            threads[-1].start()
        for thread in threads:
            thread.join(30)
        wait_until(lambda: len(fresh_api.list_all("/api/sandboxes", state="running")) == 4)
        assert len(made) == 12 and len(fresh_api.list_all("/api/sandboxes", state="requested")) == 8
        first = fresh_api.list_all("/api/sandboxes", state="running")[0]
        fresh_api.delete_sandbox(first["id"])
        wait_until(lambda: len(fresh_api.list_all("/api/sandboxes", state="requested")) == 7)
        assert sum(each["resources"]["memoryBytes"] for each in fresh_api.list_all("/api/sandboxes", hostId=host.host_id)) <= 1 << 30
