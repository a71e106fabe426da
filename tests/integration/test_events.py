"""What happened to a sandbox can be read, in order and completely, also after it is gone and after the server was killed."""

import pytest

from harness.archives import Image, layer
from harness.contract import CheckedClient
from harness.puppet_host import PuppetHost
from harness.stack import Stack
from harness.waiting import wait_until


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


def small(api, **members):
    return api.post("/api/sandboxes", {"blueprint": "base", "resources": {"memoryBytes": 16 << 20}, **members}, expect=201)


def story(api, sandbox_id):
    return [(event["kind"], event["state"]) for event in history(api, sandbox_id)]


def history(api, sandbox_id):
    return api.get(f"/api/sandboxes/{sandbox_id}/events", params={"limit": 200})["items"]


def test_a_killed_server_tells_of_the_loss_of_its_hosts_and_of_their_return(stack, api):
    host = PuppetHost(stack.server, api.create_token()["token"]).connect()
    made = small(api)
    api.get(f"/api/sandboxes/{made['id']}", params={"waitFor": "running", "waitMs": 20000})
    before = history(api, made["id"])
    host.disconnect()
    stack.server.process.kill()
    stack.server.start()
    after = history(api, made["id"])
    assert after[:len(before)] == before, "what was told stays"
    assert [(event["kind"], event["state"], event["actor"]) for event in after[len(before):]] == [
        ("host_disconnected", "unknown", "system")], "whichever noticed it, the server before or the one after"
    host.connect()
    wait_until(lambda: story(api, made["id"])[-1] == ("host_connected", "running"))
    host.disconnect()
    host.agent.close()


def test_old_events_go_and_the_reader_is_told(stack, api):
    with PuppetHost(stack.server, api.create_token()["token"]):
        first = small(api)
        api.get(f"/api/sandboxes/{first['id']}", params={"waitFor": "running", "waitMs": 20000})
        api.delete_sandbox(first["id"])
        assert "prunedThrough" not in api.get(f"/api/sandboxes/{first['id']}/events")
        kept = small(api)
        api.get(f"/api/sandboxes/{kept['id']}", params={"waitFor": "running", "waitMs": 20000})
    stack.server.stop()
    stack.server.process.argv += ["--keep-events", "3"]
    stack.server.start()
    path = f"/api/sandboxes/{kept['id']}/events"
    page = wait_until(lambda: (page := api.get(path)).get("prunedThrough") and page)
    assert [event["kind"] for event in page["items"]] == ["created", "observed", "host_disconnected"]
    assert page["prunedThrough"] < page["items"][0]["sequence"]
    api.problem("GET", f"/api/sandboxes/{first['id']}/events", 404, "not_found")
