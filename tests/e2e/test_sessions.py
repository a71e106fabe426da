"""Sessions that survive what happens around them: by the protocol, byte for byte."""

import re

import pytest
import websocket

from harness.durable import DurableSession
from harness.sessions import OPEN, RESIZE, RawSession
from harness.terminal import Terminal
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def box(shared_stack):
    """One running sandbox for all tests here that leave it as it is."""
    shared_stack.wait_connected()
    sandbox = shared_stack.api.create_sandbox("busybox", name="session-box")
    yield sandbox
    shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture
def begin(shared_stack, box):
    """begin(argv, grace=60, …): a session that can be attached to; dropped and ended at the end."""
    opened = []

    def start(argv=None, grace=60, client="test", **members):
        session = DurableSession(shared_stack.server.base_url, shared_stack.server.api_key, box, argv,
                                 reattach={"graceSeconds": grace, "client": client}, **members)
        opened.append(session)
        session.wait_opened()
        return session
    yield start
    for session in opened:
        session.close()
        shared_stack.api.raw("DELETE", f"/api/sandboxes/{box['id']}/sessions/{session.session_id}")


@pytest.fixture
def join(shared_stack, box):
    """join(session, mode=…): another client of it, under another name unless told."""
    opened = []

    def attach(session, **members):
        other = DurableSession.attached(shared_stack.server.base_url, shared_stack.server.api_key, box,
                                        getattr(session, "session_id", session), **members)
        opened.append(other)
        return other
    yield attach
    for session in opened:
        session.close()


@pytest.fixture
def sessions(shared_stack, box):
    """sessions(id=None): what the list says, of all or of one."""
    def look(session=None):
        items = shared_stack.api.get(f"/api/sandboxes/{box['id']}/sessions")["items"]
        return items if session is None else next((item for item in items if item["id"] == session.session_id), None)
    return look


def counter(last):
    return ["sh", "-c", f"echo pid $$; i=0; while [ $i -lt {last} ]; do i=$((i+1)); echo $i; done; read -r line; echo $line; exit 5"]


def test_goes_on_at_the_exact_byte_with_the_same_process(begin):
    session = begin(counter(20000))
    for _ in range(5):
        session.next()
        session.drop()
        session.reattach().wait_opened()
        assert session.missed == 0
    session.read_until("\n20000\n")
    session.write("done\n")
    session.drop()
    result = session.reattach().finish()
    lines = result.out.splitlines()
    assert lines[1:] == [str(i + 1) for i in range(20000)] + ["done"] and result.code == 5


def test_both_streams_are_one_sequence(begin):
    session = begin(["sh", "-c", "echo out; echo err >&2; read -r x; echo out2; echo err2 >&2"])
    session.read_until("out\n")
    while b"err\n" not in session.result.stderr:
        session.next()
    session.drop()
    session.reattach().wait_opened()
    session.write("\n")
    result = session.finish()
    assert (result.out, result.err) == ("out\nout2\n", "err\nerr2\n")


def test_input_is_neither_lost_nor_doubled(begin):
    session = begin(["sh", "-c", "sleep 0.3; cat"])
    expected = b""
    for round_number in range(4):
        data = bytes([65 + round_number]) * 40000
        session.write(data)
        expected += data
        session.drop()
        session.reattach().wait_opened()
    session.socket.send_eof()
    assert session.finish().stdout == expected


def test_program_waits_for_a_client_that_is_away_and_nothing_is_dropped(begin):
    size = 3 << 20
    session = begin(["sh", "-c", f"head -c {size} /dev/zero; echo end"])
    session.drop()
    result = session.reattach().finish()
    assert len(result.stdout) == size + 4 and result.code == 0


def test_program_that_does_not_read_is_not_stuck_behind_its_own_output(begin):
    """Acknowledgements come behind input on the same connection."""
    session = begin(["sh", "-c", "head -c 1000000 /dev/zero; cat | wc -c"])
    session.socket.send_stdin(b"x" * 262144)
    session.socket.send_eof()
    assert session.finish().out.endswith("262144\n")


def test_exit_is_kept_for_a_late_client(begin, sessions):
    session = begin(["sh", "-c", "echo bye; kill -9 $$"])
    session.drop()
    wait_until(lambda: sessions(session)["state"] == "ended", 10, "the end")
    assert sessions(session)["exit"] == {"signal": "KILL"}
    result = session.reattach().finish()
    assert (result.out, result.signal, result.close_code) == ("bye\n", "KILL", 1000)


def test_start_error_is_part_of_the_output(begin):
    session = begin(["/no/such/program"])
    result = session.finish()
    assert result.code == 127 and b"/no/such/program" in result.stderr
    again = session.reattach().finish()
    assert again.code == 127 and again.stderr == result.stderr


def test_is_hung_up_when_the_grace_time_is_over(begin, sessions, shared_stack, box, processes_of):
    session = begin(["sleep", "6666"], grace=0)
    session.drop()
    wait_until(lambda: "sleep 6666" not in processes_of(shared_stack.api, box), 10, "its end")
    wait_until(lambda: sessions(session)["state"] == "ended", 10, "its end")
    assert sessions(session)["exit"] == {"signal": "HUP"}


def test_leaving_hangs_up_at_once(begin, shared_stack, box, processes_of):
    session = begin(["sleep", "6667"], grace=3600)
    session.leave("hang_up")
    session.finish()
    assert session.result.close_code == 1000
    wait_until(lambda: "sleep 6667" not in processes_of(shared_stack.api, box), 10, "its end")


def test_terminal_keeps_its_size_and_is_resized_after(begin):
    session = begin(["sh"], terminal={"rows": 30, "columns": 90})
    session.drop()
    opened = session.reattach().wait_opened()
    assert opened["terminal"] == {"rows": 30, "columns": 90}
    session.socket.send(RESIZE, {"rows": 31, "columns": 91})
    session.write("stty size\n")
    session.read_until("31 91")


def test_detached_one_never_waits_and_keeps_the_newest(begin, join, sessions):
    session = begin(["sh", "-c", "head -c 5000000 /dev/zero; echo; echo the end; read -r x; exit 4"])
    session.leave("detach")
    session.finish()
    assert session.result.close_code == 1000
    wait_until(lambda: sessions(session)["outputBytes"] == 5000009, 10, "all of its output")
    assert sessions(session)["state"] == "detached"
    other = join(session)
    assert other.wait_opened()["reattach"]["outputOffset"] > 4_700_000
    other.read_until("the end\n")
    other.write("\n")
    assert other.finish().code == 4


def test_begins_detached(shared_stack, box, join):
    session = DurableSession(shared_stack.server.base_url, shared_stack.server.api_key, box,
                             ["sh", "-c", "echo hello; read -r x; exit 3"], reattach={"detached": True})
    session.wait_opened()
    assert session.finish().close_code == 1000
    other = join(session)
    other.read_until("hello")
    other.write("\n")
    assert other.finish().code == 3


def test_one_writes_unless_it_is_taken_over(begin, join):
    session = begin(["sh", "-c", "read -r line; echo got $line"])
    refused = join(session).finish()
    assert (refused.error["reason"], refused.close_code) == ("session_in_use", 4409)
    other = join(session, mode="take_over")
    other.wait_opened()
    lost = session.finish()
    assert (lost.error["reason"], lost.close_code) == ("session_taken_over", 4409)
    other.write("mine\n")
    assert other.finish().out == "got mine\n"


def test_viewers_see_all_and_change_nothing(begin, join, sessions):
    session = begin(["sh", "-c", "echo first; read -r line; echo got $line"])
    session.read_until("first\n")
    viewers = [join(session, mode="view") for _ in range(2)]
    for viewer in viewers:
        viewer.read_until("first\n")
        viewer.write("theirs\n")
        viewer.leave("hang_up")
    assert sessions(session)["state"] == "attached"
    late = join(session, mode="view")
    late.wait_opened()
    session.write("ours\n")
    assert session.finish().out == late.finish().out == "first\ngot ours\n"


def test_ninth_viewer_is_refused(begin, join, sessions):
    session = begin(["cat"])
    for _ in range(8):
        join(session, mode="view").wait_opened()
    assert sessions(session)["viewers"] == 8
    assert join(session, mode="view").finish().close_code == 4429


def test_viewer_that_is_too_slow_is_cut_and_delays_nobody(begin, join):
    session = begin(["sh", "-c", "read -r x; head -c 67108864 /dev/zero; echo end"])
    viewer = join(session, mode="view")
    viewer.wait_opened()
    session.write("\n")
    received = 0
    while session.next() is not None:  # the viewer reads nothing meanwhile
        received += len(session.result.stdout)
        session.result.stdout = b""
    assert received == 67108868 and session.result.code == 0
    assert viewer.finish().error["reason"] == "viewer_too_slow"


def test_list_and_close(begin, sessions, shared_stack, box):
    session = begin(["sleep", "6668"], terminal={"rows": 24, "columns": 80})
    found = sessions(session)
    assert (found["program"], found["state"], found["terminal"]) == ("sleep", "attached", {"rows": 24, "columns": 80})
    assert found["createdBy"] == shared_stack.api.get("/api/whoami")["user"]["id"]
    path = f"/api/sandboxes/{box['id']}/sessions/{session.session_id}"
    assert shared_stack.api.raw("DELETE", path).status_code == 204
    assert session.finish().signal == "HUP"
    assert shared_stack.api.raw("DELETE", path).status_code == 204  # forgets it
    wait_until(lambda: sessions(session) is None, 5, "it being forgotten")
    assert shared_stack.api.raw("DELETE", path).status_code == 404


def test_ack_of_what_was_never_sent_ends_the_connection_only(begin):
    session = begin(["cat"])
    session.socket.send(0x05, {"offset": 1})
    assert session.finish().close_code == 4503
    session.reattach().wait_opened()


def test_frames_of_such_sessions_are_violations_elsewhere(shared_stack, box):
    for frame, payload in ((0x05, {"offset": 0}), (0x06, {"how": "detach"})):
        with shared_stack.api.open_exec(box, ["cat"]) as session:
            session.wait_opened()
            session.send(frame, payload)
            assert session.receive() is None and session.close_code == 1002


def test_other_tenants_do_not_find_it(begin, shared_stack, box):
    session = begin(["cat"])
    key = shared_stack.server.create_tenant("strangers")
    stranger = DurableSession.attached(shared_stack.server.base_url, key, box, session.session_id)
    assert stranger.finish().close_code == 4404
    theirs = shared_stack.client(key)
    assert theirs.raw("GET", f"/api/sandboxes/{box['id']}/sessions").status_code == 404
    assert theirs.raw("DELETE", f"/api/sandboxes/{box['id']}/sessions/{session.session_id}").status_code == 404


# --- Pages in browsers ----------------------------------------------------------------------------------------------------

CONSOLE = "https://console.example"


@pytest.fixture
def ticket(shared_stack, box):
    """ticket(session, mode="write"): one for that session, by the key of the administrator."""
    def make(session, **body):
        return shared_stack.api.post(f"/api/sandboxes/{box['id']}/sessions/{session.session_id}/attach-tickets", body, expect=201)["ticket"]
    return make


@pytest.fixture
def page(shared_stack, box):
    """page(ticket, session, mode=…): attaches as a page does; gives the raw session."""
    opened = []

    def attach(ticket, session, origin=CONSOLE, **members):
        raw = RawSession(shared_stack.server.base_url, None, ticket=ticket, origin=origin)
        opened.append(raw)
        raw.send(OPEN, members.pop("frame", None) or {"kind": "attach", "sandboxId": box["id"], "sessionId": session.session_id, **members})
        return raw
    yield attach
    for raw in opened:
        raw.close()


def refusal(page, *args, **members):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        page(*args, **members)
    return refused.value.status_code


def test_a_ticket_attaches_a_page_once(begin, ticket, page):
    session = begin(["cat"])
    made = ticket(session, mode="view")
    assert page(made, session, mode="view").receive()[0] == 0x10
    assert refusal(page, made, session) == 401


def test_a_page_of_another_origin_gets_in_neither_by_ticket_nor_by_key(begin, ticket, page, shared_stack):
    session = begin(["cat"])
    for origin in ("https://console.example.evil", "http://console.example", shared_stack.server.base_url, "null", None):
        assert refusal(page, ticket(session), session, origin=origin) == 403
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        RawSession(shared_stack.server.base_url, shared_stack.server.api_key, origin="https://elsewhere.example")
    assert refused.value.status_code == 403


def test_a_ticket_is_for_its_session_and_what_was_asked_for(begin, ticket, page, box):
    session, other = begin(["cat"]), begin(["cat"], client="two")
    begins = {"kind": "exec", "sandboxId": box["id"], "argv": ["id"]}
    for attempt in (page(ticket(session), other), page(ticket(session, mode="view"), session, mode="take_over"),
                    page(ticket(session), session, mode="take_over"), page(ticket(session), session, frame=begins)):
        assert attempt.receive()[0] == 0x14 and attempt.receive() is None and attempt.close_code == 4403
    assert page(ticket(session, mode="take_over"), session, mode="take_over").receive()[0] == 0x10
    assert session.finish().error["reason"] == "session_taken_over"


def test_a_made_up_ticket_is_no_key(page, begin):
    session = begin(["cat"])
    for made_up in ("gst_" + "A" * 43, "gst_", "x"):
        assert refusal(page, made_up, session) == 401


# --- gstacks sandbox exec -d, sessions, attach, close-session --------------------------------------------------------------


@pytest.fixture(scope="module")
def cli(shared_stack):
    return shared_stack.cli()


@pytest.fixture
def on_terminal(cli):
    """A function that starts gstacks on a terminal of its own, logged in."""
    opened = []

    def start(*words, **members):
        one = Terminal("--config-file", cli.config_file, *words, **members)
        opened.append(one)
        return one
    yield start
    for one in opened:
        one.end()


def test_detached_program_is_listed_attached_to_and_gives_its_exit_code(cli, box):
    session = cli.run("-q", "sandbox", "exec", "-d", box["name"], "--", "sh", "-c", "echo working; read -r x; echo got $x; exit 6").strip()
    assert session in cli.run("-q", "sandbox", "sessions", box["name"]).split()
    assert "detached" in cli.run("sandbox", "sessions", box["name"])
    done = cli.try_run("sandbox", "attach", box["name"], session, stdin="it\n")
    assert (done.stdout, done.returncode) == ("working\ngot it\n", 6)
    again = cli.try_run("sandbox", "attach", "--view", box["name"], session)
    assert again.returncode == 6 and again.stdout.endswith("got it\n")
    cli.run("sandbox", "close-session", box["name"], session)
    assert session not in cli.run("-q", "sandbox", "sessions", box["name"])
    assert cli.try_run("sandbox", "attach", box["name"], session).returncode == 125


def test_a_terminal_is_left_running_and_joined_again(on_terminal, cli, box):
    ours = on_terminal("sandbox", "ssh", box["name"])
    ours.read_until("#")
    ours.write("echo first; sleep 0.1\r")
    ours.read_until("\nfirst")
    ours.write("\r~&")
    assert ours.wait() == 0 and ours.is_cooked()
    session = re.search(r"attach \S+ (ses_\w+)", ours.shown).group(1)
    again = on_terminal("sandbox", "attach", box["name"], session, rows=33, columns=99)
    again.read_until("\nfirst")  # what was there before
    again.write("stty size\r")
    again.read_until("33 99")
    again.write("exit 3\r")
    assert again.wait() == 3
    cli.run("sandbox", "close-session", box["name"], session)


def test_who_is_taken_over_hears_it_and_does_not_come_back(on_terminal, cli, box, sessions):
    ours = on_terminal("sandbox", "ssh", box["name"])
    ours.read_until("#")
    session, = [item["id"] for item in sessions() if item["state"] == "attached"]
    refused = cli.try_run("sandbox", "attach", box["name"], session)
    assert refused.returncode == 125 and "another client writes" in refused.stderr and "fix:" in refused.stderr
    other = on_terminal("sandbox", "attach", "--take-over", box["name"], session)
    assert ours.wait() == 125 and "taken the session over" in ours.shown and ours.is_cooked()
    other.write("\r~.")
    assert other.wait() == 125
