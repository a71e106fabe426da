"""What happened to a sandbox can be read, in order and completely, also after it is gone and after the server was killed."""

import os
import threading

import pytest
import requests

from harness.contract import CheckedClient
from harness.event_stream import EventStream
from harness.puppet_host import PuppetHost
from harness.waiting import wait_until


def small(api, **members):
    return api.post("/api/sandboxes", {"blueprint": "base", "resources": {"memoryBytes": 16 << 20}, **members}, expect=201)


def story(api, sandbox_id):
    return [(event["kind"], event["state"]) for event in history(api, sandbox_id)]


def history(api, sandbox_id):
    return api.get(f"/api/sandboxes/{sandbox_id}/events", params={"limit": 200})["items"]


def test_a_killed_server_tells_of_the_loss_of_its_hosts_and_of_their_return(fresh_stack, fresh_api):
    host = PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]).connect()
    made = small(fresh_api)
    fresh_api.get(f"/api/sandboxes/{made['id']}", params={"waitFor": "running", "waitMs": 20000})
    before = history(fresh_api, made["id"])
    host.disconnect()
    fresh_stack.server.process.kill()
    fresh_stack.server.start()
    after = history(fresh_api, made["id"])
    assert after[:len(before)] == before, "what was told stays"
    assert [(event["kind"], event["state"], event["actor"]) for event in after[len(before):]] == [
        ("host_disconnected", "unknown", "system")], "whichever noticed it, the server before or the one after"
    host.connect()
    wait_until(lambda: story(fresh_api, made["id"])[-1] == ("host_connected", "running"))
    host.disconnect()
    host.agent.close()


def test_old_events_go_and_the_reader_is_told(fresh_stack, fresh_api):
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]):
        first = small(fresh_api)
        fresh_api.get(f"/api/sandboxes/{first['id']}", params={"waitFor": "running", "waitMs": 20000})
        fresh_api.delete_sandbox(first["id"])
        assert "prunedThrough" not in fresh_api.get(f"/api/sandboxes/{first['id']}/events")
        kept = small(fresh_api)
        fresh_api.get(f"/api/sandboxes/{kept['id']}", params={"waitFor": "running", "waitMs": 20000})
    fresh_stack.server.stop()
    fresh_stack.server.process.argv += ["--keep-events", "3"]
    fresh_stack.server.start()
    path = f"/api/sandboxes/{kept['id']}/events"
    page = wait_until(lambda: (page := fresh_api.get(path)).get("prunedThrough") and page)
    assert [event["kind"] for event in page["items"]] == ["created", "observed", "host_disconnected"]
    assert page["prunedThrough"] < page["items"][0]["sequence"]
    fresh_api.problem("GET", f"/api/sandboxes/{first['id']}/events", 404, "not_found")


# The stream


def sandbox_event(stream):
    event = stream.next()
    assert event["event"] == "sandbox", event
    return event["data"]


def test_a_stream_tells_what_happens_as_it_happens_and_ends_when_the_server_stops(fresh_stack, fresh_api):
    other = CheckedClient(fresh_stack.server.base_url, fresh_stack.server.create_tenant("second"))
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]):
        with EventStream(fresh_api) as stream, EventStream(other) as foreign:
            stream.begin(), foreign.begin()
            made = small(fresh_api)
            assert [sandbox_event(stream)["kind"] for _ in range(2)] == ["created", "observed"]
            fresh_api.post(f"/api/sandboxes/{made['id']}/stop", {"graceMs": 0}, expect=202)
            assert sandbox_event(stream)["kind"] == "stop_requested"
            assert sandbox_event(stream)["state"] == "stopped"
            fresh_stack.server.process.send(15)
            while (event := stream.next()) is not None:
                assert event["data"]["kind"] == "host_disconnected"
            assert stream.comments[-1] == "the server is stopping" and stream.retry_ms
            assert foreign.next() is None, "nothing of it is another tenant's"
            assert fresh_stack.server.stop() == 0


def test_a_stream_resumes_exactly_over_kills_of_the_server_and_under_writes(fresh_stack, fresh_api):
    """Readers that break off anywhere, and a server that is killed again and again, see each event once and in order."""
    seen, stop, failures = [], threading.Event(), []

    def write():
        while not stop.is_set():
            try:
                made = fresh_api.raw("POST", "/api/sandboxes", json={"blueprint": "base", "resources": {"memoryBytes": 16 << 20}})
                if made.status_code == 201:  # the host is away now and then: 409
                    fresh_api.raw("DELETE", f"/api/sandboxes/{made.json()['id']}")
            except requests.RequestException:
                continue  # the server is away
            except AssertionError as error:
                failures.append(error)

    def read():
        position = 0
        while not stop.is_set():
            try:
                with EventStream(fresh_api, last_event_id=position, timeout=5) as stream:
                    for _ in range(7):  # breaks off in the middle of what is there
                        event = stream.next()
                        if event is None:
                            break
                        assert event["event"] == "sandbox"
                        seen.append(event["id"])
                        position = event["id"]
            except (requests.RequestException, AttributeError, TypeError):
                continue  # the server is away

    host = PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]).connect()
    threads = [threading.Thread(target=target) for target in (write, write, read)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(seen)
        wait_until(lambda: len(seen) > before + 40, timeout=60)
        host.disconnect()
        fresh_stack.server.process.kill()
        fresh_stack.server.start()
        host.connect()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not failures
    with EventStream(fresh_api, after=0) as stream:
        stream.begin()
        everything = []
        while not everything or everything[-1] < seen[-1]:
            everything.append(stream.next()["id"])
    assert len(seen) > 120
    assert seen == [each for each in everything if each <= seen[-1]]
    host.disconnect()
    host.agent.close()


def test_a_position_that_is_no_longer_kept_gives_a_gap(fresh_stack, fresh_api):
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]):
        for _ in range(3):
            fresh_api.delete_sandbox(small(fresh_api)["id"])
    fresh_stack.server.stop()
    fresh_stack.server.process.argv += ["--keep-events", "3"]
    fresh_stack.server.start()
    last = small_history(fresh_api)
    with EventStream(fresh_api, after=1) as stream:
        gap = stream.next()
        assert gap["event"] == "gap" and gap["data"]["after"] == 1
        assert gap["data"]["through"] < last[0], "the first that is kept comes next"
        assert [sandbox_event(stream)["sequence"] for _ in range(3)] == last
    with EventStream(fresh_api, after=last[-1] + 1000) as stream:
        gap = stream.next()
        assert gap["event"] == "gap" and gap["data"] == {"after": last[-1] + 1000, "through": last[-1]}
        assert stream.position == last[-1], "of a newer database: it goes on from what this one has"


def small_history(api):
    """Waits until only three events are kept; their sequences."""
    def kept():
        with EventStream(api, after=0) as stream:
            first = stream.next()
            return first["event"] == "gap" and [stream.next()["id"] for _ in range(3)]
    return wait_until(kept)


def test_streams_are_bounded_and_one_whose_client_left_makes_room(fresh_stack, fresh_api):
    streams = [EventStream(fresh_api).begin() for _ in range(32)]
    fresh_api.problem("GET", "/api/events", 429, "resource_exhausted")
    for stream in streams:
        stream.close()
    # Far below the heartbeat's 15 s: the server looks, it does not wait until it has something to say.
    with wait_until(lambda: (stream := EventStream(fresh_api)).status == 200 and stream, timeout=8) as stream:
        stream.begin()


def test_a_stream_ends_soon_after_its_key_is_revoked(fresh_stack, fresh_api):
    made = fresh_api.post("/api/api-keys", {"name": "short-lived", "role": "viewer"}, expect=201)
    with EventStream(fresh_api.with_key(made["key"]), timeout=40) as stream:
        stream.begin()
        fresh_api.delete(f"/api/api-keys/{made['id']}", expect=204)
        assert stream.next() is None
        assert stream.comments[-1] == "the API key is no longer valid"


def test_a_stream_can_be_of_one_sandbox(fresh_stack, fresh_api):
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]):
        first, second = small(fresh_api), small(fresh_api)
        fresh_api.delete_sandbox(first["id"])
        with EventStream(fresh_api, after=0, sandboxId=second["id"]) as stream:
            stream.begin()
            assert [sandbox_event(stream)["sandboxId"] for _ in range(2)] == [second["id"]] * 2
        with EventStream(fresh_api, after=0, sandboxId=first["id"]) as stream:
            assert [sandbox_event(stream)["kind"] for _ in range(4)][-1] == "deleted"
    fresh_api.problem("GET", "/api/events", 404, "not_found", params={"sandboxId": "sbx_0123456789abcdefghjk"})
    fresh_api.problem("GET", "/api/events", 400, "invalid_argument", headers={"Last-Event-ID": "x"})


def test_a_wait_whose_client_left_ends(fresh_stack, fresh_api):
    """Seen in the server's descriptors: the connection of such a wait is given back."""
    descriptors = f"/proc/{fresh_stack.server.process.pid}/fd"
    with PuppetHost(fresh_stack.server, fresh_api.create_token()["token"]):
        made = small(fresh_api)
        fresh_api.get(f"/api/sandboxes/{made['id']}", params={"waitFor": "running", "waitMs": 20000})
        before = len(os.listdir(descriptors))
        sessions = [requests.Session() for _ in range(20)]
        for session in sessions:
            with pytest.raises(requests.Timeout):
                session.get(f"{fresh_api.base_url}/api/sandboxes/{made['id']}", params={"waitFor": "archived", "waitMs": 60000},
                            headers={"Authorization": f"Bearer {fresh_api.api_key}"}, timeout=0.1)
            session.close()
        wait_until(lambda: len(os.listdir(descriptors)) <= before, timeout=10)
