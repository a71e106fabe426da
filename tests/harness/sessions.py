"""Exec over the session WebSocket (subprotocol gstacks.session.v1), frame by frame as the contract has it.

A frame is one binary message: a type byte and a payload. `run` is for tests that want a result; send_* and receive are for
tests of the protocol itself.
"""

import json
import socket
from dataclasses import dataclass, field
from urllib.parse import urlparse

import websocket

SUBPROTOCOL = "gstacks.session.v1"
MAX_PAYLOAD = 65536
OPEN, STDIN, STDIN_EOF, SIGNAL, RESIZE = 0x00, 0x01, 0x02, 0x03, 0x04
OPENED, STDOUT, STDERR, EXIT, ERROR, RESIZED = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
NAMES = {OPENED: "opened", STDOUT: "stdout", STDERR: "stderr", EXIT: "exit", ERROR: "error", RESIZED: "resized"}


@dataclass
class ExecResult:
    """How a session ended. Exactly one of code, signal and error is set; close_code is the WebSocket's."""

    code: int = None
    signal: str = None
    error: dict = None
    close_code: int = None
    session_id: str = None
    stdout: bytes = b""
    stderr: bytes = b""
    frames: list = field(default_factory=list, repr=False)

    @property
    def out(self):
        return self.stdout.decode(errors="replace")

    @property
    def err(self):
        return self.stderr.decode(errors="replace")

    def check(self):
        """Asserts that the program ended with code 0; returns its standard output as text."""
        assert self.code == 0, f"exec failed: {self}"
        return self.out


class RawSession:
    """A session WebSocket without an opinion: for tests that send what nobody should send."""

    def __init__(self, base_url, api_key, timeout=60, subprotocols=(SUBPROTOCOL,), headers=(), ticket=None, origin=None):
        url = urlparse(base_url)
        scheme = "wss" if url.scheme == "https" else "ws"
        lines = list(headers)
        if api_key:
            lines.append(f"Authorization: Bearer {api_key}")
        # Raises websocket.WebSocketBadStatusException (with status_code) when the server refuses the upgrade.
        self.socket = websocket.create_connection(
            f"{scheme}://{url.netloc}/api/sessions" + (f"?ticket={ticket}" if ticket else ""), timeout=timeout, header=lines,
            subprotocols=list(subprotocols), enable_multithread=True, http_no_proxy=["*"],
            **({"origin": origin} if origin else {"suppress_origin": True}))
        self.close_code = None
        self.close_reason = None

    def send(self, frame_type, payload=b""):
        if isinstance(payload, (dict, list)):
            payload = json.dumps(payload).encode()
        self.socket.send_binary(bytes([frame_type]) + payload)

    def send_stdin(self, data):
        for start in range(0, len(data), MAX_PAYLOAD):
            self.send(STDIN, data[start:start + MAX_PAYLOAD])

    def send_eof(self):
        self.send(STDIN_EOF)

    def send_signal(self, name):
        self.send(SIGNAL, {"signal": name})

    def receive(self):
        """The next frame as (type, payload); None when the other side closed (then close_code is set)."""
        while True:
            try:
                opcode, data = self.socket.recv_data(control_frame=True)
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                # The connection ended without a closing handshake.
                return None
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                if len(data) >= 2:
                    self.close_code = int.from_bytes(data[:2], "big")
                    self.close_reason = data[2:].decode(errors="replace")
                return None
            if opcode == websocket.ABNF.OPCODE_BINARY:
                assert data, "an empty message is not a frame"
                assert len(data) <= MAX_PAYLOAD + 1, f"a frame of {len(data)} bytes is over the limit"
                return data[0], data[1:]
            assert opcode in (websocket.ABNF.OPCODE_PING, websocket.ABNF.OPCODE_PONG), f"unexpected opcode {opcode}"

    def receive_until_closed(self):
        """All frames that come before the close."""
        frames = []
        while (frame := self.receive()) is not None:
            frames.append(frame)
        return frames

    def drop(self):
        """Vanishes without a closing handshake, as a client whose machine lost power."""
        self.socket.sock.shutdown(socket.SHUT_RDWR)
        self.socket.shutdown()

    def close(self):
        try:
            self.socket.close(timeout=2)
        except (OSError, websocket.WebSocketException):
            pass
        finally:
            self.socket.shutdown()  # after a close by the other side, close() leaves the connection open

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ExecSession(RawSession):
    """One program in one sandbox. The open frame is sent at once; its other members are those of the contract.

    With a terminal, no argv is the login shell; `sizes` are the sizes that were answered.
    """

    def __init__(self, base_url, api_key, sandbox, argv, timeout=60, **members):
        super().__init__(base_url, api_key, timeout)
        sandbox_id = sandbox["id"] if isinstance(sandbox, dict) else sandbox
        if argv is not None:
            members["argv"] = list(argv)
        self.send(OPEN, {"kind": "exec", "sandboxId": sandbox_id, **members})
        self.result = ExecResult()
        self.sizes = []

    def next(self):
        """Takes one frame into `result`; returns (type, payload), or None after the last."""
        frame = self.receive()
        if frame is None:
            self.result.close_code = self.close_code
            return None
        kind, payload = frame
        result = self.result
        ended = result.code is not None or result.signal is not None or result.error is not None
        assert not ended, f"frame {NAMES.get(kind, kind)} after the last one"
        result.frames.append(kind)
        if kind == OPENED:
            assert result.session_id is None, "opened twice"
            result.session_id = json.loads(payload)["sessionId"]
        elif kind == STDOUT:
            assert result.session_id and payload, "stdout before opened, or empty"
            result.stdout += payload
        elif kind == STDERR:
            assert result.session_id and payload, "stderr before opened, or empty"
            result.stderr += payload
        elif kind == RESIZED:
            self.sizes.append(json.loads(payload))
        elif kind == EXIT:
            ending = json.loads(payload)
            result.code, result.signal = ending.get("code"), ending.get("signal")
            assert (result.code is None) != (result.signal is None), f"exit must have code or signal: {ending}"
        elif kind == ERROR:
            result.error = json.loads(payload)
        else:
            raise AssertionError(f"unknown frame type {kind:#x}")
        return frame

    def wait_opened(self):
        """Returns the session id once the program runs."""
        while self.result.session_id is None:
            assert self.next() is not None, f"closed before opened: {self.result}"
            assert self.result.error is None, f"refused: {self.result.error}"
        return self.result.session_id

    def read_until(self, needle, stream="stdout"):
        """Reads until the output has these bytes; returns all of that stream so far."""
        needle = needle.encode() if isinstance(needle, str) else needle
        while needle not in getattr(self.result, stream):
            assert self.next() is not None, f"closed before {needle!r}: {self.result}"
        return getattr(self.result, stream)

    def finish(self):
        """Reads to the end; returns the result. The close code must fit the last frame."""
        while self.next() is not None:
            pass
        result = self.result
        if result.code is not None or result.signal is not None:
            assert result.close_code == 1000, f"after exit the close code must be 1000: {result}"
        elif result.error is not None:
            assert result.close_code == 4000 + result.error["status"], f"close code and problem differ: {result}"
        return result

    def run(self, stdin=None):
        """Feeds stdin (bytes or text; nothing means an empty one) and reads to the end.

        Everything is written before anything is read: for more than a few hundred KB of input to a program that answers
        while it reads, feed and read by yourself.
        """
        if stdin:
            self.send_stdin(stdin.encode() if isinstance(stdin, str) else stdin)
        self.send_eof()
        return self.finish()
