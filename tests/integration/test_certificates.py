"""Client certificates over their life: renewal in time, renewal after expiry, revocation."""

import time

import pytest
import websocket
from cryptography import x509

from harness.agent_protocol import FakeAgent, make_csr, make_key, messages
from harness.fake_time import FakeClock
from harness.stack import Stack
from harness.waiting import assert_stays, wait_until

LIFETIME = 9  # seconds, for tests that watch a renewal happen


def serial_of(agent):
    """Of the certificate that a real agent has on disk."""
    pem = (agent.state_dir / "identity" / "credential.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE-----"):]).serial_number


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """A control plane whose clock can be set, with the usual lifetime of 24 h."""
    clock = FakeClock(tmp_path_factory.mktemp("clock"))
    with Stack(agents=0, server_env=clock.env) as stack:
        stack.clock = clock
        yield stack


@pytest.fixture
def timed_agent(timed):
    timed.clock.set()
    agent = FakeAgent.enroll(timed.server, timed.api.create_token()["token"])
    yield agent
    timed.clock.set()
    agent.close()


def link_status(agent):
    """101 when the link is made; else the HTTP status or the close code that refuses it."""
    try:
        link = agent.link()
    except websocket.WebSocketBadStatusException as refusal:
        return refusal.status_code
    with link:
        link.send_hello()
        message = link.receive()
        return 101 if message is not None else link.close_code


def test_a_renewed_certificate_and_the_one_before_both_work_until_they_expire(timed, timed_agent):
    before = FakeAgent(timed.server, timed_agent.host_id, None, timed_agent.key, timed_agent.certificate_pem)
    status, _ = timed_agent.renew()
    assert status == 200
    assert timed_agent.certificate.serial_number != before.certificate.serial_number
    assert link_status(timed_agent) == 101 and link_status(before) == 101
    before.close()


def test_an_expired_certificate_can_do_nothing_but_renew(timed, timed_agent):
    timed.clock.set(hours=25)
    assert link_status(timed_agent) == 401
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        timed_agent.channel("a-ticket")
    assert refusal.value.status_code == 401
    connection = timed_agent.door.connect(timed_agent.credential)
    connection.request("GET", "/agent/v1/blobs/sha256:" + "0" * 64)
    assert connection.getresponse().status == 401
    status, _ = timed_agent.renew()
    assert status == 200 and link_status(timed_agent) == 101


def test_renewal_is_possible_until_30_days_after_expiry_and_not_later(timed, timed_agent):
    timed.clock.set(days=30, hours=23)
    old = FakeAgent(timed.server, timed_agent.host_id, None, timed_agent.key, timed_agent.certificate_pem)
    assert timed_agent.renew()[0] == 200
    timed.clock.set(days=31, hours=1)
    status, answer = old.renew()
    assert (status, answer.code, answer.reason) == (401, "unauthenticated", "certificate_expired") and answer.fix
    old.close()


def test_renewal_needs_a_certificate_that_this_server_issued(timed, timed_agent):
    m = messages()
    status, body = timed_agent.door.post("/agent/v1/renew", m.RenewRequest(csr_pem=make_csr(make_key())))
    answer = m.Status()
    answer.ParseFromString(body)
    assert (status, answer.code) == (401, "unauthenticated")
    status, body = timed_agent.door.post("/agent/v1/renew", m.RenewRequest(csr_pem="garbage"), timed_agent.credential)
    answer.ParseFromString(body)
    assert (status, answer.reason) == (400, "csr_invalid")


def test_a_removed_host_may_not_renew_link_or_download(timed, timed_agent):
    timed.api.delete(f"/api/hosts/{timed_agent.host_id}", expect=204)
    status, answer = timed_agent.renew()
    assert (status, answer.code, answer.reason) == (403, "permission_denied", "host_revoked")
    assert link_status(timed_agent) == 4403
    connection = timed_agent.door.connect(timed_agent.credential)
    connection.request("GET", "/agent/v1/blobs/sha256:" + "0" * 64)
    assert connection.getresponse().status == 403
    timed.api.problem("GET", f"/api/hosts/{timed_agent.host_id}", 404, "not_found")


def test_removing_a_host_cuts_its_live_link_before_the_answer(timed, timed_agent):
    with timed_agent.link(timeout=5) as link:
        link.hello()
        started = time.monotonic()
        timed.api.delete(f"/api/hosts/{timed_agent.host_id}", expect=204)
        assert link.wait_closed()[0] == 4403
        assert time.monotonic() - started < 2
    assert link_status(timed_agent) == 4403


def test_a_certificate_of_a_removed_host_is_dead_on_a_connection_that_was_open_before(timed, timed_agent):
    """Keep-alive must not keep a revoked identity alive."""
    connection = timed_agent.door.connect(timed_agent.credential)
    connection.request("GET", "/agent/v1/blobs/sha256:" + "0" * 64)
    response = connection.getresponse()
    response.read()
    assert response.status == 401  # known host, no download credential
    timed.api.delete(f"/api/hosts/{timed_agent.host_id}", expect=204)
    connection.request("GET", "/agent/v1/blobs/sha256:" + "0" * 64)
    assert connection.getresponse().status == 403


def test_a_client_certificate_of_another_ca_does_not_get_through_the_handshake(timed, timed_agent):
    with Stack(agents=0) as other:
        stranger = FakeAgent.enroll(other.server, other.api.create_token()["token"])
        stranger.door = timed_agent.door
        with pytest.raises(OSError):
            stranger.renew()
        stranger.close()


# The real agent


def test_the_agent_renews_at_two_thirds_of_its_certificates_life_and_stays_connected(docker):
    with Stack(agents=1, engine=docker, server_args=["--certificate-lifetime", str(LIFETIME)]) as stack:
        first = serial_of(stack.agent)
        connected_at = stack.api.host(stack.agent.host_id)["connectedAt"]
        started = time.monotonic()
        wait_until(lambda: serial_of(stack.agent) != first, LIFETIME, "the first renewal")
        # Enrollment was a moment before `started`.
        assert LIFETIME * 2 / 3 - 3 <= time.monotonic() - started <= LIFETIME * 2 / 3 + 2
        second = serial_of(stack.agent)
        wait_until(lambda: serial_of(stack.agent) != second, LIFETIME, "the second renewal")
        host = stack.api.host(stack.agent.host_id)
        assert host["state"] == "connected" and host["connectedAt"] == connected_at, "renewal does not touch the live link"
        # The new pair is what a restart uses.
        stack.agent.restart()
        stack.wait_connected()


def test_an_agent_that_slept_past_its_certificates_expiry_renews_and_comes_back(docker, tmp_path):
    clock = FakeClock(tmp_path)
    with Stack(agents=1, engine=docker, server_env=clock.env) as stack:
        stack.agent.stop()
        serial = serial_of(stack.agent)
        clock.set(days=10)
        stack.agent.start()
        stack.wait_connected(timeout=20)
        assert serial_of(stack.agent) != serial


def test_a_removed_hosts_agent_is_cut_off_and_stays_out(docker):
    with Stack(agents=1, engine=docker) as stack:
        host_id = stack.agent.host_id
        stack.api.delete(f"/api/hosts/{host_id}", expect=204)
        stack.agent.process.wait_for_log("4403", timeout=5)
        stack.agent.restart()
        stack.agent.process.wait_for_log("4403", timeout=10, offset=0)
        assert_stays(lambda: stack.api.list_all("/api/hosts") == [], 1, "the host staying away")
        assert stack.agent.process.alive
