"""Archiving as the server sees it: who may bring what, what breaks off, and what is kept. A puppet plays the host."""

import hashlib
import os
import sqlite3
import threading

import pytest

from harness.archives import Entry, Image, layer, sha256, tar_of
from harness.puppet_host import PuppetHost
from harness.small_disk import SmallDisk
from harness.stack import Server, Stack
from harness.api import ApiClient
from harness.waiting import wait_until

BASE = Image([layer({"etc/base": b"base"})])
WROTE = layer({"home/file": b"written" * 50_000})


@pytest.fixture(scope="module")
def stack():
    with Stack(agents=0) as stack:
        stack.api.raw("POST", "/api/blueprints", params={"name": "base"}, data=BASE.oci(), headers={"Content-Type": "application/x-tar"})
        yield stack


@pytest.fixture(scope="module")
def host(stack):
    with PuppetHost(stack.server, stack.api.create_token()["token"], "first") as host:
        yield host


@pytest.fixture
def archiving(stack, host):
    """A sandbox that its host has stopped and is to send."""
    sandbox = stack.api.create_sandbox("base", hostId=host.host_id)
    return stack.api.archive_sandbox(sandbox["id"], wait=False)


def blobs(stack):
    return {p.name for p in (stack.server.data_dir / "blobs" / "sha256").rglob("*") if p.is_file()}


def uploads(stack):
    return sorted(p.name for p in (stack.server.data_dir / "uploads").iterdir())


def test_what_was_sent_becomes_a_version_of_its_own(stack, host, archiving):
    assert host.agent.upload_layer(archiving["id"], 2, WROTE, method="GET")[:3] == (200, 0, False)
    assert host.agent.upload_layer(archiving["id"], 2, WROTE)[:3] == (200, len(WROTE), True)
    now = stack.api.sandbox(archiving["id"])
    assert (now["state"], now["desiredState"], now["archive"]["layerBytes"]) == ("archived", "archived", len(WROTE))
    assert "hostId" not in now and "reason" not in now
    assert sha256(WROTE) in blobs(stack)
    # The host is told to remove it until it says that it did.
    wait_until(lambda: host.held.get(archiving["id"]) == now["generation"], 10)
    wait_until(lambda: releases(stack) == [], 10)
    audit = [entry["action"] for entry in stack.api.list_all("/api/audit") if entry["subject"] == archiving["id"]]
    assert audit[0] == "sandbox.archived" and "sandbox.archive" in audit
    stack.api.delete_sandbox(archiving["id"])


def releases(stack):
    with sqlite3.connect(stack.server.data_dir / "server.db") as database:
        return database.execute("SELECT host_id, sandbox_id FROM host_release").fetchall()


def test_it_goes_on_where_it_broke_off_also_over_a_restart_of_the_server(stack, host, archiving):
    host.agent.upload_layer(archiving["id"], 2, WROTE, send=100_000)
    here = wait_until(lambda: host.agent.upload_layer(archiving["id"], 2, WROTE, method="GET")[1] or None, 10)
    assert 0 < here <= 100_000
    status, offset, complete, why = host.agent.upload_layer(archiving["id"], 2, WROTE, offset=here + 1)
    assert (status, complete, why.reason) == (412, False, "offset_differs")
    host.disconnect()
    stack.server.kill()
    stack.server.start()
    host.connect()
    assert host.agent.upload_layer(archiving["id"], 2, WROTE, method="GET")[1] == here
    assert host.agent.upload_layer(archiving["id"], 2, WROTE, offset=here)[:3] == (200, len(WROTE), True)
    assert stack.api.sandbox(archiving["id"])["state"] == "archived"
    assert uploads(stack) == []
    stack.api.delete_sandbox(archiving["id"])


@pytest.mark.parametrize("point", ["archive.received", "archive.published", "archive.finished"])
def test_a_server_that_dies_at_the_end_of_it_has_it_once_and_whole(stack, host, archiving, point):
    host.disconnect()
    stack.server.stop()
    stack.server.start(GSTACKS_CRASH_POINT=point)
    host.connect()
    with pytest.raises(OSError):
        host.agent.upload_layer(archiving["id"], 2, WROTE)
    assert stack.server.process.wait_exit(10) == -9
    host.disconnect()
    stack.server.start()
    host.connect()
    if point == "archive.finished":
        assert host.agent.upload_layer(archiving["id"], 2, WROTE, method="GET")[0] == 404
    else:
        status, offset, *_ = host.agent.upload_layer(archiving["id"], 2, WROTE, method="GET")
        assert status == 200 and offset == (len(WROTE) if point == "archive.received" else 0)
        assert host.agent.upload_layer(archiving["id"], 2, WROTE, offset=offset)[:3] == (200, len(WROTE), True)
    assert stack.api.sandbox(archiving["id"])["state"] == "archived"
    wait_until(lambda: releases(stack) == [], 10)
    stack.api.delete_sandbox(archiving["id"])


def test_what_may_not_come_does_not_come(stack, host, archiving):
    send = host.agent.upload_layer
    wrong = "sha256:" + hashlib.sha256(b"other").hexdigest()
    status, _, _, why = send(archiving["id"], 2, WROTE, digest=wrong)
    assert (status, why.reason) == (422, "digest_mismatch")
    assert send(archiving["id"], 2, WROTE, digest=wrong, method="GET")[1] == 0, "nothing of it is kept"
    assert send(archiving["id"], 2, WROTE, size=100)[0] == 400, "more than announced"
    assert send(archiving["id"], 1, WROTE)[3].reason == "not_archiving", "another generation"
    assert send(archiving["id"], 2, b"this is no tar" * 100)[0] == 400
    escape = tar_of([Entry("../../etc/passwd", b"x")])
    assert send(archiving["id"], 2, escape)[3].reason == "archive_unsafe_path"
    assert uploads(stack) == []
    with PuppetHost(stack.server, stack.api.create_token()["token"], "other") as other:
        assert other.agent.upload_layer(archiving["id"], 2, WROTE)[0] == 404, "of another host"
    running = stack.api.create_sandbox("base", hostId=host.host_id)
    assert send(running["id"], 1, WROTE)[3].reason == "not_archiving"
    assert stack.api.sandbox(archiving["id"])["state"] != "archived"
    stack.api.delete_sandbox(archiving["id"])
    assert send(archiving["id"], 2, WROTE)[0] == 404, "deletion wins"


def test_two_at_once_for_one_layer(stack, host, archiving):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(host.agent.upload_layer(archiving["id"], 2, WROTE))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(answer[0] == 200 for answer in answers) == 1, answers
    assert all(answer[3].reason in ("upload_in_progress", "not_archiving", "offset_differs") or answer[0] == 404
               for answer in answers if answer[0] != 200), answers
    assert stack.api.sandbox(archiving["id"])["state"] == "archived"
    stack.api.delete_sandbox(archiving["id"])


def test_the_sweep_keeps_what_is_archived_and_drops_it_with_the_sandbox(stack, host, archiving):
    mine = layer({"only": b"here"})
    assert host.agent.upload_layer(archiving["id"], 2, mine)[0] == 200
    stack.api.problem("DELETE", f"/api/blueprints/{archiving['blueprint']['id']}", 409, "failed_precondition")
    host.disconnect()
    age_blobs(stack)
    stack.server.stop()
    stack.server.start()
    host.connect()
    wait_until(lambda: sha256(mine) in blobs(stack), 5)
    back = stack.api.restore_sandbox(archiving["id"])
    assert back["blueprint"]["digest"] == stack.api.sandbox(archiving["id"])["archive"]["digest"]
    stack.api.delete_sandbox(archiving["id"])
    host.disconnect()
    age_blobs(stack)
    stack.server.stop()
    stack.server.start()
    host.connect()
    wait_until(lambda: sha256(mine) not in blobs(stack), 10)
    assert sha256(BASE.layers[0]) in blobs(stack)


def age_blobs(stack):
    for path in (stack.server.data_dir / "blobs" / "sha256").rglob("*"):
        if path.is_file():
            os.utime(path, (1_700_000_000, 1_700_000_000))


def test_a_full_disk_here_is_told_and_nothing_is_lost(tmp_path):
    with SmallDisk(tmp_path / "disk", 40) as disk:
        server = Server(disk.path)
        server.init()
        server.start()
        try:
            api = ApiClient(server.base_url, server.api_key)
            api.raw("POST", "/api/blueprints", params={"name": "base"}, data=BASE.oci(), headers={"Content-Type": "application/x-tar"})
            with PuppetHost(server, api.create_token()["token"]) as host:
                sandbox = api.create_sandbox("base")
                api.archive_sandbox(sandbox["id"], wait=False)
                large = layer({"large": b"\0" * (38 << 20)})
                status, _, _, why = host.agent.upload_layer(sandbox["id"], 2, large, method="GET")
                assert (status, why.reason) == (429, "disk_full"), why
                # Once there is room again it comes.
                small = layer({"small": b"\0" * (6 << 20)})
                disk.fill(leave=18 << 20)
                assert host.agent.upload_layer(sandbox["id"], 2, small, method="GET")[0] == 429
                disk.unfill()
                assert host.agent.upload_layer(sandbox["id"], 2, small)[0] == 200
                assert api.sandbox(sandbox["id"])["state"] == "archived"
        finally:
            server.kill()


def test_waiting_for_a_place_and_coming_back_anywhere(stack, host, archiving):
    assert host.agent.upload_layer(archiving["id"], 2, WROTE)[0] == 200
    stack.api.patch(f"/api/hosts/{host.host_id}", {"cordoned": True}, stack.api.host(host.host_id)["version"])
    refused = stack.api.problem("POST", f"/api/sandboxes/{archiving['id']}/restore", 409, "failed_precondition", json={})
    assert refused["reason"] == "no_host_fits" and refused["errors"][0]["pointer"] == f"/hosts/{host.host_id}"
    assert stack.api.sandbox(archiving["id"])["state"] == "archived"
    with PuppetHost(stack.server, stack.api.create_token()["token"], "second") as second:
        # It was created for the first host alone; whoever restores it says where else.
        there = stack.api.restore_sandbox(archiving["id"], hostId=second.host_id)
        assert there["hostId"] == second.host_id and there["state"] == "running"
        assert stack.api.post(f"/api/sandboxes/{archiving['id']}/restore", {})["generation"] == there["generation"]
        stack.api.delete_sandbox(archiving["id"])
    stack.api.patch(f"/api/hosts/{host.host_id}", {"cordoned": False}, stack.api.host(host.host_id)["version"])
