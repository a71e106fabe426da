"""Running programs in a sandbox: bytes, exit codes, signals, users, many at once."""

import concurrent.futures
import hashlib
import json
import os
import threading
import time

import pytest

from harness.sessions import EXIT, MAX_PAYLOAD, STDIN, STDOUT
from harness.waiting import hold, wait_until


@pytest.fixture(scope="module")
def box(shared_stack):
    """One running sandbox for all tests here that leave it as it is."""
    shared_stack.wait_connected()
    sandbox = shared_stack.api.create_sandbox("busybox", name="exec-box", env={"FROM_SANDBOX": "yes", "BOTH": "sandbox"})
    yield sandbox
    shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture
def api(shared_stack):
    return shared_stack.api


def test_stdout_and_stderr_come_apart_and_the_exit_code_is_the_programs(api, box):
    result = api.exec(box, ["sh", "-c", "echo out; echo err >&2; exit 42"])
    assert (result.out, result.err, result.code, result.close_code) == ("out\n", "err\n", 42, 1000)


@pytest.mark.parametrize("code", [0, 1, 125, 126, 127, 128, 200, 255])
def test_every_exit_code_arrives(api, box, code):
    assert api.exec(box, ["sh", "-c", f"exit {code}"]).code == code


def test_stdin_arrives_and_its_end_too(api, box):
    assert api.exec(box, ["wc", "-c"], stdin="12345").check().strip() == "5"
    assert api.exec(box, ["cat"], stdin=b"").stdout == b""


def test_all_byte_values_pass_unchanged_both_ways(api, box):
    data = bytes(range(256)) * 16
    assert api.exec(box, ["cat"], stdin=data).stdout == data
    assert api.exec(box, ["sh", "-c", "cat >&2"], stdin=data).stderr == data


def test_arguments_are_passed_exactly_and_no_shell_looks_at_them(api, box):
    arguments = ["", " ", "a b", "$HOME", "`id`", "*", "'\"\\", "ü€𝄞", "-n", "line\nbreak", "x" * 20_000]
    result = api.exec(box, ["sh", "-c", 'for a in "$@"; do printf "%s\\0" "$a"; done', "sh", *arguments])
    assert result.out.split("\0")[:-1] == arguments


def test_sessions_live_on_when_one_side_or_both_have_nothing_to_say(api, box):
    # Longer than any side waits before it asks whether the other is there.
    script = "i=0; while [ $i -lt 260 ]; do echo $i; i=$((i + 1)); sleep 0.1; done"
    with api.open_exec(box, ["sleep", "26"]) as silent, api.open_exec(box, ["sh", "-c", script]) as talking, \
            api.open_exec(box, ["wc", "-c"]) as listening:
        for _ in range(26):
            listening.send_stdin(b"x" * 1000)
            hold(1)
        listening.send_eof()
        assert listening.finish().check().strip() == "26000"
        assert silent.finish().code == 0
        assert talking.finish().check().splitlines()[-1] == "259"


def test_16_mib_pass_both_ways_at_once(api, box):
    data = os.urandom(1 << 20) * 16
    with api.open_exec(box, ["cat"]) as session:
        session.wait_opened()

        def feed():
            session.send_stdin(data)
            session.send_eof()

        feeder = threading.Thread(target=feed)
        feeder.start()
        result = session.finish()
        feeder.join()
    assert hashlib.sha256(result.stdout).hexdigest() == hashlib.sha256(data).hexdigest() and result.code == 0


def test_a_slow_reader_slows_the_program_down_and_loses_nothing(api, box, shared_stack):
    """64 MiB for a client that does not read: held back in the sandbox, not in the server's or the agent's memory."""
    with api.open_exec(box, ["dd", "if=/dev/zero", "bs=1M", "count=64"]) as session:
        session.wait_opened()
        server, agent = shared_stack.server.process, shared_stack.agent.process
        before = server.rss_bytes(), agent.rss_bytes()
        hold(1)  # the time is the point: the program has it to fill whatever would take its output
        assert server.rss_bytes() - before[0] < 16 << 20 and agent.rss_bytes() - before[1] < 16 << 20
        received, kinds = 0, []
        while (frame := session.receive()) is not None:
            received += len(frame[1]) if frame[0] == STDOUT else 0
            kinds.append(frame[0])
    assert received == 64 << 20 and kinds[-1] == EXIT and session.close_code == 1000


def test_output_of_a_program_that_never_stops_can_be_cut_off(api, box):
    with api.open_exec(box, ["yes"]) as session:
        session.read_until(b"y\n" * 1000)
        session.send_signal("KILL")
        assert session.finish().signal == "KILL"


def test_the_environment_is_that_of_image_sandbox_and_exec_each_over_the_one_before(api, box):
    result = api.exec(box, ["env"], env={"FROM_EXEC": "1", "BOTH": "exec", "EMPTY": ""})
    variables = dict(line.split("=", 1) for line in result.check().splitlines())
    assert variables["PATH"].startswith("/usr/local/sbin") and variables["FROM_SANDBOX"] == "yes"
    assert (variables["FROM_EXEC"], variables["BOTH"], variables["EMPTY"]) == ("1", "exec", "")


def test_the_working_directory_is_the_one_asked_for(api, box):
    assert api.exec(box, ["pwd"]).check() == "/\n"
    assert api.exec(box, ["pwd"], workingDir="/var/tmp").check() == "/var/tmp\n"


@pytest.mark.parametrize("user, expected", [
    ("user", "1000 1000"), ("1000", "1000 1000"), ("nobody", "65534 65534"), ("1000:0", "1000 0"), ("user:nogroup", "1000 65534"),
    ("4321:1234", "4321 1234"), ("0", "0 0")])
def test_the_user_is_the_one_asked_for(api, box, user, expected):
    assert api.exec(box, ["sh", "-c", "echo $(id -u) $(id -g)"], user=user).check().strip() == expected


def test_another_user_has_no_privileges_left(api, box):
    status = api.exec(box, ["cat", "/proc/self/status"], user="user").check()
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


@pytest.mark.parametrize("argv, members, code, word", [
    (["/no/such/program"], {}, 127, "no such"), (["no-such-name"], {}, 127, "no-such-name"), (["/etc/passwd"], {}, 126, "permission"),
    (["/etc"], {}, 126, ""), (["true"], {"workingDir": "/no/such"}, None, "/no/such"),
    (["true"], {"user": "nobody-knows-me"}, None, "nobody-knows-me")])
def test_a_program_that_cannot_start_ends_as_in_a_shell(api, box, argv, members, code, word):
    result = api.exec(box, argv, **members)
    assert result.code in ((code,) if code else (126, 127)), result
    assert word in result.err.lower() and result.err.endswith("\n") and result.err.count("\n") == 1


# Signals


def test_a_signal_reaches_the_program(api, box):
    with api.open_exec(box, ["sh", "-c", "trap 'echo got it; exit 7' USR1; echo ready; while :; do sleep 0.02; done"]) as session:
        session.read_until("ready")
        session.send_signal("USR1")
        result = session.finish()
    assert result.code == 7 and "got it" in result.out


@pytest.mark.parametrize("name", ["TERM", "KILL", "INT", "HUP", "QUIT", "ABRT", "ALRM"])
def test_a_program_that_a_signal_ends_is_told_by_the_signals_name(api, box, name):
    with api.open_exec(box, ["sleep", "1000"]) as session:
        session.wait_opened()
        session.send_signal(name)
        result = session.finish()
    assert (result.signal, result.code) == (name, None)


def test_a_signal_reaches_the_whole_process_group(api, box, processes_of):
    with api.open_exec(box, ["sh", "-c", "sleep 1001 & sleep 1001; echo not reached"]) as session:
        session.wait_opened()
        wait_until(lambda: processes_of(api, box).count("sleep 1001") == 2, 10)
        session.send_signal("KILL")
        assert session.finish().signal == "KILL"
    wait_until(lambda: "sleep 1001" not in processes_of(api, box), 10)


def test_stop_and_continue_work(api, box):
    with api.open_exec(box, ["sh", "-c", "echo $$; exec cat"]) as session:
        pid = session.read_until("\n").decode().strip()
        session.send_signal("STOP")
        wait_until(lambda: "T (stopped)" in api.exec(box, ["cat", f"/proc/{pid}/status"]).out, 10)
        session.send_signal("CONT")
        session.send(STDIN, b"again")
        session.send_eof()
        assert session.finish().out.endswith("again")


# The client goes away


@pytest.mark.parametrize("leave, seconds", [("close", 2001), ("drop", 2002)])
def test_a_client_that_goes_away_takes_its_program_along(api, box, processes_of, leave, seconds):
    session = api.open_exec(box, ["sleep", str(seconds)])
    session.wait_opened()
    assert f"sleep {seconds}" in processes_of(api, box)
    getattr(session, leave)()
    wait_until(lambda: f"sleep {seconds}" not in processes_of(api, box), 5, "the program ending")


def test_a_program_may_clean_up_at_hup_and_is_killed_two_seconds_later(api, box):
    polite = api.open_exec(box, ["sh", "-c", "trap 'echo bye > /tmp/hup; exit' HUP; echo ready; while :; do sleep 0.02; done"])
    stubborn = api.open_exec(box, ["sh", "-c", "trap '' HUP; echo $$; while :; do sleep 0.02; done"])
    polite.read_until("ready")
    pid = stubborn.read_until("\n").decode().strip()
    polite.drop()
    stubborn.drop()
    left = time.monotonic()
    wait_until(lambda: api.exec(box, ["cat", "/tmp/hup"]).out == "bye\n", 5)
    wait_until(lambda: api.exec(box, ["test", "-d", f"/proc/{pid}"]).code == 1, 6, "the stubborn one being killed")
    assert time.monotonic() - left > 1


# Frames within the protocol's bounds, and beyond


def test_the_greatest_frame_passes_and_a_greater_one_closes_the_session(api, box):
    with api.open_exec(box, ["wc", "-c"]) as session:
        session.send(STDIN, b"x" * MAX_PAYLOAD)
        session.send(STDIN, b"")
        session.send_eof()
        assert session.finish().out.strip() == str(MAX_PAYLOAD)
    with api.open_exec(box, ["cat"]) as session:
        session.wait_opened()
        session.send(STDIN, b"x" * (MAX_PAYLOAD + 1))
        assert session.receive_until_closed() == [] and session.close_code == 1009


@pytest.mark.parametrize("frame_type, payload, code", [
    (0x00, b"{}", 1002), (0x55, b"", 1002), (0x11, b"x", 1002), (0x04, b'{"rows":1,"columns":1}', 1002), (0x02, b"payload", 1002), (0x03, b"not json", 1007),
    (0x03, b"\xff\xff", 1007), (0x03, b'{"signal":"NONSENSE"}', 1002), (0x03, b'{"signal":9}', 1002), (0x03, b"{}", 1002)],
    ids=["a second open", "unknown type", "the server's type", "resize", "EOF with a payload", "a signal that is no JSON", "no UTF-8",
         "an unknown signal", "a signal by number", "no signal"])
def test_a_bad_frame_in_a_running_session_closes_it_with_its_code_and_ends_the_program(api, box, processes_of, frame_type, payload, code):
    with api.open_exec(box, ["sleep", "3003"]) as session:
        session.wait_opened()
        session.send(frame_type, payload)
        while session.receive() is not None:
            pass
        assert session.close_code == code, session.close_reason
    wait_until(lambda: "sleep 3003" not in processes_of(api, box), 6, "the program ending")


def test_stdin_for_a_program_that_does_not_read_is_no_error(api, box):
    result = api.exec(box, ["true"], stdin=b"x" * 200_000)
    assert result.code == 0


def test_a_child_that_keeps_the_output_open_does_not_keep_the_session(api, box):
    started = time.monotonic()
    assert api.exec(box, ["sh", "-c", "sleep 4 & echo done"]).check() == "done\n"
    assert time.monotonic() - started < 3


def test_fifty_programs_at_once(api, box):
    def one(i):
        return api.exec(box, ["sh", "-c", f"cat; echo {i}; echo e{i} >&2; exit {i}"], stdin=f"in{i}\n")
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        for i, result in enumerate(pool.map(one, range(50))):
            assert (result.out, result.err, result.code) == (f"in{i}\n{i}\n", f"e{i}\n", i)


def test_a_hundred_short_programs_in_turn_leave_no_zombies_and_no_open_files(api, box, shared_stack):
    agent, server = shared_stack.agent.process, shared_stack.server.process
    for _ in range(10):
        api.exec(box, ["true"]).check()
    before = agent.open_files(), server.open_files()
    for _ in range(100):
        api.exec(box, ["true"]).check()
    wait_until(lambda: agent.open_files() <= before[0] + 3 and server.open_files() <= before[1] + 3, 10)
    states = api.exec(box, ["sh", "-c", "cat /proc/[0-9]*/stat"]).out
    assert ") Z " not in states


# Sandboxes that are not running


def test_exec_into_a_stopped_sandbox_is_refused_with_its_state(stack):
    sandbox = stack.api.create_sandbox("busybox")
    stack.api.stop_sandbox(sandbox["id"])
    result = stack.api.exec(sandbox, ["true"], waitMs=5000)
    assert result.error["code"] == "failed_precondition" and "stopped" in result.error["detail"] and result.close_code == 4409


def test_exec_into_a_failed_or_unknown_sandbox_is_refused(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False, command=["/no/such"])
    stack.api.wait_sandbox(sandbox["id"], "failed")
    result = stack.api.exec(sandbox, ["true"], waitMs=5000)
    assert result.error["code"] == "failed_precondition" and "workload_start_failed" in json.dumps(result.error)
    assert stack.api.exec("no-such-sandbox", ["true"]).close_code == 4404


def test_exec_can_wait_for_a_sandbox_that_is_on_its_way(stack):
    sandbox = stack.api.create_sandbox("busybox", wait=False)
    assert stack.api.exec(sandbox, ["echo", "first"], waitMs=30_000).check() == "first\n"


def test_exec_without_waiting_into_a_sandbox_on_its_way_is_refused(stack):
    stack.agent.process.pause()
    try:
        sandbox = stack.api.create_sandbox("busybox", wait=False)
        assert stack.api.exec(sandbox, ["true"]).close_code in (4409, 4504)
        started = time.monotonic()
        result = stack.api.exec(sandbox, ["true"], waitMs=500)
        assert result.close_code == 4504 and 0.4 < time.monotonic() - started < 3
    finally:
        stack.agent.process.resume()
