"""Files of a running sandbox over the HTTP API: contents, trees, what is refused, and that nothing hostile does harm."""

import base64
import hashlib
import io
import os
import tarfile

import pytest
import requests

from harness.api import check_problem
from harness.contract import CheckedClient, Contract
from harness.waiting import wait_until

BYTES = {"Content-Type": "application/octet-stream"}
TAR = {"Content-Type": "application/x-tar"}


class Files:
    """The file operations of one sandbox. Paths are text, or bytes for what is no text."""

    def __init__(self, api, sandbox):
        self.api, self.sandbox = api, sandbox
        self.base = f"/api/sandboxes/{sandbox['id']}/files"

    @staticmethod
    def params(path, **query):
        where = {"path": path} if isinstance(path, str) else {"pathBase64": base64.urlsafe_b64encode(path).rstrip(b"=").decode()}
        return {**where, **{name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}}

    def raw(self, method, path, where="", data=None, headers=None, **query):
        return self.api.raw(method, self.base + where, params=self.params(path, **query), data=data, headers=headers)

    def get(self, path, **query):
        answer = self.raw("GET", path, **query)
        assert answer.status_code == 200, answer.text
        return answer.content

    def put(self, path, data, **query):
        answer = self.raw("PUT", path, data=data, headers=BYTES, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stat(self, path, **query):
        return self.api.get(self.base + "/stat", params=self.params(path, **query))

    def list(self, path, **query):
        """Every entry, page after page."""
        items, cursor = [], {}
        while True:
            page = self.api.get(self.base + "/list", params=self.params(path, **query, **cursor))
            items += page["items"]
            if "nextCursor" not in page:
                return items
            cursor = {"cursor": page["nextCursor"]}

    def remove(self, path, **query):
        self.api.call("DELETE", self.base, params=self.params(path, **query), expect=204)

    def mkdir(self, path, **query):
        return self.api.call("POST", self.base + "/directories", params=self.params(path, **query), expect=200)

    def get_tree(self, path, **query):
        answer = self.raw("GET", path, "/tree", **query)
        assert answer.status_code == 200, answer.text
        return answer.content

    def put_tree(self, path, data):
        return self.raw("PUT", path, "/tree", data=data, headers=TAR)

    def refused(self, status, reason, method, path, where="", **options):
        problem = check_problem(self.raw(method, path, where, **options), status)
        assert problem.get("reason") == reason, problem
        return problem


@pytest.fixture(scope="module")
def box(shared_stack):
    shared_stack.wait_connected()
    sandbox = shared_stack.api.create_sandbox("busybox", name="files-box")
    yield sandbox
    shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture
def api(shared_stack):
    return CheckedClient(shared_stack.server.base_url, shared_stack.server.api_key, contract=Contract())


@pytest.fixture
def files(api, box):
    return Files(api, box)


@pytest.fixture
def run(api, box):
    """run("script") in the sandbox; what it prints."""
    return lambda script: api.exec(box, ["sh", "-c", script]).check()


@pytest.fixture
def home(request, files):
    """A directory of the test's own."""
    path = "/tmp/" + request.node.name.split("[")[0]
    files.mkdir(path)
    yield path
    files.remove(path, recursive=True)


def tar_of(*entries):
    """A tar of (TarInfo, data) pairs, or (name, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, data in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            if data is not None:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def entry(name, kind=tarfile.REGTYPE, target="", **attributes):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def test_file_comes_back_as_it_was_written(files, run, home):
    data = os.urandom(3_000_001)
    info = files.put(f"{home}/a", data, mode="0750", uid=1234, gid=4321, modifiedAt="2001-02-03T04:05:06.123456789Z")
    assert (info["type"], info["sizeBytes"], info["mode"], info["uid"], info["gid"]) == ("file", len(data), "0750", 1234, 4321)
    assert info["modifiedAt"] == "2001-02-03T04:05:06.123456789Z" and info["name"] == "a"
    assert files.get(f"{home}/a") == data
    assert run(f"sha256sum < {home}/a").split()[0] == hashlib.sha256(data).hexdigest()
    assert files.stat(f"{home}/a") == info
    assert files.put(f"{home}/a", b"")["mode"] == "0750", "who writes a file anew leaves it its mode"
    assert files.get(f"{home}/a") == b"" and run(f"ls -A {home}") == "a\n", "nothing is left beside it"


def test_part_of_a_file_is_of_the_version_that_was_asked_for(files, home):
    data = bytes(range(256)) * 1000
    version = files.put(f"{home}/a", data)["version"]
    whole = files.raw("GET", f"{home}/a")
    assert whole.headers["ETag"] == f'"{version}"' and int(whole.headers["Content-Length"]) == len(data)
    for text, first, last in (("bytes=1000-", 1000, len(data) - 1), ("bytes=5-9", 5, 9), ("bytes=255000-999999", 255000, len(data) - 1)):
        part = files.raw("GET", f"{home}/a", headers={"Range": text}, version=version)
        assert part.status_code == 206 and part.content == data[first:last + 1], text
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(data)}"
    assert files.raw("GET", f"{home}/a", headers={"Range": "bytes=-5"}).status_code == 200
    files.refused(416, "range_not_satisfiable", "GET", f"{home}/a", headers={"Range": f"bytes={len(data)}-"})
    files.put(f"{home}/a", data)
    files.refused(412, "file_changed", "GET", f"{home}/a", version=version)


def test_kernel_made_files_are_read_to_their_end(files, run):
    assert files.get("/proc/version") == run("cat /proc/version").encode()
    assert files.stat("/proc/version")["sizeBytes"] == 0


def test_upload_that_broke_off_is_taken_up_again(files, run, home):
    data = os.urandom(2_000_000)

    def cut():
        yield data[:1_500_000]
        raise ConnectionError("cut")
    with pytest.raises(requests.ConnectionError):
        files.raw("PUT", f"{home}/a", data=cut(), headers=BYTES, upload="key-1")
    partial = f"{home}/.a.gs-key-1.part"
    size = wait_until(lambda: run(f"cat {home}/.a.gs-key-1.part 2> /dev/null | wc -c").strip() not in ("", "0") and
                      files.stat(partial)["sizeBytes"], 10, "what was sent being there")
    assert files.raw("GET", f"{home}/a").status_code == 404, "half a file is never seen"
    assert files.stat(partial, digestBytes=size)["sha256"] == hashlib.sha256(data[:size]).hexdigest()

    def send(offset):
        return files.raw("PUT", f"{home}/a", data=data[offset:], headers=BYTES, upload="key-1", offset=offset)
    check_problem(send(1_999_999), 409)
    # The first one may still be ending: then this says that the upload is under way.
    done = wait_until(lambda: (answer := send(size)).status_code == 200 and answer, 10, "the upload being taken up again")
    assert done.json()["sizeBytes"] == len(data) and files.get(f"{home}/a") == data
    assert run(f"ls -A {home}") == "a\n"
    files.refused(409, "wrong_offset", "PUT", f"{home}/a", data=b"x", headers=BYTES, upload="key-1", offset=1)


def test_directories_are_listed_in_pages(files, run, home):
    run(f"cd {home} && mkdir d && ln -s /nowhere l && mkfifo f && i=0; while [ $i -lt 250 ]; do : > n$i; i=$((i+1)); done")
    expected = sorted(["d", "l", "f", *(f"n{i}" for i in range(250))], key=str.encode)
    for limit in (1000, 100, 7):
        assert [item["name"] for item in files.list(home, limit=limit)] == expected
    kinds = {item["name"]: item for item in files.list(home)}
    assert [kinds[name]["type"] for name in ("d", "l", "f", "n0")] == ["directory", "link", "fifo", "file"]
    assert kinds["l"]["linkTarget"] == "/nowhere"
    files.refused(409, "not_a_directory", "GET", f"{home}/n0", "/list")


def test_names_are_bytes(files, run, home):
    odd = b"new\nline \xff\xfe\x01"
    files.put(home.encode() + b"/" + odd, b"odd")
    item, = files.list(home)
    assert base64.urlsafe_b64decode(item["nameBase64"] + "==") == odd and item["name"] == "new\nline \ufffd\ufffd\x01"
    assert files.get(home.encode() + b"/" + odd) == b"odd"
    tar = tarfile.open(fileobj=io.BytesIO(files.get_tree(home, contents=True)), encoding="utf-8", errors="surrogateescape")
    assert [os.fsencode(member.name) for member in tar] == [b".", b"./" + odd]
    files.remove(home.encode() + b"/" + odd)
    files.put(f"{home}/{'n' * 255}", b"long")
    assert files.list(home)[0]["name"] == "n" * 255 and "nameBase64" not in files.list(home)[0]
    files.refused(400, None, "PUT", f"{home}/{'n' * 256}", data=b"x", headers=BYTES)
    check_problem(files.raw("GET", "/" + "n" * 4095), 400)


def test_directories_are_made_and_removed(files, run, home):
    assert files.mkdir(f"{home}/a", mode="0700")["mode"] == "0700"
    files.refused(409, "file_exists", "POST", f"{home}/a", "/directories")
    assert files.mkdir(f"{home}/a", parents=True)["mode"] == "0700"
    assert files.mkdir(f"{home}/x/y/z", parents=True, mode="1777")["mode"] == "1777"
    files.refused(404, "file_not_found", "POST", f"{home}/q/y", "/directories")
    files.refused(409, "directory_not_empty", "DELETE", f"{home}/x")
    run(f"touch {home}/outside; ln -s {home} {home}/x/y/z/l")
    files.remove(f"{home}/x", recursive=True)
    files.remove(f"{home}/a")
    assert run(f"ls -A {home}") == "outside\n", "what a link points to is not removed"
    files.refused(404, "file_not_found", "DELETE", f"{home}/a")
    for path in ("/", f"{home}/..", f"{home}/."):
        files.refused(400, None, "DELETE", path, recursive=True)


def test_tree_goes_both_ways_with_modes_times_and_links(files, run, home):
    tar = tar_of((entry("t", tarfile.DIRTYPE, mode=0o750, mtime=1_000_000_000.25, uid=7, gid=8), None),
                 (entry("t/script", mode=0o4755, mtime=1_234_567_890.5, uid=1234, gid=5678), b"#!/bin/sh\n"),
                 (entry("t/link", tarfile.SYMTYPE, "script"), None),
                 (entry("t/hard", tarfile.LNKTYPE, "t/script"), None),
                 (entry("t/deep/er/file"), b"x" * 100_000))
    answer = files.put_tree(f"{home}/new", tar)
    assert answer.status_code == 200 and answer.json() == {"entries": 5, "sizeBytes": 100_010}
    shown = run(f"cd {home}/new && stat -c '%n %a %u %g %Y %F' t t/script t/link && stat -c %h t/hard && readlink t/link")
    assert shown == ("t 750 7 8 1000000000 directory\nt/script 4755 1234 5678 1234567890 regular file\nt/link 777 0 0 0 symbolic link\n"
                     "2\nscript\n")
    back = tarfile.open(fileobj=io.BytesIO(files.get_tree(f"{home}/new/t")))
    members = {member.name: member for member in back}
    assert set(members) == {"t", "t/script", "t/hard", "t/link", "t/deep", "t/deep/er", "t/deep/er/file"}
    script = members["t/script"]
    assert (script.mode, script.uid, script.gid, float(script.mtime)) == (0o4755, 1234, 5678, 1_234_567_890.5)
    assert members["t/link"].linkname == "script" and back.extractfile("t/deep/er/file").read() == b"x" * 100_000


def test_extraction_never_leaves_its_directory(files, run, home):
    run(f"cd {home} && mkdir in out && ln -s ../out in/before && echo s > secret")
    cases = [
        [(entry("../out/f"), b"x")],
        [(entry("a/../../out/f"), b"x")],
        [(entry(f"{home}/out/f"), b"x")],
        [(entry("before/f"), b"x")],
        [(entry("l", tarfile.SYMTYPE, "../out"), None), (entry("l/f"), b"x")],
        [(entry("m", tarfile.SYMTYPE, f"{home}/out"), None), (entry("m/d", tarfile.DIRTYPE), None)],
        [(entry("h", tarfile.LNKTYPE, "../secret"), None)],
    ]
    for case in cases:
        problem = check_problem(files.put_tree(f"{home}/in", tar_of(*case)), 400, "invalid_argument")
        assert problem["reason"] == "outside_destination", problem
    assert run(f"ls -A {home}/out; cat {home}/secret; test -e {home}/in/h || echo none") == "s\nnone\n"


def test_fifos_devices_and_sockets_are_never_opened(files, run, home):
    run(f"cd {home} && mkfifo fifo && ln -s fifo link")
    for path in (f"{home}/fifo", f"{home}/link", "/dev/zero", "/dev/null", "/.gstacks/run/agent.sock"):
        files.refused(409, "not_a_file", "GET", path)
        files.refused(409, "not_a_file", "PUT", path, data=b"x", headers=BYTES)
    members = {member.name: member.type for member in tarfile.open(fileobj=io.BytesIO(files.get_tree(home, contents=True)))}
    assert members == {".": tarfile.DIRTYPE, "./fifo": tarfile.FIFOTYPE, "./link": tarfile.SYMTYPE}
    problem = check_problem(files.put_tree(home, tar_of((entry("g", tarfile.FIFOTYPE), None))), 400)
    assert "FIFO" in problem["detail"]


def test_names_that_are_swapped_meanwhile_lead_nowhere_else(api, box, files, run, home):
    """While a directory becomes a link and a directory again, as fast as can be, trees are extracted through it."""
    run(f"mkdir {home}/in {home}/out {home}/in/d")
    swap = f"cd {home}/in; while :; do mv d e; ln -s ../out d; rm d; mv e d; done 2> /dev/null"
    tar = tar_of(*((entry(f"d/f{i}"), b"x") for i in range(20)))
    with api.open_exec(box, ["sh", "-c", swap]) as swapper:
        swapper.wait_opened()
        codes = [files.put_tree(f"{home}/in", tar).status_code for _ in range(25)]
    assert set(codes) <= {200, 400, 409, 404}, codes
    assert run(f"ls -A {home}/out") == ""


def test_sparse_file_is_streamed_and_its_holes_are_kept(files, run, home):
    run(f"cd {home} && printf begin > s && truncate -s 8388608 s && printf end >> s")
    data = files.get(f"{home}/s")
    assert len(data) == (8 << 20) + 3 and data.startswith(b"begin\0") and data.endswith(b"\0end") and data.strip(b"\0begind") == b""
    files.put(f"{home}/t", data)
    assert int(run(f"stat -c %b {home}/t")) * 512 < 1 << 20


def test_terabyte_of_nothing_can_be_looked_at_and_left(files, run, home):
    run(f"truncate -s 1099511627776 {home}/huge")
    assert files.stat(f"{home}/huge")["sizeBytes"] == 1 << 40
    part = files.raw("GET", f"{home}/huge", headers={"Range": f"bytes={(1 << 40) - 5}-"})
    assert part.status_code == 206 and part.content == bytes(5)
    for where in ("", "/tree"):
        with files.api._session.get(files.api.base_url + files.base + where, params=files.params(f"{home}/huge"), stream=True,
                                    headers={"Authorization": f"Bearer {files.api.api_key}"}) as answer:
            assert len(next(answer.iter_content(1 << 20))) > 0
    wait_until(lambda: "gstacks-files" not in run("cat /proc/[0-9]*/comm"), 10, "the readers being gone")


def test_full_file_system_is_told(files, run):
    noise = os.urandom(1 << 20)
    problem = check_problem(files.raw("PUT", "/dev/shm/big", data=(noise for _ in range(80)), headers=BYTES), 507, "resource_exhausted")
    assert problem["reason"] == "no_space_in_sandbox" and "No space left" in problem["detail"]
    assert run("ls -A /dev/shm") == ""


def test_missing_paths_and_wrong_kinds_are_told(files, home):
    files.refused(404, "file_not_found", "GET", f"{home}/none")
    files.refused(404, "file_not_found", "GET", f"{home}/none", "/stat")
    files.refused(404, "file_not_found", "GET", f"{home}/none", "/list")
    files.refused(404, "file_not_found", "GET", f"{home}/none", "/tree")
    files.refused(404, "file_not_found", "PUT", f"{home}/none/a", data=b"x", headers=BYTES)
    files.refused(409, "not_a_file", "GET", home)
    files.refused(409, "not_a_file", "PUT", home, data=b"x", headers=BYTES)
    check_problem(files.put_tree(home, b"x" * 1024), 400, "invalid_argument")
    check_problem(files.put_tree(home, tar_of(("a", b"data"))[:700]), 400, "invalid_argument")
    files.refused(400, None, "GET", f"{home}/a\0b".encode())
    check_problem(files.api.raw("GET", files.base), 400, "invalid_argument")


def test_only_members_of_the_tenant_reach_files(shared_stack, api, box, files, home):
    files.put(f"{home}/a", b"mine")
    viewer = api.with_key(api.post("/api/api-keys", {"name": "files-viewer", "role": "viewer"}, expect=201)["key"])
    member = api.with_key(api.post("/api/api-keys", {"name": "files-member", "role": "member"}, expect=201)["key"])
    stranger = api.with_key(shared_stack.server.create_tenant("files-stranger"))
    for where, method in (("", "GET"), ("", "DELETE"), ("/stat", "GET"), ("/list", "GET"), ("/tree", "GET"), ("/directories", "POST")):
        for client, status, code in ((viewer, 403, "permission_denied"), (stranger, 404, "not_found")):
            check_problem(client.raw(method, files.base + where, params={"path": f"{home}/a"}), status, code)
    assert Files(member, box).get(f"{home}/a") == b"mine"


def test_operations_are_sessions_in_the_audit_log(api, box, files, home):
    files.put(f"{home}/audited", b"12345")

    def ends():
        return [one for one in api.list_all("/api/audit") if one["subject"] == box["id"] and one["action"] == "session.end"
                and "done, 0 entries, 5 bytes" in one["detail"]]
    end = wait_until(ends, 10, "the end being written")[0]
    begin = next(one for one in api.list_all("/api/audit") if one["action"] == "session.begin"
                 and one["detail"].split()[0] == end["detail"].split()[0])
    assert begin["detail"].split(" ", 1)[1] == f'files write "{home}/audited"'


def test_stopped_sandbox_has_no_files(shared_stack):
    api = shared_stack.api
    sandbox = api.create_sandbox("busybox", name="files-stopped")
    files = Files(api, sandbox)
    files.put("/tmp/a", b"kept")
    api.stop_sandbox(sandbox["id"], grace_ms=0)
    files.refused(409, "sandbox_not_running", "GET", "/tmp/a")
    api.start_sandbox(sandbox["id"])
    assert files.get("/tmp/a") == b"kept"
    api.delete_sandbox(sandbox["id"])
