"""What a workload writes is kept by its host, read through the API, and neither lost nor doubled by what happens around it."""

from pathlib import Path

import pytest

from harness.log_stream import LogStream
from harness.stack import Stack
from harness.waiting import wait_until

LIMITS = "logs: {bytesPerSandbox: 262144, filesPerSandbox: 4}\ndeletionFence: {percent: 100}\n"


@pytest.fixture(scope="module")
def stack(docker, busybox_archive):
    with Stack(agents=1, engine=docker, agent_config=LIMITS) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


def start(stack, script):
    return stack.api.create_sandbox("busybox", command=["sh", "-c", script])


def log_of(stack, sandbox, **params):
    with LogStream(stack.api, sandbox, **params) as stream:
        assert stream.status == 200, stream.response.text
        out = stream.read()
        assert stream.ended
        return out


def folder_of(stack, sandbox):
    return stack.agent.state_dir / "logs" / sandbox["id"]


def test_both_streams_are_kept_apart_and_in_order_also_when_the_sandbox_has_stopped(stack):
    sandbox = start(stack, "echo one; echo two >&2; while [ ! -e /tmp/go ]; do sleep 0.02; done; printf 'b\\377n'; echo; echo last; exec sleep 1000")
    wait_until(lambda: sorted(log_of(stack, sandbox).split()) == [b"one", b"two"], 15, "the output before")
    stack.api.exec(sandbox, ["touch", "/tmp/go"]).check()
    wait_until(lambda: log_of(stack, sandbox).endswith(b"last\n"), 15, "the output after")
    with LogStream(stack.api, sandbox) as stream:
        pieces = list(stream.pieces())
    assert b"".join(p["raw"] for p in pieces if p["stream"] == "stderr") == b"two\n"
    assert b"".join(p["raw"] for p in pieces if p["stream"] == "stdout") == b"one\nb\xffn\nlast\n"
    assert [p["time"] for p in pieces] == sorted(p["time"] for p in pieces)
    stack.api.stop_sandbox(sandbox["id"])
    assert log_of(stack, sandbox, tail=1) == b"last\n"
    assert log_of(stack, sandbox, since="2999-01-01T00:00:00.000Z") == b""
    cli = stack.cli()
    shown = cli.try_run("sandbox", "logs", sandbox["id"], "--tail", "3")
    assert (shown.returncode, shown.stdout.encode(errors="surrogateescape").endswith(b"last\n")) == (0, True)
    dated = cli.run("sandbox", "logs", sandbox["id"], "--tail", "1", "-t")
    assert dated.endswith(" last\n") and dated.startswith("20")
    first = pieces[0]["time"]
    assert log_of(stack, sandbox, since=first).endswith(b"last\n")
    # A fresh root file system and another run: the log goes on.
    stack.api.post(f"/api/sandboxes/{sandbox['id']}/reprovision", expect=202)
    wait_until(lambda: log_of(stack, sandbox).count(b"one\n") == 2, 20, "the second run's output")
    assert folder_of(stack, sandbox).exists()
    stack.api.delete_sandbox(sandbox["id"])
    stack.api.problem("GET", f"/api/sandboxes/{sandbox['id']}/logs", 404, "not_found")
    assert not folder_of(stack, sandbox).exists()


def test_the_last_words_of_a_workload_are_kept(stack):
    sandboxes = [stack.api.create_sandbox("busybox", wait=False, command=["sh", "-c", f"head -c 60000 /dev/zero | tr '\\0' x; echo end-{n}; exit 3"])
                 for n in range(8)]
    for n, sandbox in enumerate(sandboxes):
        stack.api.wait_sandbox(sandbox["id"], "failed")
        # The end is told at once, and what was written last is fetched before the container goes.
        wait_until(lambda n=n, sandbox=sandbox: log_of(stack, sandbox) == b"x" * 60000 + b"end-%d\n" % n, 15, "the last words")
    for sandbox in sandboxes:
        stack.api.delete_sandbox(sandbox["id"])


def test_a_counter_comes_out_complete_over_kills_of_the_agent(stack):
    sandbox = start(stack, "i=0; while [ $i -lt 4000 ]; do echo $i; i=$((i+1)); [ $((i % 40)) = 0 ] && sleep 0.03; done; echo done; exec sleep 1000")
    seen, position, kills = b"", None, 0
    while b"done" not in seen:
        with LogStream(stack.api, sandbox, follow=True, last_event_id=position) as stream:
            if stream.status == 200:
                for piece in stream.pieces():
                    seen += piece["raw"]
                    position = stream.position
                    if kills < 5 and len(seen) > (kills + 1) * 2500:
                        kills += 1
                        stack.agent.restart("kill")
                    if b"done" in seen:
                        break
                assert stream.lost == 0
            else:
                assert stream.status in (409, 503), stream.response.text
        if b"done" not in seen:
            stack.wait_connected()
    assert kills == 5
    assert seen == b"".join(b"%d\n" % n for n in range(4000)) + b"done\n"
    assert log_of(stack, sandbox) == seen
    stack.api.delete_sandbox(sandbox["id"])


def test_a_workload_never_waits_and_what_is_missing_is_said(stack):
    # More than the guest keeps and more than the host keeps, while the agent is away and while it is not.
    sandbox = start(stack, "while [ ! -e /tmp/go ]; do sleep 0.02; done; head -c 3000000 /dev/zero | tr '\\0' x; echo; touch /tmp/written; "
                           "while [ ! -e /tmp/again ]; do sleep 0.02; done; head -c 3000000 /dev/zero | tr '\\0' y; echo; echo end; exec sleep 1000")
    stack.api.exec(sandbox, ["sh", "-c", "(sleep 0.3; touch /tmp/go) > /dev/null 2>&1 &"]).check()
    pid = stack.engine.inspect(f"gstacks-{sandbox['id']}")["State"]["Pid"]
    stack.agent.kill()
    wait_until(lambda: Path(f"/proc/{pid}/root/tmp/written").exists(), 20, "the workload having written it all with nobody there")
    stack.agent.start()
    stack.wait_connected()
    with LogStream(stack.api, sandbox, follow=True) as stream:
        first = stream.read_until(b"\n")
        assert stream.lost + len(first) == 3_000_001 and len(first) <= 256 * 1024 and set(first) == set(b"x\n")
    stack.api.exec(sandbox, ["touch", "/tmp/again"], waitMs=20_000).check()
    wait_until(lambda: log_of(stack, sandbox, tail=1) == b"end\n", 20)
    with LogStream(stack.api, sandbox) as stream:
        kept = stream.read()
        assert stream.lost + len(kept) == 6_000_006
    size = sum(path.stat().st_size for path in folder_of(stack, sandbox).iterdir())
    assert len(kept) <= size <= 262144
    stack.api.delete_sandbox(sandbox["id"])


def test_following_goes_on_over_a_stop_and_ends_with_the_sandbox(stack):
    sandbox = start(stack, "echo up; exec sleep 1000")
    with LogStream(stack.api, sandbox, follow=True) as stream:
        stream.read_until(b"up\n")
        stack.api.stop_sandbox(sandbox["id"])
        stack.api.start_sandbox(sandbox["id"])
        stream.read_until(b"up\n")
        stack.api.delete_sandbox(sandbox["id"])
        assert stream.read() == b"" and stream.ended
    waiting = stack.api.post("/api/sandboxes", json={"blueprint": "busybox", "waitForHost": True, "requiredTags": {"no": "where"}}, expect=201)
    assert stack.api.problem("GET", f"/api/sandboxes/{waiting['id']}/logs", 409, "failed_precondition")["reason"] == "no_host"
    stack.api.problem("GET", f"/api/sandboxes/{waiting['id']}/logs", 400, "invalid_argument", params={"after": "12"})
    stack.api.delete(f"/api/sandboxes/{waiting['id']}", expect=202)


def test_what_is_left_of_sandboxes_that_are_gone_is_a_leak(stack):
    from test_leaks import look
    folder = stack.agent.state_dir / "logs" / "sbx_00000000000000000000"
    sandbox = start(stack, "echo here; exec sleep 1000")
    wait_until(lambda: log_of(stack, sandbox) == b"here\n", 15)
    folder.mkdir()
    try:
        assert look(stack.agent)[:2] == (1, {"log_leftover": {folder.name}})
    finally:
        folder.rmdir()
    stack.api.delete_sandbox(sandbox["id"])
