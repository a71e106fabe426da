"""The agent contract spoken from Python: enrollment, renewal, the control link and data channels, well or badly on purpose.

    agent = FakeAgent.enroll(server, token)
    with agent.link() as link:
        link.hello()

A FakeAgent is an enrolled host without an agent program behind it. Message classes are generated with protoc from proto/
the first time they are needed: `messages().Hello(protocol=1)`.
"""

import functools
import hashlib
import http.client
import importlib
import select
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import websocket
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .processes import REPOSITORY

LINK_SUBPROTOCOL = "gstacks.agent.v1"
CHANNEL_SUBPROTOCOL = "gstacks.channel.v1"
MAX_LINK_FRAME = 256 * 1024


@functools.cache
def messages():
    """A namespace with every message of proto/globalstacks/agent/v1, and those of file operations."""
    directory = tempfile.TemporaryDirectory(prefix="gs-proto-")
    messages.directory = directory  # lives as long as the process
    root = REPOSITORY / "proto"
    sources = [*sorted((root / "globalstacks" / "agent" / "v1").glob("*.proto")), root / "globalstacks" / "guest" / "v1" / "files.proto"]
    subprocess.run(["protoc", f"--proto_path={root}", f"--python_out={directory.name}", *sources], check=True)
    sys.path.insert(0, directory.name)
    try:
        modules = [importlib.import_module(".".join([*source.parent.relative_to(root).parts, f"{source.stem}_pb2"])) for source in sources]
    finally:
        sys.path.remove(directory.name)
    found = types.SimpleNamespace()
    for module in modules:
        for name in module.DESCRIPTOR.message_types_by_name:
            setattr(found, name, getattr(module, name))
        for name, enum in module.DESCRIPTOR.enum_types_by_name.items():
            setattr(found, name, enum)
    return found


def split_token(token):
    """(id, secret, pin) of a provisioning token. By position: base64url has underscores of its own."""
    assert token.startswith("gsp_") and len(token) == 4 + 20 + 1 + 43 + 1 + 43, token
    return token[4:24], token[25:68], token[69:]


def join_token(token_id, secret, pin):
    return f"gsp_{token_id}_{secret}_{pin}"


def make_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def make_csr(key, common_name="gstacks-agent"):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def make_facts(**changes):
    """Facts of a plausible host without any runtime."""
    facts = dict(agent_version="0.0.0-test", os_name="Test OS", os_version="1", architecture="amd64", kernel="6.0", hostname="fake",
                 cpu_count=2, cpu_model="Test CPU", memory_bytes=8 << 30, disk_bytes=100 << 30, traits=["linux", "amd64"], boot_id="boot-1")
    facts.update(changes)
    return messages().HostFacts(**facts)


def healthy_docker():
    m = messages()
    return m.RuntimeHealth(name="docker", state=m.RuntimeHealth.STATE_HEALTHY, version="20.10.24")


class Door:
    """The agent listener of a server, as somebody without any identity reaches it."""

    def __init__(self, server):
        self.port = server.agent_port
        self.ca_file = server.data_dir / "ca" / "ca.crt"

    def context(self, credential=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(self.ca_file)
        if credential:
            context.load_cert_chain(credential)
        return context

    def connect(self, credential=None, timeout=30):
        """An HTTPS connection with the handshake done."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context(credential))
        connection.connect()
        return connection

    def post(self, path, body, credential=None, connection=None, content_type="application/x-protobuf"):
        """(status, body bytes)."""
        connection = connection or self.connect(credential)
        try:
            data = body if isinstance(body, bytes) else body.SerializeToString()
            connection.request("POST", path, data, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def enroll(self, token, csr=None, name="fake", facts=None, connection=None):
        """(status, EnrollResponse or Status)."""
        m = messages()
        request = m.EnrollRequest(token=token, csr_pem=csr if csr is not None else make_csr(make_key()), host_name=name,
                                  facts=facts or make_facts())
        status, body = self.post("/agent/v1/enroll", request, connection=connection)
        answer = m.EnrollResponse() if status == 200 else m.Status()
        answer.ParseFromString(body)
        return status, answer


class FakeAgent:
    """An enrolled host of which the test plays the agent. Its files are gone with close()."""

    def __init__(self, server, host_id, cluster_id, key, certificate_pem):
        self.door = Door(server)
        self.host_id, self.cluster_id = host_id, cluster_id
        self._directory = tempfile.TemporaryDirectory(prefix="gs-fake-")
        self.credential = Path(self._directory.name) / "credential.pem"
        self.last_epoch = 0
        self.set_credential(key, certificate_pem)

    @classmethod
    def enroll(cls, server, token, name="fake", facts=None):
        key = make_key()
        status, answer = Door(server).enroll(token, make_csr(key), name, facts)
        assert status == 200, f"enroll answered {status}: {answer}"
        return cls(server, answer.host_id, answer.cluster_id, key, answer.certificate_pem)

    @classmethod
    def copy_of(cls, server, agent):
        """The same identity as a real agent's, read from its state directory."""
        pem = (agent.state_dir / "identity" / "credential.pem").read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        certificate = pem[pem.index(b"-----BEGIN CERTIFICATE-----"):].decode()
        return cls(server, agent.host_id, None, key, certificate)

    def set_credential(self, key, certificate_pem):
        self.key = key
        self.certificate_pem = certificate_pem
        self.credential.write_bytes(key_pem(key) + certificate_pem.encode())

    @property
    def certificate(self):
        return x509.load_pem_x509_certificate(self.certificate_pem.encode())

    def renew(self):
        """(status, RenewResponse or Status); on success the new certificate is used from now on."""
        m = messages()
        key = make_key()
        status, body = self.door.post("/agent/v1/renew", m.RenewRequest(csr_pem=make_csr(key)), self.credential)
        answer = m.RenewResponse() if status == 200 else m.Status()
        answer.ParseFromString(body)
        if status == 200:
            self.set_credential(key, answer.certificate_pem)
        return status, answer

    def upload_layer(self, sandbox_id, generation, data, offset=0, size=None, digest=None, method="PUT", send=None):
        """(HTTP status, bytes that the server has, whether that is all, Status or None) of one go.

        `send`: breaks the connection off after so many bytes, and answers nothing.
        """
        digest = digest or "sha256:" + hashlib.sha256(data).hexdigest()
        path = f"/agent/v1/archives/{sandbox_id}/{digest}?generation={generation}&size={len(data) if size is None else size}"
        body = data[offset:] if method == "PUT" else b""
        if method == "PUT":
            path += f"&offset={offset}"
        connection = self.door.connect(self.credential)
        try:
            connection.putrequest(method, path)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            connection.send(body if send is None else body[:send])
            if send is not None:
                return None
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        status = None
        if response.status != 200:
            status = messages().Status()
            status.ParseFromString(answer)
        return response.status, int(response.headers.get("Upload-Offset") or -1), response.headers.get("Upload-Complete") == "?1", status

    def web_socket(self, path, subprotocol, headers=(), timeout=20):
        opened = websocket.create_connection(
            f"wss://127.0.0.1:{self.door.port}{path}", timeout=timeout, subprotocols=[subprotocol], header=list(headers),
            suppress_origin=True, enable_multithread=True, sslopt={"context": self.door.context(self.credential)}, http_no_proxy=["*"])
        opened.sock = TakenInTurns(opened.sock)
        return opened

    def link(self, timeout=20):
        return Link(self, self.web_socket("/agent/v1/link", LINK_SUBPROTOCOL, timeout=timeout))

    def channel(self, ticket, timeout=20):
        """A bare WebSocket; WebSocketBadStatusException when the ticket is refused."""
        return Socket(self.web_socket("/agent/v1/channel", CHANNEL_SUBPROTOCOL, [f"X-Gstacks-Ticket: {ticket}"], timeout))

    def close(self):
        self._directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class TakenInTurns:
    """A TLS socket that one thread may read while others write: a connection of OpenSSL is for one thread at a time."""

    def __init__(self, tls):
        self._tls = tls
        self._turn = threading.Lock()
        self._timeout = tls.gettimeout()
        tls.setblocking(False)

    def __getattr__(self, name):
        return getattr(self._tls, name)

    def gettimeout(self):
        return self._timeout

    def settimeout(self, timeout):
        self._timeout = timeout

    def _take_turn(self, call):
        end = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            descriptor = self._tls.fileno()
            with self._turn:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    waited = ([descriptor], [], [])
                except ssl.SSLWantWriteError:
                    waited = ([], [descriptor], [])
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise socket.timeout("timed out")
            select.select(*waited, left)

    def shutdown(self, how):
        # Python's own would go on with the bare connection, and what is still in it be taken for plain text.
        socket.socket.shutdown(self._tls, how)

    def recv(self, size):
        return self._take_turn(lambda: self._tls.recv(size))

    def send(self, data):
        return self._take_turn(lambda: self._tls.send(data))

    def sendall(self, data):
        while data:
            data = data[self.send(data):]


class Socket:
    """A WebSocket that remembers how it was closed."""

    def __init__(self, socket):
        self.socket = socket
        self.close_code = None
        self.close_reason = None

    def send_bytes(self, data):
        self.socket.send_binary(data)

    def send_text(self, text):
        self.socket.send(text)

    def send_raw(self, data):
        """Bytes that need not be a WebSocket frame."""
        self.socket.sock.sendall(data)

    def receive_bytes(self):
        """The next message; None when it is closed."""
        while True:
            try:
                opcode, data = self.socket.recv_data(control_frame=True)
            except (websocket.WebSocketConnectionClosedException, ConnectionError, ssl.SSLError):
                return None
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                if len(data) >= 2:
                    self.close_code = int.from_bytes(data[:2], "big")
                    self.close_reason = data[2:].decode(errors="replace")
                return None
            if opcode == websocket.ABNF.OPCODE_BINARY:
                return data

    def wait_closed(self):
        """(code, reason), after dropping what still comes."""
        while self.receive_bytes() is not None:
            pass
        return self.close_code, self.close_reason

    def close(self):
        try:
            self.socket.close(timeout=1)
        except (OSError, websocket.WebSocketException):
            pass
        finally:
            self.socket.shutdown()  # after a close by the other side, close() leaves the connection open

    def drop(self):
        """Without a closing handshake."""
        self.socket.shutdown()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Link(Socket):
    """A control link. hello() first, unless the test is about that."""

    def __init__(self, agent, socket):
        super().__init__(socket)
        self.agent = agent
        self.epoch = 0
        self.sequence = 0

    def send(self, epoch=None, **body):
        """send(heartbeat=messages().Heartbeat(sequence=1))."""
        self.send_bytes(messages().AgentMessage(epoch=self.epoch if epoch is None else epoch, **body).SerializeToString())

    def receive(self):
        """The next ServerMessage; None when it is closed."""
        data = self.receive_bytes()
        if data is None:
            return None
        message = messages().ServerMessage()
        message.ParseFromString(data)
        return message

    def receive_until(self, case):
        """Answers nothing, drops everything else."""
        while (message := self.receive()) is not None:
            if message.WhichOneof("body") == case:
                return getattr(message, case)
        raise AssertionError(f"closed with {self.close_code} {self.close_reason} before {case}")

    def send_hello(self, **changes):
        members = dict(protocol=1, features=["exec", "reprovision", "archive"], facts=make_facts(), telemetry=messages().HostTelemetry(
            memory_available_bytes=4 << 30, disk_free_bytes=50 << 30), last_epoch=self.agent.last_epoch,
            assignments_digest=hashlib.sha256().digest())  # of nothing
        members.update(changes)
        self.send(epoch=0, hello=messages().Hello(**members))

    def hello(self, **changes):
        """Returns the HelloAck."""
        self.send_hello(**changes)
        ack = self.receive_until("hello_ack")
        self.epoch = self.agent.last_epoch = ack.epoch
        return ack

    def heartbeat(self):
        """One heartbeat and its acknowledgement."""
        self.sequence += 1
        self.send(heartbeat=messages().Heartbeat(sequence=self.sequence))
        while self.receive_until("heartbeat_ack").sequence != self.sequence:
            pass
