"""The benchmark's own clients: as little as can be between the clock and the wire.

SessionClient   one exec over one WebSocket, by hand, with zero masks (the protocol asks for a mask, not for a secret one)
HttpConnection  keep-alive HTTP/1.1 over TCP or a unix socket, bodies by Content-Length or chunked
EngineClient    what a program that drives the Docker Engine by itself would do
spawn           runs a program to its end and nothing else
"""

import base64
import json
import os
import socket
import struct
import time
from urllib.parse import urlparse

OPENED, STDERR, EXIT, ERROR = 0x10, 0x12, 0x13, 0x14


class BenchError(Exception):
    """Something did not do what is being measured: the number would be a lie."""


class Reader:
    """Buffered reading of exact amounts from a socket."""

    def __init__(self, sock):
        self._socket = sock
        self._buffer = b""

    def _fill(self):
        data = self._socket.recv(65536)
        if not data:
            raise BenchError("the other side closed the connection")
        self._buffer += data

    def until(self, mark):
        while (at := self._buffer.find(mark)) < 0:
            self._fill()
        taken, self._buffer = self._buffer[:at + len(mark)], self._buffer[at + len(mark):]
        return taken

    def exactly(self, count):
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def to_end(self):
        data, self._buffer = self._buffer, b""
        while chunk := self._socket.recv(65536):
            data += chunk
        return data


def _client_frame(payload, opcode=2):
    if len(payload) < 126:
        header = struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload))
    else:
        header = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload))
    return header + b"\0\0\0\0" + payload


class SessionClient:
    """Prepared once for a server; exec() makes a new connection each time, as clients do."""

    def __init__(self, base_url, api_key):
        url = urlparse(base_url)
        self._address = (url.hostname, url.port)
        self._upgrade = (
            f"GET /api/sessions HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {api_key}\r\n"
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
            f"Sec-WebSocket-Protocol: gstacks.session.v1\r\n\r\n").encode()
        self.marks = {}  # seconds since the start of the last exec: connected, upgraded, opened, exit

    def exec(self, sandbox_id, argv, wait_ms=0):
        """Runs argv, which must end with code 0; returns the seconds from before the connection to the exit frame."""
        members = {"kind": "exec", "sandboxId": sandbox_id, "argv": argv}
        if wait_ms:
            members["waitMs"] = wait_ms
        # The open frame, and the end of stdin right behind it.
        opening = _client_frame(b"\x00" + json.dumps(members).encode()) + _client_frame(b"\x02")
        start = time.perf_counter()
        with socket.create_connection(self._address, timeout=90) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = Reader(sock)
            connected = time.perf_counter()
            sock.sendall(self._upgrade)
            answer = reader.until(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 101"):
                raise BenchError(f"no upgrade: {answer.decode(errors='replace')}")
            upgraded = time.perf_counter()
            sock.sendall(opening)
            opened = end = None
            while end is None:
                kind, payload = self._frame(reader)
                if kind == OPENED:
                    opened = time.perf_counter()
                elif kind == EXIT:
                    end = time.perf_counter()
                    if json.loads(payload).get("code") != 0:
                        raise BenchError(f"the program ended with {payload.decode()}")
                elif kind in (ERROR, STDERR):
                    raise BenchError(f"the session failed: {payload.decode(errors='replace')}")
            # The closing handshake is not part of the measurement, but leaving it out would burden the next one.
            sock.sendall(_client_frame(b"\x03\xe8", opcode=8))
            reader.to_end()
        self.marks = {"connected": connected - start, "upgraded": upgraded - start, "opened": opened - start, "exit": end - start}
        return end - start

    @staticmethod
    def _frame(reader):
        """The next session frame; pings are passed over."""
        while True:
            first, second = reader.exactly(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", reader.exactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", reader.exactly(8))[0]
            payload = reader.exactly(size)
            opcode = first & 0x0F
            if opcode == 2:
                return payload[0], payload[1:]
            if opcode == 8:
                raise BenchError(f"closed before the exit: {payload!r}")


class HttpConnection:
    """One connection, one request at a time."""

    def __init__(self, connect, host, headers=""):
        self._connect = connect
        self._head = f"Host: {host}\r\n{headers}"
        self._socket = self._reader = None
        self.reconnect()

    def reconnect(self):
        self.close()
        self._socket = self._connect()
        self._reader = Reader(self._socket)

    def close(self):
        if self._socket:
            self._socket.close()

    def send(self, method, path, body=None, headers=""):
        data = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        self._socket.sendall(f"{method} {path} HTTP/1.1\r\n{self._head}{kind}{headers}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        head = self._reader.until(b"\r\n\r\n").decode()
        return int(head.split(" ", 2)[1]), head.lower()

    def request(self, method, path, body=None, expect=(200, 201, 202, 204)):
        status, head = self.send(method, path, body)
        if "transfer-encoding: chunked" in head:
            data = b""
            while size := int(self._reader.until(b"\r\n"), 16):
                data += self._reader.exactly(size)
                self._reader.until(b"\r\n")
            self._reader.until(b"\r\n")
        elif "content-length: " in head:
            data = self._reader.exactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        else:
            data = b""
        if status not in expect:
            raise BenchError(f"{method} {path} answered {status}: {data.decode(errors='replace')}")
        return json.loads(data) if data else None

    def rest(self):
        """Everything until the other side closes."""
        return self._reader.to_end()


def api_connection(base_url, api_key):
    url = urlparse(base_url)

    def connect():
        sock = socket.create_connection((url.hostname, url.port), timeout=90)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    return HttpConnection(connect, url.netloc, f"Authorization: Bearer {api_key}\r\n")


class EngineClient:
    """Engine API over one keep-alive connection; an attached exec takes over a second one, which is how the API works."""

    def __init__(self, socket_path):
        self._path = str(socket_path)
        self.api = HttpConnection(self._dial, "docker")

    def _dial(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(90)
        sock.connect(self._path)
        return sock

    def create(self, name, config):
        return self.api.request("POST", f"/containers/create?name={name}", config)["Id"]

    def start(self, container):
        self.api.request("POST", f"/containers/{container}/start")

    def remove(self, container):
        self.api.request("DELETE", f"/containers/{container}?force=1&v=1", expect=(204, 404))

    def exec(self, container, argv):
        """create, start attached, read to the end, inspect until it is over; the exit code must be 0."""
        made = self.api.request("POST", f"/containers/{container}/exec", {"AttachStdout": True, "AttachStderr": True, "Cmd": argv})["Id"]
        stream = HttpConnection(self._dial, "docker")
        status, head = stream.send("POST", f"/exec/{made}/start", {"Detach": False, "Tty": False},
                                   "Connection: Upgrade\r\nUpgrade: tcp\r\n")
        if status not in (101, 200):
            raise BenchError(f"exec start answered {status}: {head}")
        stream.rest()
        stream.close()
        while (seen := self.api.request("GET", f"/exec/{made}/json"))["Running"]:
            pass
        if seen["ExitCode"] != 0:
            raise BenchError(f"the exec ended with {seen['ExitCode']}")


def spawn(argv, quiet=True):
    """Runs argv to its end; an exit code other than 0 is an error. posix_spawn: no copy of this process on the way."""
    actions = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)] if quiet else []
    actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
    pid = os.posix_spawnp(str(argv[0]), [str(part) for part in argv], os.environ, file_actions=actions)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        raise BenchError(f"{' '.join(map(str, argv))} exited with {code}")
