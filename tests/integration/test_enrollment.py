"""Who gets in with which provisioning token, and who does not."""

import base64
import concurrent.futures
import datetime
import ipaddress
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from harness.agent_protocol import Door, join_token, key_pem, make_csr, make_key, split_token
from harness.fake_time import FakeClock
from harness.processes import find_binary
from harness.stack import HOST_ID, Stack


def hosts(stack, **query):
    return stack.api.list_all("/api/hosts", **query)


def flipped(text):
    """The same text with its first character changed to another of the alphabet."""
    return ("A" if text[0] != "A" else "B") + text[1:]


def test_a_token_enrolls_a_host_that_is_listed_at_once_as_disconnected(control_plane, door):
    token = control_plane.api.create_token()
    status, answer = door.enroll(token["token"], name="first-host")
    assert status == 200 and HOST_ID.fullmatch(answer.host_id)
    host = control_plane.api.host(answer.host_id)
    assert (host["name"], host["state"], host["clusterId"]) == ("first-host", "disconnected", token["clusterId"])
    assert control_plane.api.get(f"/api/provisioning-tokens/{token['id']}")["uses"] == 1


def test_the_client_certificate_lives_a_day_and_names_the_host(control_plane, door):
    status, answer = door.enroll(control_plane.api.create_token()["token"])
    assert status == 200
    certificate = x509.load_pem_x509_certificate(answer.certificate_pem.encode())
    names = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert names == [answer.host_id]
    left = certificate.not_valid_after - datetime.datetime.utcnow()
    assert datetime.timedelta(hours=23, minutes=59) < left <= datetime.timedelta(hours=24)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_name_that_is_taken_gets_a_suffix(control_plane, door):
    token = control_plane.api.create_token(maxUses=2)["token"]
    names = [door.enroll(token, name="twin")[1].host_name for _ in range(2)]
    assert names[0] == "twin" and names[1] != "twin" and names[1].startswith("twin")


# Tokens that do not work. Whatever is wrong, no host appears and no use is counted.


@pytest.mark.parametrize("make, reason", [
    (lambda real: "", "token_malformed"),
    (lambda real: "gsp_", "token_malformed"),
    (lambda real: real[:-1], "token_malformed"),
    (lambda real: real + "A", "token_malformed"),
    (lambda real: "gsk" + real[3:], "token_malformed"),
    (lambda real: real.replace("_", "-"), "token_malformed"),
    (lambda real: "x" * 200, "token_malformed"),
    (lambda real: real[:30] + "\n" + real[31:], "token_malformed"),
    (lambda real: join_token(flipped(split_token(real)[0].replace("0", "1")).lower(), *split_token(real)[1:]), "token_unknown"),
    (lambda real: join_token(split_token(real)[0], flipped(split_token(real)[1]), split_token(real)[2]), "token_unknown"),
    (lambda real: join_token(*split_token(real)[:2], flipped(split_token(real)[2])), "token_unknown"),
], ids=["empty", "prefix only", "too short", "too long", "an API key's prefix", "other separators", "too much", "line break",
        "unknown id", "wrong secret", "another pin"])
def test_a_wrong_token_is_refused_with_its_reason(control_plane, door, make, reason):
    real = control_plane.api.create_token()
    before = len(hosts(control_plane))
    status, answer = door.enroll(make(real["token"]))
    assert (status, answer.code, answer.reason) == (401, "unauthenticated", reason), answer
    assert answer.message and answer.fix
    assert len(hosts(control_plane)) == before
    assert control_plane.api.get(f"/api/provisioning-tokens/{real['id']}")["uses"] == 0
    assert door.enroll(real["token"])[0] == 200, "the real token is unharmed"


def test_a_token_beyond_the_bounds_of_its_field_is_a_bad_request(door):
    status, answer = door.enroll("x" * 100_000)
    assert (status, answer.code) == (400, "invalid_argument") and len(answer.message) < 1000


def test_a_revoked_token_enrolls_nobody_from_the_answer_on(control_plane, door):
    token = control_plane.api.create_token(maxUses=5)
    assert door.enroll(token["token"])[0] == 200
    control_plane.api.delete(f"/api/provisioning-tokens/{token['id']}", expect=204)
    status, answer = door.enroll(token["token"])
    assert (status, answer.reason) == (401, "token_revoked")
    assert control_plane.api.get(f"/api/provisioning-tokens/{token['id']}")["uses"] == 1


def test_a_token_enrolls_as_often_as_it_says_and_no_more(control_plane, door):
    token = control_plane.api.create_token(maxUses=3)
    assert [door.enroll(token["token"])[0] for _ in range(3)] == [200, 200, 200]
    status, answer = door.enroll(token["token"])
    assert (status, answer.reason) == (401, "token_exhausted")
    record = control_plane.api.get(f"/api/provisioning-tokens/{token['id']}")
    assert (record["uses"], record["state"]) == (3, "exhausted")


def test_an_expired_token_enrolls_nobody(tmp_path):
    clock = FakeClock(tmp_path)
    with Stack(agents=0, server_env=clock.env) as stack:
        token = stack.api.create_token(expiresInSeconds=60)
        clock.set(seconds=50)
        assert stack.api.get(f"/api/provisioning-tokens/{token['id']}")["state"] == "active"
        clock.set(seconds=61)
        status, answer = Door(stack.server).enroll(token["token"])
        assert (status, answer.reason) == (401, "token_expired")
        assert stack.api.get(f"/api/provisioning-tokens/{token['id']}")["state"] == "expired"
        assert hosts(stack) == []


def test_who_does_not_know_the_secret_is_not_told_what_is_wrong_with_the_token(control_plane, door):
    token = control_plane.api.create_token()
    token_id, secret, pin = split_token(token["token"])
    control_plane.api.delete(f"/api/provisioning-tokens/{token['id']}", expect=204)
    assert door.enroll(join_token(token_id, flipped(secret), pin))[1].reason == "token_unknown"


@pytest.mark.parametrize("csr", [
    "", "garbage", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "rsa", "stolen"])
def test_a_bad_signing_request_costs_no_use_of_the_token(control_plane, door, csr):
    if csr == "rsa":
        key = rsa.generate_private_key(65537, 2048)
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM).decode()
    elif csr == "stolen":
        # Another key's signature: it proves no possession.
        good = x509.load_pem_x509_csr(make_csr(make_key()).encode()).public_bytes(serialization.Encoding.DER)
        damaged = good[:-1] + bytes([good[-1] ^ 1])
        csr = "-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(damaged).decode() + "-----END CERTIFICATE REQUEST-----\n"
    token = control_plane.api.create_token()
    status, answer = door.enroll(token["token"], csr=csr)
    assert (status, answer.code, answer.reason) == (400, "invalid_argument", "csr_invalid"), answer
    assert door.enroll(token["token"])[0] == 200


# Clusters and tenants


def test_a_host_lands_in_the_cluster_of_its_token_and_nowhere_else(control_plane, door):
    other = control_plane.api.post("/api/clusters", {"name": "other-cluster", "kind": "byo"})
    default = control_plane.api.default_cluster()
    before = {host["id"] for host in hosts(control_plane, clusterId=default["id"])}
    status, answer = door.enroll(control_plane.api.create_token(other["id"])["token"])
    assert status == 200 and answer.cluster_id == other["id"]
    assert [host["id"] for host in hosts(control_plane, clusterId=other["id"])] == [answer.host_id]
    assert {host["id"] for host in hosts(control_plane, clusterId=default["id"])} == before


def test_a_managed_cluster_gives_no_tokens(control_plane):
    managed = control_plane.api.post("/api/clusters", {"name": "managed-cluster", "kind": "managed"})
    problem = control_plane.api.problem(
        "POST", "/api/provisioning-tokens", 409, "failed_precondition", json={"clusterId": managed["id"]})
    assert "managed" in problem["detail"]


def test_tokens_of_a_deleted_cluster_are_revoked_with_it(control_plane, door):
    cluster = control_plane.api.post("/api/clusters", {"name": "short-lived", "kind": "byo"})
    token = control_plane.api.create_token(cluster["id"])
    control_plane.api.delete(f"/api/clusters/{cluster['id']}", expect=204)
    assert door.enroll(token["token"])[1].reason == "token_revoked"


def test_another_tenants_token_enrolls_into_that_tenant_only(control_plane, door):
    theirs = control_plane.client(control_plane.server.create_tenant("neighbour"))
    before = len(hosts(control_plane))
    status, answer = door.enroll(theirs.create_token()["token"])
    assert status == 200
    assert [host["id"] for host in theirs.list_all("/api/hosts")] == [answer.host_id]
    assert len(hosts(control_plane)) == before
    control_plane.api.problem("GET", f"/api/hosts/{answer.host_id}", 404, "not_found")


# Races


def test_of_200_machines_with_one_single_use_token_exactly_one_gets_in(control_plane, door):
    token = control_plane.api.create_token()
    before = {host["id"] for host in hosts(control_plane)}
    csr = make_csr(make_key())
    # All handshakes are done before the first request is sent, so that the requests really meet.
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        connections = list(pool.map(lambda _: door.connect(timeout=60), range(200)))
    start = threading.Barrier(200)

    def one(connection):
        start.wait(60)
        return door.enroll(token["token"], csr=csr, connection=connection)

    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(one, connections))
    winners = [answer for status, answer in answers if status == 200]
    assert len(winners) == 1
    for status, answer in answers:
        if status != 200:
            # "Come back later" is for those that were turned away at the door; everybody else hears the truth.
            assert (status, answer.reason) in ((401, "token_exhausted"), (503, "try_again")), (status, answer)
    appeared = {host["id"] for host in hosts(control_plane)} - before
    assert appeared == {winners[0].host_id}
    assert control_plane.api.get(f"/api/provisioning-tokens/{token['id']}")["uses"] == 1


# The agent's side: what `gstacks-agent enroll` does with bad tokens and wrong servers


@pytest.mark.parametrize("token", ["", "nonsense", "gsp_short_short_short", "gsk_" + "0" * 20 + "_" + "A" * 43])
def test_the_agent_refuses_a_malformed_token_without_calling_anybody(control_plane, token):
    agent = control_plane.new_agent()
    done = agent.try_enroll(token, server_url="https://127.0.0.1:1")
    assert done.returncode == 1 and "not a provisioning token" in done.stderr and "gstacks token create" in done.stderr
    assert agent.host_id is None
    if token:
        assert token not in done.stdout + done.stderr


def test_the_agent_says_why_a_token_was_refused_and_keeps_nothing(control_plane):
    token = control_plane.api.create_token()
    control_plane.api.delete(f"/api/provisioning-tokens/{token['id']}", expect=204)
    agent = control_plane.new_agent()
    done = agent.try_enroll(token["token"])
    assert done.returncode == 1 and "revoked" in done.stderr, done.stderr
    assert agent.host_id is None
    assert agent.try_enroll(control_plane.api.create_token()["token"]).returncode == 0, "a good token works afterwards"


def test_an_enrolled_agent_does_not_use_another_token(control_plane):
    agent = control_plane.new_agent()
    agent.enroll(control_plane.api.create_token()["token"])
    identity = (agent.state_dir / "identity" / "credential.pem").read_bytes()
    second = control_plane.api.create_token()
    done = agent.try_enroll(second["token"])
    assert done.returncode != 0 and "enrolled already" in done.stderr
    assert control_plane.api.get(f"/api/provisioning-tokens/{second['id']}")["uses"] == 0
    assert (agent.state_dir / "identity" / "credential.pem").read_bytes() == identity


def test_identity_files_are_for_the_owner_only(control_plane):
    agent = control_plane.new_agent()
    agent.enroll(control_plane.api.create_token()["token"])
    assert agent.state_dir.stat().st_mode & 0o777 == 0o700
    assert (agent.state_dir / "identity").stat().st_mode & 0o777 == 0o700
    assert (agent.state_dir / "identity" / "credential.pem").stat().st_mode & 0o777 == 0o600


def test_a_server_with_another_ca_than_the_pin_gets_no_byte_of_the_token(control_plane, tmp_path):
    """An impostor with a certificate of its own, for the right address: the agent must leave before it sends a request."""
    key = make_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "impostor")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=3)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256()))
    (tmp_path / "impostor.pem").write_bytes(key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "impostor.pem")
    received, ended = [], threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        connection, _ = listener.accept()
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                secure.settimeout(10)
                while data := secure.recv(65536):
                    received.append(data)
        except OSError:
            pass  # the agent breaks off: that is the point
        ended.set()

    threading.Thread(target=serve, daemon=True).start()
    token = control_plane.api.create_token()
    agent = control_plane.new_agent()
    done = agent.try_enroll(token["token"], server_url=f"https://127.0.0.1:{listener.getsockname()[1]}")
    listener.close()
    assert done.returncode == 1 and "certificate authority that the token names" in done.stderr, done.stderr
    assert ended.wait(10) and received == []
    assert agent.host_id is None
    assert control_plane.api.get(f"/api/provisioning-tokens/{token['id']}")["uses"] == 0


def test_a_token_of_one_control_plane_is_no_good_at_another(control_plane):
    with Stack(agents=0) as other:
        agent = control_plane.new_agent()
        done = agent.try_enroll(control_plane.api.create_token()["token"], server_url=other.server.agent_url)
        assert done.returncode == 1 and "fix:" in done.stderr
        assert hosts(other) == [] and agent.host_id is None


def test_the_token_never_appears_in_the_arguments_of_a_process(control_plane, tmp_path):
    """Every process of the machine is looked at while the agent enrolls, with a server that lets it wait."""
    token = control_plane.api.create_token()["token"]
    secret = split_token(token)[1]
    listener = socket.create_server(("127.0.0.1", 0))  # accepts, never answers: the enrollment hangs in its handshake
    token_file = tmp_path / "token"
    token_file.touch(0o600)
    token_file.write_text(token)
    agent = control_plane.new_agent()
    process = subprocess.Popen(
        [find_binary("gstacks-agent"), "enroll", "--config", agent.config_file, "--state-dir", agent.state_dir, "--run-dir", agent.run_dir,
         "--server", f"https://127.0.0.1:{listener.getsockname()[1]}", "--token-file", token_file],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection, _ = listener.accept()
        own = Path(f"/proc/{process.pid}")
        assert b"enroll" in (own / "cmdline").read_bytes()
        for directory in [own, *(path for path in Path("/proc").iterdir() if path.name.isdigit())]:
            try:
                shown = (directory / "cmdline").read_bytes()
            except OSError:
                continue
            assert secret.encode() not in shown, directory
        assert secret.encode() not in (own / "environ").read_bytes()
        connection.close()
    finally:
        process.kill()
        process.wait()
        listener.close()
