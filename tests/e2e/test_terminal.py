"""Terminals in a sandbox: by the session protocol, and by `gstacks sandbox ssh` on a real terminal."""

import re
import signal
import subprocess

import pytest

from harness.processes import find_binary
from harness.sessions import RESIZE, STDOUT
from harness.terminal import Terminal
from harness.waiting import hold, wait_until


@pytest.fixture(scope="module")
def box(shared_stack):
    """One running sandbox for all tests here that leave it as it is."""
    shared_stack.wait_connected()
    sandbox = shared_stack.api.create_sandbox("busybox", name="terminal-box")
    yield sandbox
    shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture
def api(shared_stack):
    return shared_stack.api


def terminal(api, box, argv=None, rows=24, columns=80, **members):
    return api.open_exec(box, argv, terminal={"rows": rows, "columns": columns}, **members)


def test_program_has_a_terminal_of_the_size_that_was_asked_for(api, box):
    with terminal(api, box, ["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size; exit 7"], 43, 132) as session:
        result = session.finish()
    assert (result.out, result.err, result.code) == ("43 132\r\n", "", 7)


def test_login_shell_is_what_runs_when_no_program_is_named(api, box):
    with terminal(api, box) as session:
        session.wait_opened()
        session.send_stdin(b"echo shell is $0; exit 4\n")
        result = session.finish()
    assert re.search(r"shell is -\w+\r\n", result.out) and result.code == 4


def test_user_owns_the_terminal(api, box):
    with terminal(api, box, ["sh", "-c", 'id -u; echo direct > "$(tty)"'], user="1234") as session:
        result = session.finish()
    assert result.out == "1234\r\ndirect\r\n" and result.code == 0


def test_every_byte_value_passes_a_raw_terminal_both_ways(api, box):
    data = bytes(range(256)) * 16
    with terminal(api, box, ["sh", "-c", f"stty raw -echo; printf ready; head -c {len(data)}"]) as session:
        session.read_until("ready")
        session.send_stdin(data)
        result = session.finish()
    assert result.stdout == b"ready" + data


def test_utf8_is_erased_by_the_character(api, box):
    with terminal(api, box, ["sh", "-c", "printf ready; read -r line; printf '%s' \"$line\" | od -An -tx1"]) as session:
        session.read_until("ready")
        session.send_stdin("aü€\x7f\x7f\n".encode())
        result = session.finish()
    assert result.out.splitlines()[-1].split() == ["61"]


def test_a_storm_of_resizes_ends_at_the_last_and_is_answered(api, box):
    script = "trap 'stty size' WINCH; printf ready; while :; do read -r line; [ \"$line\" = end ] && exit; done"
    with terminal(api, box, ["sh", "-c", script]) as session:
        session.read_until("ready")
        for number in range(1, 1001):
            session.send(RESIZE, {"rows": number, "columns": 2 * number})
        while not session.sizes or session.sizes[-1] != {"rows": 1000, "columns": 2000}:
            assert session.next() is not None
        session.send_stdin(b"stty\nend\n")
        result = session.finish()
    assert len(session.sizes) <= 1000
    assert "1000 2000" in result.out


def test_64_mib_of_output_through_a_slow_reader_lose_nothing(api, box, shared_stack):
    lines = 8 << 20  # of 8 bytes, and the terminal makes "\r\n" of "\n"
    with terminal(api, box, ["sh", "-c", f"stty -onlcr; yes 1234567 | head -n {lines}"]) as session:
        session.wait_opened()
        hold(1)  # a second in which nobody reads
        received = 0
        damaged = 0
        rest = b""
        while (frame := session.next()) is not None:
            if frame[0] == STDOUT:
                data = rest + bytes(session.result.stdout)
                session.result.stdout = b""
                received += len(data) - len(rest)
                whole = len(data) // 8 * 8
                damaged += data[:whole] != b"1234567\n" * (whole // 8)
                rest = data[whole:]
    assert (received, damaged, rest, session.result.code) == (lines * 8, 0, b"", 0)


def test_hang_up_ends_what_runs_in_the_foreground(api, box, processes_of):
    session = terminal(api, box)
    session.wait_opened()
    session.send_stdin(b"sleep 7777\n")
    wait_until(lambda: "sleep 7777" in processes_of(api, box), 10, "the program")
    session.drop()
    wait_until(lambda: "sleep 7777" not in processes_of(api, box), 10, "its end")


def test_signal_is_for_the_foreground(api, box):
    with terminal(api, box, ["sh", "-c", "set -m; trap '' INT; (trap - INT; printf ready; exec sleep 100); echo ended $?"]) as session:
        session.read_until("ready")
        session.send_signal("INT")
        result = session.finish()
    assert result.out.endswith("ended 130\r\n") and result.code == 0


def test_resize_without_a_terminal_is_a_violation(api, box):
    with api.open_exec(box, ["cat"]) as session:
        session.wait_opened()
        session.send(RESIZE, {"rows": 24, "columns": 80})
        assert session.receive() is None and session.close_code == 1002


# --- gstacks sandbox ssh ------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(shared_stack, box):
    """A function that starts gstacks on a terminal of its own, logged in."""
    config = shared_stack.cli().config_file
    opened = []

    def start(*words, **members):
        one = Terminal("--config-file", config, *words, **members)
        opened.append(one)
        return one
    yield start
    for one in opened:
        one.end()


def test_ssh_is_a_terminal_with_the_size_of_ours_and_the_exit_code_of_the_shell(shell, box):
    ours = shell("sandbox", "ssh", "terminal-box", rows=37, columns=111)
    ours.read_until("#")
    ours.write("stty size; echo $TERM\r")
    ours.read_until("37 111\r\nxterm")
    ours.write("exit 9\r")
    assert ours.wait() == 9
    assert ours.is_cooked(), "our terminal is as it was"


def test_ssh_follows_our_size(shell, box):
    ours = shell("sandbox", "ssh", "terminal-box")
    ours.read_until("#")
    ours.resize(55, 155)
    ours.write("stty size\r")
    ours.read_until("55 155")
    ours.write("exit\r")
    assert ours.wait() == 0


def test_ctrl_c_goes_to_the_program_and_not_to_gstacks(shell, box):
    ours = shell("sandbox", "ssh", "terminal-box")
    ours.read_until("#")
    ours.write("sleep 100; echo code $?\r")
    ours.read_until("echo code $?\r\n")
    hold(0.3)  # until the shell has started it
    ours.write("\x03")
    ours.read_until("^C")
    ours.write("echo still here\r")
    ours.read_until("\nstill here")
    ours.write("exit\r")
    assert ours.wait() == 0


def test_full_screen_editor_edits_and_saves(shell, api, box):
    ours = shell("sandbox", "ssh", "terminal-box")
    ours.read_until("#")
    ours.write("vi /tmp/note\r")
    ours.read_until("/tmp/note")
    ours.write("ihello from vi")
    ours.read_until("hello from vi")
    ours.write("\x1b")
    hold(0.5)  # what follows an escape at once is part of a key
    ours.write(":wq\r")
    ours.read_until("#", fresh=True)
    ours.write("exit\r")
    assert ours.wait() == 0
    assert api.exec(box, ["cat", "/tmp/note"]).check() == "hello from vi\n"


def test_escape_ends_the_session_and_hangs_up(shell, api, box, processes_of):
    ours = shell("sandbox", "ssh", "terminal-box")
    ours.read_until("#")
    ours.write("sleep 8888\r")
    wait_until(lambda: "sleep 8888" in processes_of(api, box), 10, "the program")
    ours.write("\r~.")
    assert ours.wait() == 125
    assert ours.is_cooked()
    wait_until(lambda: "sleep 8888" not in processes_of(api, box), 10, "its end")


def test_escape_help_is_shown_and_a_tilde_can_be_typed(shell, box):
    ours = shell("sandbox", "ssh", "terminal-box")
    ours.read_until("#")
    ours.write("~?")
    ours.read_until("end the session")
    ours.write("~~; echo tilde\r")
    ours.read_until("tilde\r\n")
    ours.write("exit\r")
    ours.wait()


def test_terminal_comes_back_when_gstacks_is_ended(shell, box):
    ours = shell("sandbox", "ssh", "terminal-box")
    ours.read_until("#")
    assert not ours.is_cooked()
    ours.process.send_signal(signal.SIGTERM)
    hold(0.5)  # two at once would be one; the first is the program's, and an interactive shell is deaf to it
    ours.process.send_signal(signal.SIGTERM)
    ours.process.wait(10)
    assert ours.is_cooked()


def test_command_needs_no_terminal(shared_stack, box):
    config = shared_stack.cli().config_file
    done = subprocess.run([find_binary("gstacks"), "--config-file", config, "sandbox", "ssh", "terminal-box", "--command",
                           "cat; test -t 1 || echo no terminal; exit 3"], input=b"typed\n", capture_output=True, timeout=60)
    assert (done.stdout, done.returncode) == (b"typed\nno terminal\n", 3)
    done = subprocess.run([find_binary("gstacks"), "--config-file", config, "sandbox", "ssh", "terminal-box"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60, text=True)
    assert done.returncode == 125 and "no terminal" in done.stderr and "fix:" in done.stderr
