"""A client of sessions that survive broken connections, as the contract describes one: it counts, acknowledges, and goes on.

`DurableSession` is one session over any number of connections; `drop()` and `reattach()` are the test's to call.
"""

import json

from .sessions import ERROR, EXIT, OPEN, OPENED, RESIZED, STDERR, STDIN, STDOUT, ExecResult, RawSession

ACK, LEAVE, INPUT_ACK = 0x05, 0x06, 0x16
ACK_EVERY = 65536


class DurableSession:
    def __init__(self, base_url, api_key, sandbox, argv=None, timeout=60, reattach=None, **members):
        self._where = (base_url, api_key)
        self.sandbox_id = sandbox["id"] if isinstance(sandbox, dict) else sandbox
        self.timeout = timeout
        self.result = ExecResult()
        self.session_id = None
        self.output = 0          # bytes that have arrived, of both streams
        self.acked = 0
        self.sent = b""          # all input so far
        self.input_acked = 0
        self.client = (reattach or {}).get("client", "test")
        self.opened = None
        self.sizes = []
        self.views = False
        if argv is not None:
            members["argv"] = list(argv)
        self._connect({"kind": "exec", "sandboxId": self.sandbox_id, "reattach": {"client": self.client, **(reattach or {})},
                       **members})

    @classmethod
    def attached(cls, base_url, api_key, sandbox, session_id, timeout=60, client="other", **members):
        """Joins a session that another client has begun."""
        self = cls.__new__(cls)
        self._where, self.timeout = (base_url, api_key), timeout
        self.sandbox_id = sandbox["id"] if isinstance(sandbox, dict) else sandbox
        self.result, self.session_id, self.client = ExecResult(), session_id, client
        self.output = self.acked = self.input_acked = 0
        self.sent, self.opened, self.sizes = b"", None, []
        self.views = members.get("mode") == "view"
        self._connect({"kind": "attach", "sandboxId": self.sandbox_id, "sessionId": session_id, "client": client, **members})
        return self

    def _connect(self, frame):
        self.socket = RawSession(*self._where, timeout=self.timeout)
        self.opened = self.result.error = None
        self.socket.send(OPEN, frame)

    def next(self):
        """Takes one frame; None when this connection is over."""
        frame = self.socket.receive()
        if frame is None:
            self.result.close_code = self.socket.close_code
            return None
        kind, payload = frame
        if kind == OPENED:
            self.opened = json.loads(payload)
            self.session_id = self.opened["sessionId"]
            start = self.opened.get("reattach")
            if start:
                self.missed = start["outputOffset"] - self.output
                self.output = self.acked = start["outputOffset"]
                if rest := self.sent[start["inputOffset"]:]:
                    self.socket.send_stdin(rest)
        elif kind in (STDOUT, STDERR):
            assert self.opened and payload
            self.output += len(payload)
            if kind == STDOUT:
                self.result.stdout += payload
            else:
                self.result.stderr += payload
            if not self.views and self.output - self.acked >= ACK_EVERY:
                self.ack()
        elif kind == INPUT_ACK:
            self.input_acked = json.loads(payload)["offset"]
        elif kind == RESIZED:
            self.sizes.append(json.loads(payload))
        elif kind == EXIT:
            ending = json.loads(payload)
            self.result.code, self.result.signal = ending.get("code"), ending.get("signal")
        elif kind == ERROR:
            self.result.error = json.loads(payload)
        else:
            raise AssertionError(f"unknown frame type {kind:#x}")
        return frame

    def ack(self):
        self.acked = self.output
        self.socket.send(ACK, {"offset": self.output})

    def write(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.sent += data
        self.socket.send_stdin(data)

    def wait_opened(self):
        while self.opened is None:
            assert self.next() is not None, f"closed before opened: {self.result}"
            assert self.result.error is None, f"refused: {self.result.error}"
        return self.opened

    def read_until(self, needle):
        needle = needle.encode() if isinstance(needle, str) else needle
        while needle not in self.result.stdout:
            assert self.next() is not None, f"closed before {needle!r}: {self.result}"
        return self.result.stdout

    def finish(self):
        while self.next() is not None:
            pass
        return self.result

    def leave(self, how):
        self.socket.send(LEAVE, {"how": how})

    def drop(self):
        self.socket.drop()

    def reattach(self, **members):
        """On a new connection, from the next byte on."""
        self.socket.close()
        self._connect({"kind": "attach", "sandboxId": self.sandbox_id, "sessionId": self.session_id, "client": self.client,
                       "outputOffset": self.output, **members})
        return self

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
