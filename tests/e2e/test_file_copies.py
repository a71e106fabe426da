"""`gstacks sandbox cp`, ls, cat, stat, rm and mkdir, against a real sandbox."""

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.cutting_proxy import CuttingProxy
from harness.terminal import Terminal
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def box(shared_stack):
    shared_stack.wait_connected()
    sandbox = shared_stack.api.create_sandbox("busybox", name="copy-box")
    yield sandbox
    shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture(scope="module")
def cli(shared_stack):
    return shared_stack.cli()


@pytest.fixture
def run(shared_stack, box):
    return lambda script: shared_stack.api.exec(box, ["sh", "-c", script]).check()


@pytest.fixture
def home(request, run):
    path = "/tmp/" + request.node.name.split("[")[0]
    run(f"mkdir {path}")
    yield path
    run(f"rm -rf {path}")


def tree_of(path):
    """What is below a directory: name → (kind and mode, whole seconds of mtime, content or target)."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            one = os.path.join(folder, name)
            info = os.lstat(one)
            content = os.readlink(one) if stat.S_ISLNK(info.st_mode) else open(one, "rb").read() if stat.S_ISREG(info.st_mode) else None
            mtime = None if stat.S_ISLNK(info.st_mode) else info.st_mtime_ns
            found[os.path.relpath(one, path)] = (info.st_mode, mtime, content)
    return found


def make_tree(path):
    (path / "sub" / "empty").mkdir(parents=True)
    (path / "script").write_bytes(b"#!/bin/sh\necho hi\n")
    (path / "script").chmod(0o751)
    (path / "sub" / "big").write_bytes(os.urandom(300_000))
    (path / "sub" / "with space\nand line").write_bytes(b"odd")
    (path / "sub" / ("n" * 200)).write_bytes(b"")
    os.symlink("../script", path / "sub" / "link")
    os.utime(path / "script", ns=(0, 1_234_567_890_123_456_789))
    os.utime(path / "sub", ns=(0, 1_000_000_000_000_000_000))
    (path / "sub").chmod(0o700)
    os.utime(path / "sub", ns=(0, 1_000_000_000_000_000_000))
    return path


def test_tree_goes_in_and_comes_out_the_same(cli, run, home, tmp_path):
    source = make_tree(tmp_path / "source")
    cli.run("sandbox", "cp", source, f"copy-box:{home}")  # into a directory that is there
    assert run(f"{home}/source/script; stat -c '%a %Y' {home}/source/script {home}/source/sub") == "hi\n751 1234567890\n700 1000000000\n"
    cli.run("sandbox", "cp", f"copy-box:{home}/source", tmp_path / "back")  # under a new name
    assert tree_of(tmp_path / "back") == tree_of(source)
    (tmp_path / "into").mkdir()
    cli.run("sandbox", "cp", f"copy-box:{home}/source", tmp_path / "into")
    assert tree_of(tmp_path / "into" / "source") == tree_of(source)
    cli.run("sandbox", "cp", f"{source}/.", f"copy-box:{home}/other")
    assert run(f"cd {home} && ls source | sort > a && ls other | sort > b && cmp a b && echo same") == "same\n"


def test_owners_are_kept_inside_and_never_taken_outside(cli, run, home, tmp_path):
    (tmp_path / "f").write_bytes(b"x")
    os.chown(tmp_path / "f", 1234, 4321)
    cli.run("sandbox", "cp", tmp_path / "f", f"copy-box:{home}/f")
    assert run(f"stat -c %u:%g {home}/f") == "1234:4321\n"
    run(f"chmod 6755 {home}/f; mkdir {home}/d; cp -p {home}/f {home}/d; chmod 6755 {home}/d/f")
    cli.run("sandbox", "cp", f"copy-box:{home}/f", tmp_path / "g")
    cli.run("sandbox", "cp", f"copy-box:{home}/d", tmp_path / "d")
    for back in (tmp_path / "g", tmp_path / "d" / "f"):
        assert (back.stat().st_uid, back.stat().st_mode & 0o7777) == (os.getuid(), 0o755)


def test_many_small_files_go_both_ways(cli, run, home, tmp_path):
    source = tmp_path / "many"
    source.mkdir()
    for number in range(5000):
        (source / f"file-{number}").write_bytes(b"%d" % number * 8)
    cli.run("sandbox", "cp", source, f"copy-box:{home}/many")
    assert run(f"ls {home}/many | wc -l; cat {home}/many/file-4999").split() == ["5000", "4999" * 8]
    cli.run("sandbox", "cp", f"copy-box:{home}/many", tmp_path / "back")
    assert tree_of(tmp_path / "back") == tree_of(source)


@pytest.fixture
def cutter(shared_stack):
    """Makes a proxy before the server that cuts once, the first connection that carries so many bytes."""
    made = []

    def make(budget):
        proxy = CuttingProxy(shared_stack.server.http_port, lambda: None if proxy.cuts else budget)
        made.append(proxy)
        return proxy
    yield make
    for one in made:
        one.close()


SIZE = 24 << 20


def audited_bytes(api, word):
    """How many bytes the last operations of this kind moved, the newest first."""
    lines = api.list_all("/api/audit", limit=200)
    begun = [one["detail"].split()[0] for one in lines if one["action"] == "session.begin" and f" files {word} " in one["detail"]]
    ends = {one["detail"].split()[0]: one["detail"] for one in lines if one["action"] == "session.end"}
    return [int(re.search(r"(\d+) bytes", ends[session]).group(1)) if "done" in ends.get(session, "") else None for session in begun]


def test_upload_goes_on_where_it_was_cut(shared_stack, cli, run, home, tmp_path, cutter):
    (tmp_path / "big").write_bytes(os.urandom(SIZE))
    between = cutter(SIZE // 2)
    done = cli.try_run("sandbox", "cp", tmp_path / "big", f"copy-box:{home}/big", env=key_for(shared_stack, between))
    assert done.returncode == 0, done.stderr
    assert between.cuts == 1 and "trying again" in done.stderr
    assert run(f"sha256sum < {home}/big").split()[0] == hashlib.sha256((tmp_path / "big").read_bytes()).hexdigest()
    assert run(f"ls -A {home}") == "big\n"
    last = wait_until(lambda: audited_bytes(shared_stack.api, "write")[0], 10, "the end being in the audit log")
    assert 0 < last < SIZE * 3 // 4, "the first half is not sent again"


def test_download_goes_on_where_it_was_cut(shared_stack, cli, run, home, tmp_path, cutter):
    run(f"head -c {SIZE} /dev/urandom > {home}/big")
    between = cutter(SIZE // 2)
    done = cli.try_run("sandbox", "cp", f"copy-box:{home}/big", tmp_path / "big", env=key_for(shared_stack, between))
    assert done.returncode == 0, done.stderr
    assert between.cuts == 1 and "trying again" in done.stderr
    assert hashlib.sha256((tmp_path / "big").read_bytes()).hexdigest() == run(f"sha256sum < {home}/big").split()[0]
    assert os.listdir(tmp_path) == ["big"]
    last = wait_until(lambda: audited_bytes(shared_stack.api, "read")[0], 10, "the end being in the audit log")
    assert 0 < last < SIZE * 3 // 4, "the first half is not sent again"


def key_for(stack, between):
    return {**os.environ, "GSTACKS_BASE_URL": f"http://127.0.0.1:{between.port}", "GSTACKS_API_KEY": stack.server.api_key}


@pytest.mark.parametrize("there,sent", [("right", SIZE // 2), ("wrong", SIZE)], ids=["what is right is kept", "what is wrong is fetched again"])
def test_download_is_taken_up_by_the_next_command(shared_stack, cli, run, home, tmp_path, there, sent):
    run(f"head -c {SIZE} /dev/urandom > {home}/big")
    cli.run("sandbox", "cp", f"copy-box:{home}/big", tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    # What a command leaves behind that is ended in the middle; its name is that of the version.
    version = json.loads(cli.run("-o", "json", "sandbox", "stat", f"copy-box:{home}/big"))["version"]
    half = bytearray(whole[:SIZE // 2])
    half[1000] ^= there == "wrong"
    (tmp_path / f".big.gs-{hashlib.sha256(version.encode()).hexdigest()[:32]}.part").write_bytes(half)
    cli.run("sandbox", "cp", f"copy-box:{home}/big", tmp_path / "big")
    assert (tmp_path / "big").read_bytes() == whole and sorted(os.listdir(tmp_path)) == ["big", "whole"]
    assert wait_until(lambda: audited_bytes(shared_stack.api, "read")[0], 10, "the end being in the audit log") == sent


def test_hostile_tree_stays_in_its_destination(cli, tmp_path):
    """The server is played by the test: what it sends is a tar that no guest of ours would make."""
    (tmp_path / "victim").mkdir()
    sent = {}

    class Liar(BaseHTTPRequestHandler):
        def do_GET(self):
            tree = "/files/tree" in self.path
            body = sent["tar"] if tree else json.dumps({"name": "d", "type": "directory", "sizeBytes": 0, "mode": "0755", "uid": 0, "gid": 0,
                                                        "modifiedAt": "2026-01-02T03:04:05.000000000Z", "version": "1"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-tar" if tree else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = {**os.environ, "GSTACKS_BASE_URL": f"http://127.0.0.1:{server.server_port}", "GSTACKS_API_KEY": "gsk_x"}

    def entry(name, kind=tarfile.REGTYPE, target=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
        return info
    cases = [
        [entry("../victim/f")], [entry(f"{tmp_path}/victim/f")], [entry("a/../../victim/f")],
        [entry("l", tarfile.SYMTYPE, "../victim"), entry("l/f")],
        [entry("l", tarfile.SYMTYPE, str(tmp_path / "victim")), entry("l", tarfile.DIRTYPE), entry("l/f")],
    ]
    try:
        for number, case in enumerate(cases):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                for info in case:
                    tar.addfile(info, io.BytesIO(b"x"))
            sent["tar"] = out.getvalue()
            done = cli.try_run("sandbox", "cp", "sbx_0123456789abcdefghjk:/d", tmp_path / f"in-{number}", env=env)
            assert done.returncode == 5 and "out of the destination" in done.stderr, (case, done.stderr)
            assert os.listdir(tmp_path / "victim") == [], case
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(entry("f"), io.BytesIO(b"x"))
        sent["tar"] = out.getvalue()[:700]
        cut = cli.try_run("sandbox", "cp", "sbx_0123456789abcdefghjk:/d", tmp_path / "cut", env=env)
        assert cut.returncode == 6 and "not whole" in cut.stderr
    finally:
        server.shutdown()


def test_special_files_are_passed_over_and_said(cli, run, home, tmp_path):
    source = tmp_path / "s"
    source.mkdir()
    (source / "f").write_bytes(b"x")
    os.mkfifo(source / "fifo")
    done = cli.try_run("sandbox", "cp", source, f"copy-box:{home}/s")
    assert done.returncode == 0 and "passed over: 1" in done.stderr
    run(f"mkfifo {home}/s/fifo")
    done = cli.try_run("sandbox", "cp", f"copy-box:{home}/s", tmp_path / "back")
    assert done.returncode == 0 and "passed over: 1" in done.stderr and os.listdir(tmp_path / "back") == ["f"]


def test_files_are_looked_at_printed_made_and_removed(cli, run, home):
    run(f"cd {home} && printf hello > f && chmod 4750 f && ln -s f l && touch 'a\nb'")
    shown = cli.run("sandbox", "ls", f"copy-box:{home}")
    assert re.search(r"^-rwsr-x---\s+0:0\s+5 B\s+\S+\s+f$", shown, re.M) and re.search(r"^lrwxrwxrwx .* l -> f$", shown, re.M)
    assert "a\nb" not in shown, "a name does not break the table"
    listed = json.loads(cli.run("-o", "json", "sandbox", "ls", f"copy-box:{home}"))["items"]
    assert [item["name"] for item in listed] == ["a\nb", "f", "l"]
    assert cli.run("sandbox", "cat", f"copy-box:{home}/l") == "hello"
    assert "Size:" in cli.run("sandbox", "stat", f"copy-box:{home}/f")
    assert json.loads(cli.run("-o", "json", "sandbox", "stat", "-L", f"copy-box:{home}/l"))["type"] == "file"
    cli.run("sandbox", "mkdir", "-p", "--mode", "0700", f"copy-box:{home}/x/y")
    assert run(f"stat -c %a {home}/x/y") == "700\n"
    refused = cli.try_run("sandbox", "rm", f"copy-box:{home}/x")
    assert refused.returncode == 5 and "not empty" in refused.stderr
    cli.run("sandbox", "rm", "-r", f"copy-box:{home}/x")
    missing = cli.try_run("sandbox", "cat", f"copy-box:{home}/x")
    assert missing.returncode == 4 and "No such file" in missing.stderr
    for wrong in (["cp", "a", "b"], ["cp", "x:/a", "y:/b"], ["ls", "/tmp"]):
        assert cli.try_run("sandbox", *wrong).returncode == 2


def test_progress_is_shown_on_a_terminal(cli, home, tmp_path):
    (tmp_path / "big").write_bytes(bytes(range(256)) * (SIZE // 256))
    terminal = Terminal("--config-file", cli.config_file, "sandbox", "cp", tmp_path / "big", f"copy-box:{home}/big")
    try:
        assert "uploaded 24.0 MiB" in terminal.finish() or "uploaded 24 MiB" in terminal.shown
    finally:
        terminal.end()
