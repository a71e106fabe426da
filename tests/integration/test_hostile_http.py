"""HTTP and session requests that nobody should send: answered or cut off with a reason, in bounded memory, and never harmful."""

import json
import socket
import time

import pytest
import websocket

from harness.api import check_problem
from harness.sessions import OPEN, RawSession
from harness.waiting import wait_until

MAX_JSON_BODY = 65536


def raw_exchange(server, data, timeout=15):
    """Sends bytes to the HTTP port and returns everything that comes back until the server closes, or b"" if it only closes."""
    with socket.create_connection(("127.0.0.1", server.http_port), timeout) as connection:
        received = b""
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                received += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


def authorization(stack):
    return f"Authorization: Bearer {stack.server.api_key}\r\n".encode()


@pytest.mark.parametrize("data", [
    b"\x00\x01\x02\x03" * 1000,
    b"GET\r\n\r\n",
    b"GET /api/health HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET /api/health\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /api/health HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /api/clusters HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /api/clusters HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
], ids=["binary", "no target", "unknown version", "NUL in the target", "space in a header name", "negative length", "enormous length",
        "two ways of length", "two lengths", "TLS to the plain port"])
def test_what_is_not_http_is_answered_400_or_cut_off(control_plane, data):
    answer = raw_exchange(control_plane.server, data)
    assert answer == b"" or status_of(answer) in (400, 501, 505), answer[:300]
    assert control_plane.api.get("/api/health")["status"] == "ok"


def test_a_header_block_over_its_limit_is_refused(control_plane):
    answer = raw_exchange(control_plane.server, b"GET /api/health HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 200_000 + b"\r\n\r\n")
    assert answer == b"" or status_of(answer) in (400, 413, 431)


def test_a_target_over_its_limit_is_refused(control_plane):
    answer = raw_exchange(control_plane.server, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer == b"" or status_of(answer) in (400, 414, 431)


def test_a_body_over_its_limit_is_refused_before_it_is_read(control_plane):
    head = (b"POST /api/clusters HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + authorization(control_plane) +
            b"Content-Length: 1000000000\r\n\r\n")
    started = time.monotonic()
    answer = raw_exchange(control_plane.server, head + b"x" * 100_000)
    assert status_of(answer) == 413 and b"resource_exhausted" in answer
    assert time.monotonic() - started < 5


def test_a_chunked_body_is_counted_as_it_flows(control_plane):
    def endless():
        for _ in range(1000):
            yield b"x" * 1000
    response = control_plane.api.raw("POST", "/api/clusters", data=endless(), headers={"Content-Type": "application/json"})
    check_problem(response, 413, "resource_exhausted")


@pytest.mark.parametrize("body", [
    b"", b"{", b"nonsense", b"\xff\xfe", b'{"name":"a","name":"b","kind":"byo"}', b"[" * 60_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"name":"a\\u0000b","kind":"byo"}', b'{"name":"x","kind":"byo","extra":1}', b'{"name":null,"kind":"byo"}', b"1e999999",
    b'{"name":"' + b"a" * 60_000 + b'","kind":"byo"}', b'"just a string"', b'{"name":"\xc3\x28","kind":"byo"}',
], ids=["nothing", "cut off", "no JSON", "no UTF-8", "a member twice", "deep arrays", "deep objects", "a NUL", "an unknown member", "null",
        "a huge number", "a long string", "no object", "broken UTF-8 in a string"])
def test_a_bad_json_body_is_a_400_that_says_where(control_plane, body):
    response = control_plane.api.raw("POST", "/api/clusters", data=body, headers={"Content-Type": "application/json"})
    problem = check_problem(response, 400, "invalid_argument")
    assert problem["detail"]


def test_a_garbage_api_key_is_401_and_not_repeated(control_plane):
    for key in ("x", "gsk_" + "0" * 20 + "_" + "A" * 43, "gsk_" * 1000, "\xff\xfe"):
        response = control_plane.api.raw("GET", "/api/whoami", headers={"Authorization": f"Bearer {key}"})
        check_problem(response, 401, "unauthenticated")
        assert key == "x" or key not in response.text


def test_clients_that_do_not_get_on_with_it_are_cut_off_after_ten_seconds_and_hold_up_nobody(control_plane):
    """Half a request line, and a session without its first frame, at the same time."""
    slow = [socket.create_connection(("127.0.0.1", control_plane.server.http_port), 15) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"GET /api/hea")
        with RawSession(control_plane.server.base_url, control_plane.server.api_key, timeout=15) as session:
            started = time.monotonic()
            for _ in range(20):
                control_plane.api.get("/api/whoami")
            assert time.monotonic() - started < 2
            assert session.receive_until_closed()[-1][0] == 0x14
            assert session.close_code == 4408 and 8 < time.monotonic() - started < 13
        for connection in slow:
            try:
                while connection.recv(1000):
                    pass
            except ConnectionResetError:
                pass
        assert time.monotonic() - started < 14
    finally:
        for connection in slow:
            connection.close()


def test_an_agent_listener_that_gets_plain_http_cuts_it_off(control_plane):
    with socket.create_connection(("127.0.0.1", control_plane.server.agent_port), 15) as connection:
        connection.sendall(b"GET /agent/v1/link HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        try:
            while piece := connection.recv(1000):
                answer += piece
        except ConnectionResetError:
            pass
    assert b"HTTP/1.1 2" not in answer


@pytest.mark.parametrize("path", ["/agent/v1/enroll", "/agent/v1/renew"])
@pytest.mark.parametrize("body, statuses", [(b"", (400, 401)), (b"\xff" * 1000, (400, 401)), (b"\x0a\xff\xff\xff\xff\x0f", (400, 401)),
                                            (b"x" * 300_000, (400, 413, 429))],
                         ids=["empty", "garbage", "a length beyond the end", "oversized"])
def test_garbage_at_enrollment_and_renewal_is_refused(control_plane, door, path, body, statuses):
    try:
        status, _ = door.post(path, body)
    except (ConnectionResetError, BrokenPipeError):
        status = statuses[0]  # cut off while the oversized body was being sent
    assert status in statuses


def test_a_storm_of_bad_requests_leaves_the_server_small_and_serving(control_plane):
    server = control_plane.server.process

    def storm(count):
        for i in range(count):
            with socket.create_connection(("127.0.0.1", control_plane.server.http_port)) as connection:
                try:
                    if i % 3 == 0:
                        connection.sendall(b"A" * 300_000)
                    elif i % 3 == 1:
                        connection.sendall(b"POST /api/blueprints?name=storm HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n" +
                                           authorization(control_plane) + b"Content-Length: 30000000000\r\n\r\n" + b"\0" * 100_000)
                    else:
                        connection.sendall(b"POST /api/clusters HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" +
                                           authorization(control_plane) + b"Content-Length: 60000\r\n\r\n" + b"[" * 50_000)
                except OSError:
                    pass

    storm(60)
    settled = server.rss_bytes()
    storm(300)
    grown = server.rss_bytes() - settled
    assert grown < 32 << 20, f"{grown >> 20} MiB more after 300 bad requests"
    assert control_plane.api.get("/api/health")["status"] == "ok"
    uploads = control_plane.server.data_dir / "uploads"
    wait_until(lambda: not list(uploads.iterdir()), 10, "the broken uploads being removed")


# The session WebSocket: what a client can do wrong before and in the first frame


def closed_after(stack, frame_type, payload, text=False):
    with RawSession(stack.server.base_url, stack.server.api_key, timeout=15) as session:
        if text:
            session.socket.send("text")
        elif frame_type is None:
            session.socket.send_binary(b"")
        else:
            session.send(frame_type, payload)
        frames = session.receive_until_closed()
        return session.close_code, frames


@pytest.mark.parametrize("frame_type, payload, code", [
    (0x01, b"data first", 1002), (0x55, b"", 1002), (0x04, b"", 1002), (0x13, b"{}", 1002), (None, b"", 1002),
    (OPEN, b"", 4400), (OPEN, b"not json", 4400), (OPEN, b"[]", 4400), (OPEN, b"\xff\xff", 4400),
    (OPEN, b'{"kind":"exec","sandboxId":"x","argv":[]}', 4400),
    (OPEN, b'{"kind":"shell","sandboxId":"x","argv":["a"]}', 4400),
    (OPEN, b'{"kind":"exec","sandboxId":"x","argv":["a"],"more":1}', 4400),
    (OPEN, b'{"kind":"exec","sandboxId":"x","argv":["a\\u0000"]}', 4400),
    (OPEN, b'{"kind":"exec","sandboxId":"sbx_00000000000000000000","argv":["a"]}', 4404),
    (OPEN, b"x" * 65_537, 1009), (OPEN, b"x" * 10_000_000, 1009),
], ids=["stdin first", "unknown type", "reserved type", "the server's type", "an empty message", "empty open", "no JSON", "no object",
        "no UTF-8", "no program", "unknown kind", "unknown member", "NUL", "unknown sandbox", "one byte too long", "far too long"])
def test_a_bad_first_session_frame_is_closed_with_its_code(control_plane, frame_type, payload, code):
    try:
        closed, frames = closed_after(control_plane, frame_type, payload)
    except (ConnectionError, BrokenPipeError):
        assert code == 1009, "only a sender of megabytes may be cut off while it sends"
        return
    assert closed == code or (code == 1009 and closed is None)
    if code >= 4000:
        problem = json.loads(frames[-1][1])
        assert frames[-1][0] == 0x14 and problem["status"] == code - 4000


def test_a_text_message_is_closed_with_1003(control_plane):
    assert closed_after(control_plane, None, b"", text=True)[0] == 1003


@pytest.mark.parametrize("options, status", [
    (dict(api_key=None), 401), (dict(api_key="gsk_" + "0" * 20 + "_" + "A" * 43), 401), (dict(subprotocols=("other.v1",)), 400)])
def test_a_session_is_refused_before_the_upgrade_with_an_ordinary_status(control_plane, options, status):
    options = {"api_key": control_plane.server.api_key, **options}
    with pytest.raises(websocket.WebSocketBadStatusException) as refusal:
        RawSession(control_plane.server.base_url, **options)
    assert refusal.value.status_code == status


def test_a_session_without_an_upgrade_is_426(control_plane):
    control_plane.api.problem("GET", "/api/sessions", 426, "failed_precondition")
