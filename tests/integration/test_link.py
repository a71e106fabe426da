"""The control link and data channels: what the server does with agents that are silent, doubled, wrong or hostile."""

import os
import random
import time

import pytest
import websocket

from harness.agent_protocol import MAX_LINK_FRAME, FakeAgent, healthy_docker, make_facts, messages
from harness.waiting import assert_stays, wait_until


def state_of(stack, agent):
    return stack.api.host(agent.host_id)["state"]


def test_hello_makes_the_host_connected_with_the_facts_it_sent(control_plane, fake_agent):
    with fake_agent.link() as link:
        ack = link.hello(facts=make_facts(hostname="box", cpu_count=7, traits=["linux", "amd64", "my-trait"], runtimes=[healthy_docker()]))
        assert ack.epoch > 0 and 1000 <= ack.heartbeat_ms <= 5000 and ack.server_time.unix_ms > 0
        host = control_plane.api.host(fake_agent.host_id)
        assert host["state"] == "connected" and host["cpuCount"] == 7 and "my-trait" in host["traits"] and host["protocol"] == 1
        assert host["runtimes"][0] == {"name": "docker", "state": "healthy", "version": "20.10.24", "schedulable": True}
        link.heartbeat()
    wait_until(lambda: state_of(control_plane, fake_agent) == "disconnected", 5)
    assert control_plane.api.host(fake_agent.host_id)["cpuCount"] == 7, "a disconnected host keeps its last known facts"


def test_epochs_grow_from_link_to_link(control_plane, fake_agent):
    epochs = []
    for _ in range(3):
        with fake_agent.link() as link:
            epochs.append(link.hello().epoch)
    assert epochs == sorted(set(epochs))


def test_a_host_that_says_nothing_is_lost_within_ten_seconds_and_told_so(control_plane, fake_agent):
    """Two kinds of silence, watched at the same time: after the hello, and without one."""
    with FakeAgent.enroll(control_plane.server, control_plane.api.create_token()["token"]) as mute:
        with mute.link(timeout=15) as without_hello, fake_agent.link(timeout=15) as link:
            link.hello()
            started = time.monotonic()
            assert link.wait_closed()[0] == 4408
            assert 6 < time.monotonic() - started <= 10
            host = control_plane.api.host(fake_agent.host_id)
            assert host["state"] == "disconnected" and host["disconnectReason"] == "heartbeat_lost"
            assert without_hello.wait_closed()[0] == 4408
            assert time.monotonic() - started <= 13


def test_the_newer_of_two_links_wins_and_the_older_is_told(control_plane, fake_agent):
    with fake_agent.link(timeout=5) as old:
        old.hello()
        with fake_agent.link(timeout=5) as new:
            new.hello()
            assert old.wait_closed()[0] == 4409
            new.heartbeat()
            assert state_of(control_plane, fake_agent) == "connected"
            # The end of the old link must not take the host down with it.
            assert_stays(lambda: state_of(control_plane, fake_agent) == "connected", 0.5)
            new.heartbeat()


@pytest.mark.parametrize("protocol", [0, 2, 4_000_000_000])
def test_a_protocol_number_that_is_not_spoken_is_refused(fake_agent, protocol):
    with fake_agent.link(timeout=5) as link:
        link.send_hello(protocol=protocol)
        assert link.wait_closed()[0] == 4426


# Frames that nobody should send. Each ends the link with its documented code; the next test shows that the server lives.

GARBAGE = [
    ("no hello first", lambda link: link.send(epoch=0, heartbeat=messages().Heartbeat(sequence=1)), 4400),
    ("an empty first message", lambda link: link.send_bytes(b""), 4400),
    ("garbage first", lambda link: link.send_bytes(b"\xff" * 100), 1007),
    ("a truncated hello", lambda link: link.send_bytes(_hello_bytes()[:-5]), 1007),
    ("text", lambda link: link.send_text("hello"), 1003),
    ("an oversized first frame", lambda link: link.send_bytes(b"\0" * (MAX_LINK_FRAME + 1)), 1009),
]
LATER_GARBAGE = [
    ("a second hello", lambda link: link.send_hello(), 4400),
    ("garbage", lambda link: link.send_bytes(os.urandom(1000) + b"\xff\xff"), 1007),
    ("text", lambda link: link.send_text("hello"), 1003),
    ("an oversized frame", lambda link: link.send_bytes(b"\0" * (MAX_LINK_FRAME + 1)), 1009),
]


def _hello_bytes():
    m = messages()
    return m.AgentMessage(hello=m.Hello(protocol=1, facts=make_facts())).SerializeToString()


@pytest.mark.parametrize("send, code", [row[1:] for row in GARBAGE], ids=[row[0] for row in GARBAGE])
def test_before_the_hello_a_bad_frame_closes_the_link_with_its_code(control_plane, fake_agent, send, code):
    with fake_agent.link(timeout=5) as link:
        send(link)
        closed, reason = link.wait_closed()
        assert closed == code and (reason or code in (1003, 1009)), (closed, reason)
    assert state_of(control_plane, fake_agent) == "disconnected"
    with fake_agent.link() as link:
        link.hello()


@pytest.mark.parametrize("send, code", [row[1:] for row in LATER_GARBAGE], ids=[row[0] for row in LATER_GARBAGE])
def test_after_the_hello_a_bad_frame_closes_the_link_with_its_code(control_plane, fake_agent, send, code):
    with fake_agent.link(timeout=5) as link:
        link.hello()
        send(link)
        assert link.wait_closed()[0] == code
    wait_until(lambda: state_of(control_plane, fake_agent) == "disconnected", 5)
    with fake_agent.link() as link:
        link.hello()


def test_a_frame_of_the_greatest_size_is_taken(fake_agent):
    """One byte less is no attack: the inventory of a big host."""
    with fake_agent.link(timeout=5) as link:
        link.hello()
        m = messages()
        unknown_field = b"\xa2\x06"  # field 100, length-delimited: a newer agent's
        rest = MAX_LINK_FRAME - len(unknown_field) - 3
        head = unknown_field + bytes([rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14])
        link.send_bytes(head + b"x" * rest)
        link.heartbeat()


def test_a_message_of_a_newer_agent_is_ignored(fake_agent):
    with fake_agent.link(timeout=5) as link:
        link.hello()
        link.send_bytes(messages().AgentMessage(epoch=link.epoch).SerializeToString() + b"\x9a\x06\x03abc")  # unknown case 99
        link.heartbeat()


def test_messages_of_another_epoch_are_ignored(control_plane, fake_agent):
    with fake_agent.link(timeout=5) as link:
        link.hello()
        link.send(epoch=link.epoch + 1, facts_changed=make_facts(cpu_count=77))
        link.send(epoch=link.epoch - 1, facts_changed=make_facts(cpu_count=77))
        link.heartbeat()
        assert control_plane.api.host(fake_agent.host_id)["cpuCount"] != 77


def test_a_broken_websocket_frame_closes_the_connection(control_plane, fake_agent):
    with fake_agent.link(timeout=5) as link:
        link.hello()
        link.send_raw(b"\xff\xff" + b"\xff" * 20)  # reserved bits and opcode, a length beyond all bounds
        link.wait_closed()
    wait_until(lambda: state_of(control_plane, fake_agent) == "disconnected", 5)


def test_an_unmasked_frame_closes_the_connection(fake_agent):
    with fake_agent.link(timeout=5) as link:
        link.hello()
        link.send_raw(b"\x82\x03abc")
        assert link.wait_closed()[0] in (1002, None)


def test_an_agent_that_vanishes_in_the_middle_of_a_frame_is_disconnected(control_plane, fake_agent):
    link = fake_agent.link(timeout=5)
    link.hello()
    link.send_raw(b"\x82\xfe\x10\x00\0\0\0\0" + b"x" * 100)  # 4,096 bytes announced
    link.drop()
    wait_until(lambda: state_of(control_plane, fake_agent) == "disconnected", 5)


def test_facts_beyond_their_limits_do_not_get_in(fake_agent):
    with fake_agent.link(timeout=5) as link:
        link.send_hello(facts=make_facts(traits=[f"trait-{i}" for i in range(1000)]))
        assert link.wait_closed()[0] == 1007


def test_a_host_cannot_speak_for_another_hosts_sandbox_or_one_that_does_not_exist(control_plane, fake_agent):
    """Acknowledged, so that the agent does not send it for ever, and without effect."""
    m = messages()
    with fake_agent.link(timeout=5) as link:
        link.hello()
        link.send(observation=m.Observation(sandbox_id="sbx_" + "0" * 20, generation=1, sequence=1, state=3))
        assert link.receive_until("observation_ack").sequence == 1
        link.send(blob_credential_request=m.BlobCredentialRequest(request_id=5, manifest_digest="sha256:" + "0" * 64))
        reply = link.receive_until("blob_credential_reply")
        assert (reply.request_id, reply.error.code, reply.credential) == (5, "not_found", "")
        link.heartbeat()


# Data channels


@pytest.mark.parametrize("ticket", ["", "unknown-ticket", "x" * 5000])
def test_a_ticket_that_was_not_given_opens_no_channel(fake_agent, ticket):
    with fake_agent.link(timeout=5) as link:
        link.hello()
        with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
            fake_agent.channel(ticket)
        assert refusal.value.status_code == 401
        link.heartbeat()


@pytest.fixture
def session_host(control_plane, busybox_archive):
    """A fake host with a sandbox on it that it calls running: sessions to it ask the test for channels."""
    agent = FakeAgent.enroll(control_plane.server, control_plane.api.create_token()["token"])
    blueprints = {b["name"]: b for b in control_plane.api.list_all("/api/blueprints")}
    if "busybox" not in blueprints:
        control_plane.api.create_blueprint("busybox", busybox_archive)
    link = agent.link()
    link.hello(facts=make_facts(runtimes=[healthy_docker()]))
    sandbox = control_plane.api.create_sandbox("busybox", wait=False, hostId=agent.host_id)
    assignment = link.receive_until("assignment")
    m = messages()
    link.send(assignment_ack=m.AssignmentAck(sandbox_id=sandbox["id"], generation=assignment.generation))
    link.send(observation=m.Observation(sandbox_id=sandbox["id"], generation=assignment.generation, sequence=1, state=3))
    control_plane.api.wait_sandbox(sandbox["id"], "running")
    tickets = []

    def ticket():
        while not tickets:
            tickets.extend(link.receive_until("open_channels").tickets)
        return tickets.pop()

    agent.ticket, agent.control, agent.sandbox = ticket, link, sandbox
    yield agent
    link.close()
    agent.close()
    control_plane.api.delete(f"/api/hosts/{agent.host_id}?force=true", expect=204)
    control_plane.api.delete(f"/api/sandboxes/{sandbox['id']}", expect=202)


def test_a_ticket_is_good_once(session_host):
    ticket = session_host.ticket()
    with session_host.channel(ticket):
        with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
            session_host.channel(ticket)
        assert refusal.value.status_code == 401


def test_a_ticket_is_good_for_its_host_only(session_host, fake_agent):
    with fake_agent.link() as link:
        link.hello()
        with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
            fake_agent.channel(session_host.ticket())
        assert refusal.value.status_code == 401


def test_a_ticket_dies_with_the_link_that_gave_it(session_host):
    ticket = session_host.ticket()
    session_host.control.close()
    with session_host.link() as link:
        link.hello()
        with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
            session_host.channel(ticket)
        assert refusal.value.status_code == 401


def open_session(control_plane, host):
    """A session that has arrived at the host: (client's session, the host's channel)."""
    session = control_plane.api.open_exec(host.sandbox, ["true"], timeout=15)
    channel = host.channel(host.ticket())
    # The first one parked may have been a spare of an earlier test; the server takes the youngest.
    opened = messages().SessionOpen()
    opened.ParseFromString(channel.receive_bytes())
    assert opened.sandbox_id == host.sandbox["id"] and list(opened.exec.argv) == ["true"]
    return session, channel


@pytest.mark.parametrize("data", [b"\x55hello", b"", b"\x01stdin from the wrong side", b"\x11" + b"x" * 70_000],
                         ids=["unknown type", "empty", "the client's type", "oversized"])
def test_a_hosts_bad_session_frame_ends_that_session_and_nothing_else(control_plane, session_host, data):
    session, channel = open_session(control_plane, session_host)
    with channel:
        channel.send_bytes(data)
        channel.wait_closed()
    while session.receive() is not None:
        pass
    assert session.close_code is not None and session.close_code != 1000, "the client must not take this for a normal end"
    session.close()
    session_host.control.heartbeat()
    session, channel = open_session(control_plane, session_host)
    with channel:
        channel.send_bytes(b"\x10" + b'{"sessionId":"ses_00000000000000000000"}')
        channel.send_bytes(b"\x13" + b'{"code":0}')
        assert session.finish().code == 0
    session.close()


def test_a_host_that_drops_the_channel_is_told_to_the_client_as_unavailable(control_plane, session_host):
    session, channel = open_session(control_plane, session_host)
    channel.drop()
    result = session.finish()
    assert result.error["code"] == "unavailable" and result.close_code == 4503
    session.close()


# Many at once: memory is bounded and the server still serves


def test_a_storm_of_bad_connections_leaves_the_server_small_and_serving(control_plane, fake_agent):
    server = control_plane.server.process

    def storm(count):
        for i in range(count):
            kind = i % 4
            if kind == 0:
                link = fake_agent.link(timeout=5)
                link.send_bytes(random.Random(i).randbytes(MAX_LINK_FRAME + 1))
                link.drop()
            elif kind == 1:
                link = fake_agent.link(timeout=5)
                link.hello()
                for _ in range(20):
                    link.send(observation=messages().Observation(sandbox_id="sbx_" + "z" * 20, sequence=1, state=3, message="m" * 1000))
                link.drop()
            elif kind == 2:
                # An announced 2^62 bytes, of which a little comes.
                link = fake_agent.link(timeout=5)
                try:
                    link.send_raw(b"\x82\xff\x3f" + b"\xff" * 7 + b"\0\0\0\0" + b"x" * 60_000)
                except OSError:
                    pass  # closed in the middle of it
                link.drop()
            else:
                link = fake_agent.link(timeout=5)
                link.send_hello(facts=make_facts(cpu_model="x" * 200_000))
                link.drop()

    storm(40)
    settled, files = server.rss_bytes(), server.open_files()
    storm(160)
    grown = server.rss_bytes() - settled
    assert grown < 32 << 20, f"{grown >> 20} MiB more after 160 bad links"
    wait_until(lambda: server.open_files() <= files + 5, 15, "the server closing what it had open")
    assert control_plane.api.get("/api/health")["status"]
    with fake_agent.link() as link:
        link.hello()
        link.heartbeat()
