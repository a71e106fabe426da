"""The harness tests itself: what other tests trust must not be wrong in the comfortable direction."""

import base64
import hashlib
import json
import socket
import threading

import pytest

from harness import sessions
from harness.api import check_problem
from harness.processes import ManagedProcess, free_port
from harness.waiting import assert_stays, wait_until


def test_wait_until_returns_the_first_true_value():
    values = iter([0, None, "there"])
    assert wait_until(lambda: next(values), timeout=5) == "there"


def test_wait_until_tells_the_last_error():
    def broken():
        raise ValueError("not yet")
    with pytest.raises(AssertionError, match="the moon.*not yet"):
        wait_until(broken, timeout=0.05, what="the moon")


def test_assert_stays_fails_when_it_changes():
    values = iter([True, False])
    with pytest.raises(AssertionError):
        assert_stays(lambda: next(values), 5)


def test_free_ports_are_never_the_same():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == len(ports)


def test_process_can_be_killed_and_started_again(tmp_path):
    process = ManagedProcess("sleeper", ["sh", "-c", "echo up; exec sleep 1000"], tmp_path / "log")
    process.start()
    process.wait_for_log("up")
    process.kill()
    assert process.returncode == -9
    process.start()
    wait_until(lambda: process.log_text().count("up") == 2)
    assert process.stop() == -15
    assert "up" in process.log_tail()


def test_process_that_ignores_sigterm_is_an_error(tmp_path):
    process = ManagedProcess("stubborn", ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], tmp_path / "log")
    process.start()
    process.wait_for_log("up")
    with pytest.raises(AssertionError, match="did not stop"):
        process.stop(timeout=0.3)
    assert not process.alive


class FakeResponse:
    def __init__(self, status, body, content_type="application/problem+json"):
        self.status_code, self._body, self.text = status, body, json.dumps(body)
        self.headers = {"Content-Type": content_type, "X-Request-Id": "req_0123456789abcdefghjk"}

    def json(self):
        return self._body


def problem(**changes):
    return {"type": "https://gstacks.dev/problems/not_found", "title": "Not found", "status": 404, "detail": "d", "instance": "/api/x",
            "code": "not_found", "requestId": "req_0123456789abcdefghjk", **changes}


def test_a_proper_problem_passes():
    assert check_problem(FakeResponse(404, problem()), 404, "not_found")["title"] == "Not found"


@pytest.mark.parametrize("body", [
    problem(status=400), problem(code="other"), problem(requestId="req_1"), {k: v for k, v in problem().items() if k != "detail"},
])
def test_an_improper_problem_fails(body):
    with pytest.raises(AssertionError):
        check_problem(FakeResponse(404, body))


class FakeSessionServer:
    """One WebSocket connection: takes the first message, then plays prepared messages."""

    def __init__(self, messages):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.messages, self.request, self.first = messages, b"", None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        connection, _ = self.listener.accept()
        with connection:
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(4096)
            key = next(line.split(b": ")[1] for line in self.request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               b"Sec-WebSocket-Protocol: gstacks.session.v1\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
            self.first = connection.recv(4096)
            for opcode, payload in self.messages:
                connection.sendall(bytes([0x80 | opcode, 126]) + len(payload).to_bytes(2, "big") + payload)
            while connection.recv(4096):
                pass


def frame(kind, payload=b""):
    return 2, bytes([kind]) + (payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def close(code):
    return 8, code.to_bytes(2, "big")


OPENED = frame(sessions.OPENED, {"sessionId": "ses_0123456789abcdefghjk"})


def run(messages):
    server = FakeSessionServer(messages)
    with sessions.ExecSession(server.url, "gsk_x", "sbx_0123456789abcdefghjk", ["true"], timeout=5) as session:
        return session.run(), server


def test_exec_collects_output_and_exit_code():
    result, server = run([OPENED, frame(sessions.STDOUT, b"out"), frame(sessions.STDERR, b"err"), frame(sessions.STDOUT, b"put"),
                          frame(sessions.EXIT, {"code": 3}), close(1000)])
    assert (result.code, result.out, result.err, result.close_code) == (3, "output", "err", 1000)
    assert b"Authorization: Bearer gsk_x" in server.request and b"gstacks.session.v1" in server.request


def test_exec_reports_a_signal():
    result, _ = run([OPENED, frame(sessions.EXIT, {"signal": "KILL"}), close(1000)])
    assert (result.code, result.signal) == (None, "KILL")


def test_exec_reports_an_error_with_its_close_code():
    result, _ = run([frame(sessions.ERROR, problem()), close(4404)])
    assert (result.error["code"], result.close_code) == ("not_found", 4404)


@pytest.mark.parametrize("messages", [
    [OPENED, frame(sessions.EXIT, {"code": 0}), close(4500)],
    [frame(sessions.ERROR, problem()), close(1000)],
    [frame(sessions.STDOUT, b"early"), close(1000)],
    [OPENED, OPENED, close(1000)],
    [OPENED, frame(sessions.EXIT, {"code": 0}), frame(sessions.STDOUT, b"late"), close(1000)],
    [OPENED, frame(0x77), close(1000)],
    [OPENED, frame(sessions.EXIT, {"code": 0, "signal": "KILL"}), close(1000)],
])
def test_a_server_that_breaks_the_contract_is_noticed(messages):
    with pytest.raises(AssertionError):
        run(messages)
