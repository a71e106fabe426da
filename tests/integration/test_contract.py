"""The server against openapi.yaml: every operation is called, every answer is held against its schema, and what breaks a
request schema is refused with a problem that says where."""

import copy
import json

import pytest
import websocket

from harness.agent_protocol import messages
from harness.api import check_problem
from harness.archives import Image, layer
from harness.contract import CheckedClient, Contract
from harness.event_stream import EventStream
from harness.puppet_files import CONTENT, VERSION, serve_files
from harness.log_stream import LogStream
from harness.puppet_host import PuppetHost
from harness.sessions import SUBPROTOCOL
from harness.stack import Stack
from harness.waiting import wait_until

CONTRACT = Contract()
UNKNOWN = "0123456789abcdefghjk"
IDS = {"clusterId": "clu_", "hostId": "hst_", "tokenId": "tok_", "apiKeyId": "key_", "blueprintId": "bpt_", "sandboxId": "sbx_",
       "sessionId": "ses_"}
JSON_OPERATIONS = sorted(name for name, operation in CONTRACT.operations.items()
                         if "application/json" in operation.get("requestBody", {}).get("content", {}))


@pytest.fixture(scope="module")
def stack():
    with Stack(agents=0) as stack:
        yield stack


@pytest.fixture(scope="module")
def api(stack):
    return CheckedClient(stack.server.base_url, stack.server.api_key, contract=CONTRACT)


@pytest.fixture(scope="module")
def host(stack, api):
    host = PuppetHost(stack.server, api.create_token()["token"])
    host.extra_features, host.serve_channel = ("files",), serve_files
    host.sessions = []
    with host:
        yield host


@pytest.fixture(scope="module")
def blueprint(api):
    return upload(api, "base")


def upload(api, name, archive=None, expect=201, **headers):
    data = archive if archive is not None else Image([layer({"marker": b"x"})]).oci()
    return api.call("POST", "/api/blueprints", params={"name": name}, data=data, expect=expect,
                    headers={"Content-Type": "application/x-tar", **headers})


def path_of(operation):
    """With ids that exist nowhere."""
    return operation["template"].format(**{name: prefix + UNKNOWN for name, prefix in IDS.items()})


def valid_body(name):
    schema = CONTRACT.operations[name]["requestBody"]["content"]["application/json"]
    return copy.deepcopy(next(iter(schema["examples"].values()))["value"])


# Every operation


def walk_system(api):
    assert api.get("/api/health") == {"status": "ok"}
    api.get("/api/version")
    assert api.get("/api/whoami")["role"] == "admin"
    assert api.get("/api/openapi.json")["paths"].keys() == CONTRACT.document["paths"].keys()


def walk_clusters(api):
    made = api.post("/api/clusters", {"name": "walked", "kind": "managed"}, expect=201)
    path = f"/api/clusters/{made['id']}"
    assert api.get(path) == made
    renamed = api.patch(path, {"name": "renamed"}, made["version"], expect=200)
    assert renamed["version"] == made["version"] + 1
    assert api.patch(path, {"name": "renamed"}, renamed["version"], expect=200) == renamed
    api.problem("PATCH", path, 412, "aborted", json={"name": "x"}, headers={"If-Match": '"1"'})
    api.problem("PATCH", path, 428, "failed_precondition", json={"name": "x"})
    api.problem("PATCH", path, 400, "invalid_argument", json={"name": "x"}, headers={"If-Match": 'W/"1"'})
    api.problem("PATCH", path, 409, "already_exists", json={"name": "default"}, headers={"If-Match": '"2"'})
    api.problem("POST", "/api/clusters", 409, "already_exists", json={"name": "renamed", "kind": "byo"})
    api.problem("POST", "/api/provisioning-tokens", 409, "failed_precondition", json={"clusterId": made["id"]})
    assert made["id"] in {cluster["id"] for cluster in api.list_all("/api/clusters", limit=1)}
    api.delete(path, expect=204)
    api.problem("DELETE", path, 404, "not_found")
    default = api.default_cluster()
    api.problem("DELETE", f"/api/clusters/{default['id']}", 409, "failed_precondition")


def walk_tokens_and_keys(api):
    token = api.create_token(maxUses=2, name="walked")
    path = f"/api/provisioning-tokens/{token['id']}"
    assert "token" not in api.get(path)
    api.delete(path, expect=204)
    api.delete(path, expect=204)
    assert api.get(path)["state"] == "revoked"
    assert all("token" not in each for each in api.list_all("/api/provisioning-tokens"))
    key = api.post("/api/api-keys", {"name": "walked"}, expect=201)
    assert key["role"] == "member"
    other = api.with_key(key["key"])
    assert other.get("/api/whoami")["apiKeyId"] == key["id"]
    assert next(each for each in api.list_all("/api/api-keys") if each["id"] == key["id"])["lastUsedAt"]
    api.problem("POST", "/api/api-keys", 409, "already_exists", json={"name": "walked"})
    api.delete(f"/api/api-keys/{key['id']}", expect=204)
    other.problem("GET", "/api/whoami", 401, "unauthenticated")


def walk_blueprints(api):
    made = upload(api, "walked")
    assert api.get(f"/api/blueprints/{made['id']}") == made
    assert made in api.list_all("/api/blueprints")
    upload(api, "walked", expect=409)
    check_problem(api.raw("POST", "/api/blueprints", params={"name": "empty"}, data=b"",
                          headers={"Content-Type": "application/x-tar"}), 400, "invalid_argument")
    wrong = "sha-256=:" + "A" * 43 + "=:"
    problem = check_problem(api.raw("POST", "/api/blueprints", params={"name": "lie"}, data=Image([layer({"a": b"b"})]).oci(),
                                    headers={"Content-Type": "application/x-tar", "Content-Digest": wrong}), 422, "data_loss")
    assert problem["reason"] == "digest_mismatch"
    check_problem(api.raw("POST", "/api/blueprints", params={"name": "zip"}, data=b"x",
                          headers={"Content-Type": "application/zip"}), 415, "invalid_argument")
    api.delete(f"/api/blueprints/{made['id']}", expect=204)
    api.problem("DELETE", f"/api/blueprints/{made['id']}", 404, "not_found")


def walk_hosts(api, host):
    shown = api.host(host.host_id)
    assert shown["state"] == "connected"
    path = f"/api/hosts/{host.host_id}"
    tagged = api.patch(path, {"tags": {"zone": "a"}}, shown["version"], expect=200)
    assert tagged["tags"] == {"zone": "a"}
    api.problem("PATCH", path, 412, "aborted", json={"name": "x"}, headers={"If-Match": f'"{shown["version"]}"'})
    assert not tagged["cordoned"]
    assert api.post(f"{path}/drain", {"graceMs": 0}, expect=202)["cordoned"]
    assert not api.patch(path, {"cordoned": False}, api.host(host.host_id)["version"])["cordoned"]
    assert [each["id"] for each in api.list_all("/api/hosts", clusterId=host.cluster_id)] == [host.host_id]
    assert api.list_all("/api/hosts", clusterId="clu_" + UNKNOWN) == []


def walk_adoption(stack, api, blueprint):
    """A host that holds sandboxes of which this server's database knows nothing."""
    holder = PuppetHost(stack.server, api.create_token()["token"], "holder")
    path = f"/api/hosts/{holder.host_id}"
    api.problem("GET", f"{path}/adoptable", 409, "failed_precondition")
    ids = [f"sbx_{letter}{UNKNOWN[1:]}" for letter in "abcd"]
    holder.hold(ids[0], 3, blueprint["digest"], name="held")
    holder.hold(ids[1], 1, blueprint["digest"], name="held")
    holder.hold(ids[2], 1, "sha256:" + "0" * 64, name="foreign")
    holder.hold(ids[3], 5, blueprint["digest"], name="dying", desired="DELETED")
    with holder:
        wait_until(lambda: len(api.get(f"{path}/adoptable")["items"]) == 4, 10)
        items = {item["id"]: item for item in api.get(f"{path}/adoptable")["items"]}
        assert items[ids[0]]["blueprint"]["name"] == blueprint["name"] and "blueprint" not in items[ids[2]]
        adopted = api.post(f"{path}/adoptable/{ids[0]}", expect=201)
        assert (adopted["id"], adopted["name"], adopted["generation"], adopted["hostId"]) == (ids[0], "held", 4, holder.host_id)
        assert api.post(f"{path}/adoptable/{ids[0]}", expect=201)["id"] == ids[0], "a repeat"
        wait_until(lambda: holder.held[ids[0]] == 4, 10, "the host being told of the higher generation")
        taken = api.problem("POST", f"{path}/adoptable/{ids[1]}", 409, "already_exists")
        assert "another name" in taken["fix"]
        assert api.post(f"{path}/adoptable/{ids[1]}", {"name": "held-2"}, expect=201)["name"] == "held-2"
        missing = api.problem("POST", f"{path}/adoptable/{ids[2]}", 409, "failed_precondition")
        assert missing["reason"] == "blueprint_missing" and "0" * 64 in missing["detail"]
        assert api.problem("POST", f"{path}/adoptable/{ids[3]}", 409, "failed_precondition")["reason"] == "sandbox_deleting"
        api.problem("POST", f"{path}/adoptable/sbx_{UNKNOWN}", 404, "not_found")
        assert {item["id"] for item in api.get(f"{path}/adoptable")["items"]} == {ids[2], ids[3]}
        holder.fence = "0123456789abcdef" * 2
        changed = api.problem("POST", f"{path}/deletion-confirmations", 409, "failed_precondition", json={"fence": "f" * 32})
        assert changed["reason"] == "fence_changed"
        assert api.post(f"{path}/deletion-confirmations", {"fence": holder.fence}, expect=200) == {"fence": holder.fence, "released": 3}
        assert api.problem("POST", f"{path}/deletion-rejections", 409, "failed_precondition", json={"fence": "f" * 32})["reason"] == "fence_changed"
        assert api.post(f"{path}/deletion-rejections", {"fence": holder.fence}, expect=200) == {"fence": holder.fence, "rejected": 3}
        lines = [line["action"] for line in api.list_all("/api/audit")]
        assert lines.count("sandbox.adopt") == 2 and lines.count("host.reject_deletions") == 2 and lines.count("host.confirm_deletions") == 2
        for sandbox_id in ids[:2]:
            api.delete_sandbox(sandbox_id)
    api.problem("POST", f"{path}/deletion-confirmations", 409, "failed_precondition", json={"fence": holder.fence})
    api.delete(path, expect=204)


def walk_sandboxes(api, host, blueprint):
    everything = dict(name="walked", blueprint=blueprint["digest"], hostId=host.host_id, requiredTags={"zone": "a"},
                      requiredTraits=["amd64"], command=["sleep", "inf"], env={"A": "ä"}, workingDir="/", user="0:0",
                      resources={"cpuMillis": 500, "memoryBytes": 16 << 20, "pids": 16}, restart={"mode": "on_failure", "maxRestarts": 3},
                      ttlSeconds=3600, idleStopSeconds=1800, onDisconnect={"stopAfterSeconds": 600})
    assert api.post("/api/placements", everything, expect=200)["hostId"] == host.host_id
    made = api.post("/api/sandboxes", everything, expect=201)
    path = f"/api/sandboxes/{made['id']}"
    assert made["restart"] == {"mode": "on_failure", "maxRestarts": 3} and made["restarts"] == 0
    assert made["onDisconnect"] == {"stopAfterSeconds": 600} and made["idleStopSeconds"] == 1800 and made["expiresAt"] > made["createdAt"]
    assert made["state"] == "placing" and made["reason"] == "pending_placement" and made["env"] == {"A": "ä"}
    running = api.get(path, params={"waitFor": "running,failed", "waitMs": 20000})
    assert running["state"] == "running" and "reason" not in running
    walk_kept_sessions(api, host, path)
    api.problem("POST", "/api/sandboxes", 409, "already_exists", json=everything)
    key = {"Idempotency-Key": "walked-1"}
    keyed = {"blueprint": "base", "hostId": host.host_id}
    first = api.call("POST", "/api/sandboxes", json=keyed, headers=key, expect=201)
    assert api.call("POST", "/api/sandboxes", json=keyed, headers=key, expect=201)["id"] == first["id"]
    reused = api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={**keyed, "name": "x"}, headers=key)
    assert reused["reason"] == "repeat_key_reused"
    api.delete_sandbox(first["id"])
    spent = api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json=keyed, headers=key)
    assert spent["reason"] == "repeat_key_spent"
    bad = api.problem("POST", "/api/sandboxes", 400, "invalid_argument", json=keyed, headers={"Idempotency-Key": "a b"})
    assert bad["errors"][0]["pointer"] == "/header/Idempotency-Key"
    api.problem("DELETE", f"/api/hosts/{host.host_id}", 409, "failed_precondition")
    in_use = api.problem("DELETE", f"/api/blueprints/{blueprint['id']}", 409, "failed_precondition")
    assert in_use["errors"][0]["pointer"] == f"/sandboxes/{made['id']}"
    assert api.list_all("/api/sandboxes", hostId=host.host_id, state="running")[0]["id"] == made["id"]
    longer = api.post(f"{path}/lifetime", {"ttlSeconds": 7200}, expect=200)
    assert longer["expiresAt"] > made["expiresAt"] and longer["idleStopSeconds"] == 1800
    kept = api.post(f"{path}/lifetime", {"ttlSeconds": 0, "idleStopSeconds": 0}, expect=200)
    assert "expiresAt" not in kept and "idleStopSeconds" not in kept
    assert api.post(f"{path}/start", expect=202)["generation"] == 1
    assert api.post(f"{path}/stop", {"graceMs": 0}, expect=202)["generation"] == 2
    assert api.get(path, params={"waitFor": "stopped", "waitMs": 20000})["state"] == "stopped"
    api.post(f"{path}/stop", expect=202)
    api.post(f"{path}/start", expect=202)
    api.get(path, params={"waitFor": "running", "waitMs": 20000})
    host.say(made["id"], 3, "FAILED", reason="workload_exited",
             exit=messages().ExitInfo(signal=9, oom_killed=True, at=messages().Timestamp(unix_ms=1767225600000)))
    failed = api.get(path, params={"waitFor": "failed", "waitMs": 20000})
    assert failed["exit"]["signal"] == "KILL" and failed["exit"]["oomKilled"]
    fresh = {"blueprint": "base", "graceMs": 0}
    key = {"Idempotency-Key": "fresh-1"}
    made_anew = api.call("POST", f"{path}/reprovision", json=fresh, headers=key, expect=202)
    assert (made_anew["generation"], made_anew["rootGeneration"]) == (4, 4)
    assert api.call("POST", f"{path}/reprovision", json=fresh, headers=key, expect=202)["generation"] == 4
    wait_until(lambda: api.get(path)["observedGeneration"] == 4, 10)
    assert api.post(f"{path}/reprovision", expect=202)["rootGeneration"] == 5
    wait_until(lambda: api.get(path)["observedGeneration"] == 5, 10)
    unknown = api.problem("POST", f"{path}/reprovision", 404, "not_found", json={"blueprint": "no-such"})
    assert unknown["errors"][0]["pointer"] == "/blueprint"
    assert api.post(f"{path}/archive", {"graceMs": 0}, expect=202)["desiredState"] == "archived"
    assert api.post(f"{path}/archive", expect=202)["generation"] == 6
    assert wait_until(lambda: (now := api.get(path))["observedGeneration"] == 6 and now, 10)["reason"] == "archiving"
    api.problem("POST", f"{path}/restore", 409, "failed_precondition", json={})
    assert host.agent.upload_layer(made["id"], 6, layer({"wrote": b"this"}))[:3] == (200, len(layer({"wrote": b"this"})), True)
    away = api.get(path)
    assert away["state"] == "archived" and "hostId" not in away and away["archive"]["digest"] == away["blueprint"]["digest"]
    refused = api.problem("POST", f"{path}/stop", 409, "failed_precondition")
    assert refused["reason"] == "sandbox_archived"
    back = api.post(f"{path}/restore", {"hostId": host.host_id}, expect=202)
    assert back["hostId"] == host.host_id and back["rootGeneration"] == back["generation"]
    wait_until(lambda: api.get(path)["observedGeneration"] == back["generation"], 10)
    api.problem("POST", f"{path}/restore", 404, "not_found", json={"hostId": "hst_" + UNKNOWN})
    api.delete(path, expect=202)
    api.call("POST", f"{path}/lifetime", json={"ttlSeconds": 60}, expect=(404, 409))
    check_gone(api, path)
    walk_events(api, host, made)


def walk_events(api, host, made):
    """The whole life, after the sandbox is gone; page by page it is the same."""
    path = f"/api/sandboxes/{made['id']}/events"
    events = api.get(path, params={"limit": 200})["items"]
    assert [event["kind"] for event in events] == [
        "created", "observed", "stop_requested", "observed", "start_requested", "observed", "observed",
        "reprovision_requested", "observed", "reprovision_requested", "observed", "archive_requested", "observed", "archived",
        "restore_requested", "observed", "delete_requested", "deleted"]
    assert [event["state"] for event in events][6] == "failed" and [event["state"] for event in events][-2:] == ["deleting", "deleted"]
    assert events[6]["exit"]["oomKilled"] and events[6]["actor"] == host.host_id == events[-1]["actor"]
    paged, after = [], 0
    while page := api.get(path, params={"limit": 2, "after": after})["items"]:
        paged += page
        after = page[-1]["sequence"]
    assert paged == events
    with EventStream(api, after=0) as stream:
        first = stream.begin().next()
    assert first["event"] == "sandbox" and first["data"]["kind"] in ("created", "adopted")


def walk_kept_sessions(api, host, path):
    """What a guest says of its sessions, as far as the contract has a form for it."""
    m = messages()
    made = "ses_" + UNKNOWN
    host.sessions.append(m.SessionInfo(session_id=made, owner="nobody", program="top", state=m.SessionInfo.STATE_ENDED, exit_signal=9,
                                       lifetime=m.SessionPolicy.LIFETIME_DETACHED, output_bytes=2**64 - 1, age_ms=5000,
                                       terminal=m.TerminalSize(rows=24, columns=80)))
    listed, = api.get(f"{path}/sessions")["items"]
    assert (listed["id"], listed["exit"], listed["detached"]) == (made, {"signal": "KILL"}, True) and "createdBy" not in listed
    tickets = f"{path}/sessions/{made}/attach-tickets"
    assert api.post(tickets, {"mode": "view"}, expect=201)["ticket"] != api.post(tickets, expect=201)["ticket"]
    api.problem("POST", f"{path}/sessions/ses_{UNKNOWN[::-1].replace('k', 'm')}/attach-tickets", 404, "not_found")
    api.delete(f"{path}/sessions/{made}", expect=204)
    api.problem("DELETE", f"{path}/sessions/{made}", 404, "not_found")
    assert api.get(f"{path}/sessions")["items"] == []


def check_gone(api, path):
    """A wait for what never comes ends as soon as the sandbox is gone."""
    api.problem("GET", path, 404, "not_found", params={"waitFor": "archived", "waitMs": 20000})


def walk_logs(stack, api):
    """A host of its own, which has a log."""
    with PuppetHost(stack.server, api.create_token()["token"], "talks") as host:
        made = api.post("/api/sandboxes", {"blueprint": "base", "hostId": host.host_id}, expect=201)
        run = bytes(range(16))
        host.logs[made["id"]] = [dict(time_ms=1767225600123, data=b"out\n", run=run, offset=4),
                                 dict(time_ms=1767225600124, data=b"\xff", is_stderr=True, lost_bytes=7, run=run, offset=12)]
        api.get(f"/api/sandboxes/{made['id']}", params={"waitFor": "running,failed", "waitMs": 20000})
        with LogStream(api, made, tail=5, since="2026-01-01T00:00:00.000Z") as stream:
            assert stream.status == 200
            pieces = [(p["stream"], p["raw"], p["time"]) for p in stream.pieces()]
        assert pieces == [("stdout", b"out\n", "2026-01-01T00:00:00.123Z"), ("stderr", b"\xff", "2026-01-01T00:00:00.124Z")]
        assert stream.ended and stream.lost == 7 and stream.position == f"{run.hex()}.12"
        path = f"/api/sandboxes/{made['id']}/logs"
        for bad in ({"since": "yesterday"}, {"tail": -1}, {"after": "1"}, {"follow": "perhaps"}):
            api.problem("GET", path, 400, "invalid_argument", params=bad)
        api.problem("GET", f"/api/sandboxes/sbx_{UNKNOWN}/logs", 404, "not_found")
        host.disconnect()
        wait_until(lambda: api.host(host.host_id)["state"] == "disconnected", 20, "the host being gone")
        assert api.problem("GET", path, 409, "failed_precondition")["reason"] == "host_disconnected"
        host.connect()
        wait_until(lambda: api.host(host.host_id)["state"] == "connected", 20, "the host being back")
        api.delete_sandbox(made["id"])
    api.delete(f"/api/hosts/{host.host_id}", expect=204)


def walk_session(api):
    url = api.base_url.replace("http", "ws") + "/api/sessions"
    socket = websocket.create_connection(url, subprotocols=[SUBPROTOCOL], header=[f"Authorization: Bearer {api.api_key}"],
                                         http_no_proxy=["*"], suppress_origin=True)
    headers = {name.title(): value for name, value in socket.handshake_response.headers.items()}
    CONTRACT.check_answer(CONTRACT.operations["openSession"], socket.handshake_response.status, headers, b"")
    api.seen.add(("openSession", 101))
    socket.close()
    api.problem("GET", "/api/sessions", 426, "failed_precondition")


def walk_files(api, host):
    made = api.post("/api/sandboxes", {"blueprint": "base", "hostId": host.host_id}, expect=201)
    api.get(f"/api/sandboxes/{made['id']}", params={"waitFor": "running", "waitMs": 20000})
    path, where = f"/api/sandboxes/{made['id']}/files", {"path": "/tmp/a"}
    assert api.raw("GET", path, params=where).content == CONTENT
    part = api.raw("GET", path, params={**where, "version": VERSION}, headers={"Range": "bytes=2-"})
    assert (part.status_code, part.content, part.headers["ETag"]) == (206, CONTENT[2:], f'"{VERSION}"')
    octets = {"Content-Type": "application/octet-stream"}
    written = api.call("PUT", path, params={**where, "mode": "0600", "uid": 1, "gid": 2, "modifiedAt": "2026-01-02T03:04:05.5Z", "upload": "u-1",
                                            "offset": 3}, data=CONTENT, headers=octets, expect=200)
    assert written == api.get(f"{path}/stat", params={**where, "follow": "true"})
    names = api.get(f"{path}/list", params={**where, "limit": 1000})["items"]
    assert names[0] == written and names[1]["nameBase64"] == "_w"
    api.call("POST", f"{path}/directories", params={**where, "mode": "1777", "parents": "true"}, expect=200)
    assert len(api.raw("GET", f"{path}/tree", params={"pathBase64": "L_8", "contents": "true"}).content) >= 1024
    tar = {"Content-Type": "application/x-tar"}
    assert api.call("PUT", f"{path}/tree", params=where, data=bytes(1024), headers=tar, expect=200) == {"entries": 1, "sizeBytes": len(CONTENT)}
    api.call("DELETE", path, params={**where, "recursive": "true"}, expect=204)
    for bad in ({}, {**where, "pathBase64": "L_8"}, {"path": "a"}, {"pathBase64": "L"}, {"pathBase64": "YQ"}):
        api.problem("GET", path, 400, "invalid_argument", params=bad)
    assert api.problem("PUT", path, 400, params={**where, "offset": 1}, headers=octets)["errors"][0]["pointer"] == "/query/offset"
    for name, value in (("mode", "888"), ("modifiedAt", "2026-02-30T00:00:00Z"), ("uid", -1), ("upload", "a/b")):
        bad = api.problem("PUT", path, 400, params={**where, name: value}, headers=octets)
        assert bad["errors"][0]["pointer"] == f"/query/{name}"
    api.delete_sandbox(made["id"])
    assert api.problem("GET", path, 404, params=where)["code"] == "not_found"


def walk_audit(api, host):
    entries = api.list_all("/api/audit", limit=7)
    assert len({entry["sequence"] for entry in entries}) == len(entries) > 20, "no page repeats another's"
    assert entries == sorted(entries, key=lambda entry: (entry["at"], entry["sequence"]), reverse=True)
    actions = {entry["action"] for entry in entries if entry["subject"] == host.host_id}
    assert {"host.enroll", "host.update", "host.drain"} <= actions
    gone = [entry for entry in entries if entry["action"].startswith("sandbox.delete")]
    assert {entry["actor"][:4] for entry in gone} == {"usr_", "hst_"}, "asked for by one, done by the other"


def test_every_operation_answers_as_promised(stack, api, host, blueprint):
    walk_system(api)
    walk_clusters(api)
    walk_tokens_and_keys(api)
    walk_blueprints(api)
    walk_hosts(api, host)
    walk_adoption(stack, api, blueprint)
    walk_sandboxes(api, host, blueprint)
    walk_logs(stack, api)
    walk_session(api)
    walk_files(api, host)
    walk_audit(api, host)
    with PuppetHost(stack.server, api.create_token()["token"], "short-lived") as second:
        api.delete(f"/api/hosts/{second.host_id}", expect=204)
        api.problem("GET", f"/api/hosts/{second.host_id}", 404, "not_found")
    succeeded = {name for name, status in api.seen if status < 300}
    assert succeeded == set(CONTRACT.operations), "operations that were never seen to succeed"


# What every operation does alike


@pytest.mark.parametrize("name", sorted(CONTRACT.operations))
def test_needs_a_key_with_its_role(api, name):
    operation = CONTRACT.operations[name]
    if operation["x-gs-role"] == "none":
        assert api.with_key(None).raw(operation["method"], path_of(operation)).status_code == 200
        return
    api.with_key(None).problem(operation["method"], path_of(operation), 401, "unauthenticated")
    api.with_key("gsk_" + UNKNOWN + "_" + "A" * 43).problem(operation["method"], path_of(operation), 401, "unauthenticated")
    lower = {"viewer": None, "member": "viewer", "admin": "member"}[operation["x-gs-role"]]
    if lower:
        low = api.with_key(role_key(api, lower))
        low.problem(operation["method"], path_of(operation), 403, "permission_denied")


ROLE_KEYS = {}


def role_key(api, role):
    if (api.base_url, role) not in ROLE_KEYS:
        ROLE_KEYS[api.base_url, role] = api.post("/api/api-keys", {"name": f"only-{role}", "role": role}, expect=201)["key"]
    return ROLE_KEYS[api.base_url, role]


@pytest.mark.parametrize("name", sorted(CONTRACT.operations))
def test_refuses_query_parameters_that_it_does_not_know(api, name):
    operation = CONTRACT.operations[name]
    problem = api.problem(operation["method"], path_of(operation), 400, "invalid_argument", params={"colour": "red"})
    assert "/query/colour" in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize("name", sorted(name for name in CONTRACT.operations if "{" in CONTRACT.operations[name]["template"]))
def test_tells_a_malformed_id_from_one_that_does_not_exist(api, name):
    operation = CONTRACT.operations[name]
    member = operation["template"].split("{")[1].split("}")[0]
    body = valid_body(name) if name in JSON_OPERATIONS else None
    headers = {"If-Match": '"1"'} if operation["method"] == "PATCH" else {}
    headers |= {"Content-Type": kind for kind in operation.get("requestBody", {}).get("content", {}) if body is None}
    params = {"path": "/tmp/a"} if operation["tags"] == ["files"] else {}
    malformed = path_of(operation).replace(UNKNOWN, UNKNOWN[:-1] + "u")  # no digit of an id
    problem = api.problem(operation["method"], malformed, 400, "invalid_argument", json=body, headers=headers, params=params)
    assert problem["errors"][0]["pointer"] == f"/path/{member}"
    api.problem(operation["method"], path_of(operation), 404, "not_found", json=body, headers=headers, params=params)


@pytest.mark.parametrize("path", sorted({operation["template"] for operation in CONTRACT.operations.values()}))
def test_names_the_methods_of_a_path(api, path):
    operation = next(each for each in CONTRACT.operations.values() if each["template"] == path)
    response = api.raw("TRACE", path_of(operation))
    check_problem(response, 405, "invalid_argument")
    allowed = {each["method"] for each in CONTRACT.operations.values() if each["template"] == path}
    assert set(response.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/", "/api", "/api/", "/api/nothing", "/api/clusters/", "/api/sandboxes/sbx_x/explode", "/favicon.ico"])
def test_answers_404_where_nothing_is(api, path):
    check_problem(api.raw("GET", path), 404, "not_found")


@pytest.mark.parametrize("query,pointer", [
    ({"limit": "0"}, "/query/limit"), ({"limit": "201"}, "/query/limit"), ({"limit": "many"}, "/query/limit"),
    ({"limit": ""}, "/query/limit"), ({"limit": ["1", "2"]}, "/query/limit"), ({"cursor": "a b"}, "/query/cursor"),
    ({"cursor": "bm90IG91cnM"}, "/query/cursor"), ({"state": "dancing"}, "/query/state"), ({"hostId": "clu_" + UNKNOWN}, "/query/hostId"),
])
def test_refuses_bad_list_parameters(api, query, pointer):
    problem = api.problem("GET", "/api/sandboxes", 400, "invalid_argument", params=query)
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("query", [{"waitFor": "dancing"}, {"waitFor": "running,running"}, {"waitFor": ""}, {"waitMs": "60001"}, {"waitMs": "-1"}])
def test_refuses_bad_waits(api, query):
    api.problem("GET", "/api/sandboxes/sbx_" + UNKNOWN, 400, "invalid_argument", params=query)


def test_echoes_a_request_id_that_fits_and_replaces_one_that_does_not(api):
    assert api.raw("GET", "/api/health", headers={"X-Request-Id": "mine-1"}).headers["X-Request-Id"] == "mine-1"
    for bad in ("a b", "x" * 129, "{}"):
        assert api.raw("GET", "/api/health", headers={"X-Request-Id": bad}).headers["X-Request-Id"].startswith("req_")


def test_pages_hold_what_was_asked_for(api):
    for number in range(5):
        api.post("/api/clusters", {"name": f"page-{number}", "kind": "byo"})
    page = api.get("/api/clusters", params={"limit": 2})
    everything = api.list_all("/api/clusters", limit=2)
    # Two that were made in the same millisecond are in the order of their ids.
    order = [(each["createdAt"], each["id"]) for each in everything]
    assert order == sorted(order, reverse=True), "newest first"
    assert page["items"] == everything[:2]
    assert len({each["id"] for each in everything}) == len(everything) >= 6
    elsewhere = api.problem("GET", "/api/hosts", 400, "invalid_argument", params={"cursor": page["nextCursor"]})
    assert elsewhere["errors"][0]["pointer"] == "/query/cursor"


# Bodies


@pytest.mark.parametrize("name", JSON_OPERATIONS)
@pytest.mark.parametrize("body,status", [
    (b"", 400), (b"{", 400), (b"null", 400), (b"[]", 400), (b'"x"', 400), (b"\xff\xfe", 400), (b'{"name":"a","name":"b"}', 400),
    (b'{"colour":"red"}', 400), (b'{"name":"a\\u0000b"}', 400), (b"[" * 60000, 400), (b'{"name":"' + b"a" * 70000 + b'"}', 413),
], ids=["empty", "cut off", "null", "array", "string", "not UTF-8", "twice", "unknown member", "U+0000", "deep", "too large"])
def test_refuses_what_is_no_body(api, name, body, status):
    operation = CONTRACT.operations[name]
    response = api.raw(operation["method"], path_of(operation), data=body,
                       headers={"Content-Type": "application/json", "If-Match": '"1"'})
    if body == b"" and not operation["requestBody"].get("required"):
        check_problem(response, 404, "not_found")  # no body is fine here; there is no such sandbox
        return
    check_problem(response, status, "invalid_argument" if status == 400 else "resource_exhausted")


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_refuses_other_media_types(api, name):
    operation = CONTRACT.operations[name]
    data = json.dumps(valid_body(name)).encode()
    for headers in ({"Content-Type": "text/plain"}, {}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}):
        response = api.raw(operation["method"], path_of(operation), data=data, headers={"If-Match": '"1"', **headers})
        check_problem(response, 415, "invalid_argument")


def broken_values(schema):
    """(why, value) for values that break `schema` in one way each."""
    schema = CONTRACT.resolve(schema)
    kind = schema.get("type")
    wrong = {"string": 7, "integer": "7", "number": "7", "boolean": "true", "array": {}, "object": []}[kind]
    yield "type", wrong
    yield "null", None
    if "enum" in schema:
        yield "enum", "no-such-value"
    if kind == "string":
        if "minLength" in schema and schema["minLength"] > 0:
            yield "minLength", ""
        if "maxLength" in schema:
            yield "maxLength", "a" * (schema["maxLength"] + 1) if schema["maxLength"] < 60000 else 7
        if "pattern" in schema:
            yield "pattern", "\u00e9 !"
    if kind == "integer":
        yield "fraction", 1.5
        if "minimum" in schema:
            yield "minimum", schema["minimum"] - 1
        if "maximum" in schema:
            yield "maximum", schema["maximum"] + 1
    if kind == "array":
        item = CONTRACT.resolve(schema["items"])
        if schema.get("minItems", 0) > 0:
            yield "minItems", []
        if "maxItems" in schema:
            yield "maxItems", [f"a{n}" for n in range(schema["maxItems"] + 1)]
        if schema.get("uniqueItems"):
            yield "uniqueItems", ["a", "a"]
        yield from ((f"item {why}", [value]) for why, value in broken_values(item))
    if kind == "object":
        yield from broken_objects(schema)


def broken_objects(schema):
    if "maxProperties" in schema and schema["maxProperties"] <= 1024:
        yield "maxProperties", {f"a{n}": "x" for n in range(schema["maxProperties"] + 1)}
    if "propertyNames" in schema:
        yield "propertyNames", {"\u00e9 !": "x"}
    if schema.get("additionalProperties") is False:
        yield "additionalProperties", {"colour": "red"}
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from ((f"value {why}", {"a": value}) for why, value in broken_values(schema["additionalProperties"]))
    for name, member in schema.get("properties", {}).items():
        yield from ((f"{name} {why}", {name: value}) for why, value in broken_values(member))


def invalid_bodies():
    for name in JSON_OPERATIONS:
        schema = CONTRACT.resolve(CONTRACT.operations[name]["requestBody"]["content"]["application/json"]["schema"])
        for member in schema.get("required", []):
            yield pytest.param(name, lambda body, member=member: body.pop(member), "", id=f"{name}-without {member}")
        yield pytest.param(name, lambda body: body.update(colour="red"), "/colour", id=f"{name}-unknown member")
        for member, member_schema in schema["properties"].items():
            for why, value in broken_values(member_schema):
                yield pytest.param(name, lambda body, member=member, value=value: body.update({member: value}), f"/{member}",
                                   id=f"{name}-{member} {why}")


@pytest.mark.parametrize("name,spoil,pointer", invalid_bodies())
def test_says_where_a_body_breaks_its_schema(api, name, spoil, pointer):
    operation = CONTRACT.operations[name]
    body = valid_body(name)
    spoil(body)
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert CONTRACT.errors(schema, body), "the test must send something that breaks the contract"
    problem = api.problem(operation["method"], path_of(operation), 400, "invalid_argument", json=body, headers={"If-Match": '"1"'})
    assert all(error["pointer"].startswith(pointer) for error in problem["errors"]), problem


@pytest.mark.parametrize("name", JSON_OPERATIONS)
def test_accepts_the_bodies_that_the_contract_shows(api, name):
    """Whatever the answer is, it must not be that the body breaks the schema."""
    operation = CONTRACT.operations[name]
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        response = api.raw(operation["method"], path_of(operation), json=example["value"], headers={"If-Match": '"1"'})
        assert response.status_code not in (400, 415), response.text


def test_limits_command_and_environment_together(api):
    problem = api.problem("POST", "/api/sandboxes", 400, "invalid_argument",
                          json={"blueprint": "a", "command": ["x" * 30000], "env": {"A": "y" * 20000}})
    assert problem["errors"][0]["pointer"] == "/command"


# Refusals that need a state


def test_says_for_each_host_why_it_does_not_fit(stack, api, blueprint):
    m = messages()
    cluster = api.post("/api/clusters", {"name": "unfit", "kind": "byo"})
    empty = api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "base", "clusterId": cluster["id"]})
    assert "errors" not in empty and "enroll" in empty["fix"]
    broken = m.RuntimeHealth(name="docker", state=m.RuntimeHealth.STATE_UNHEALTHY, reason="dockerd does not answer")
    with PuppetHost(stack.server, api.create_token(cluster["id"])["token"], "ill", runtimes=[broken]) as ill:
        body = {"blueprint": "base", "clusterId": cluster["id"]}
        refused = api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json=body)
        assert refused["errors"] == [{"pointer": f"/hosts/{ill.host_id}", "detail": "runtime docker is unhealthy: dockerd does not answer"}]
        assert api.list_all("/api/sandboxes", hostId=ill.host_id) == [], "nothing was recorded"
    soon = api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "base", "runtime": "sbx"})
    assert "coming soon" in soon["detail"]


def test_an_unheard_host_makes_its_sandboxes_unknown_and_gives_them_back(stack, api, blueprint):
    cluster = api.post("/api/clusters", {"name": "unheard", "kind": "byo"})
    with PuppetHost(stack.server, api.create_token(cluster["id"])["token"], "comes-and-goes") as host:
        made = api.create_sandbox("base", clusterId=cluster["id"])
        host.disconnect()
        path = f"/api/sandboxes/{made['id']}"
        lost = api.get(path, params={"waitFor": "unknown", "waitMs": 20000})
        assert lost["state"] == "unknown" and lost["reason"] == "host_disconnected"
        assert [each["id"] for each in api.list_all("/api/sandboxes", state="unknown")] == [made["id"]]
        host.connect()
        assert api.get(path, params={"waitFor": "running", "waitMs": 20000})["state"] == "running"
        api.delete_sandbox(made["id"])


def test_a_removed_host_takes_its_certificate_and_its_sandboxes_along(stack, api, blueprint):
    cluster = api.post("/api/clusters", {"name": "removed", "kind": "byo"})
    with PuppetHost(stack.server, api.create_token(cluster["id"])["token"], "doomed") as host:
        made = api.create_sandbox("base", clusterId=cluster["id"])
        refused = api.problem("DELETE", f"/api/hosts/{host.host_id}", 409, "failed_precondition")
        assert [error["pointer"] for error in refused["errors"]] == [f"/sandboxes/{made['id']}"]
        api.delete(f"/api/hosts/{host.host_id}?force=true", expect=204)
        path = f"/api/sandboxes/{made['id']}"
        lost = api.get(path)
        assert lost["state"] == "failed" and lost["reason"] == "host_removed"
        api.problem("POST", f"{path}/start", 409, "failed_precondition")
        assert api.delete(path, expect=202)["state"] == "deleted"
        api.problem("GET", path, 404, "not_found")


def test_a_failure_before_a_start_is_no_answer_to_a_wait_after_it(stack, api, host, blueprint):
    made = api.create_sandbox("base", hostId=host.host_id)
    host.silent.add(made["id"])
    host.say(made["id"], 1, "FAILED", reason="workload_exited")
    path = f"/api/sandboxes/{made['id']}"
    api.get(path, params={"waitFor": "failed", "waitMs": 20000})
    assert api.post(f"{path}/start", expect=202)["generation"] == 2
    waited = api.get(path, params={"waitFor": "running,failed", "waitMs": 300})
    assert waited["observedGeneration"] == 1, "it waited the whole time: nothing is known of the start yet"
    host.say(made["id"], 2, "RUNNING")
    assert api.get(path, params={"waitFor": "running,failed", "waitMs": 20000})["state"] == "running"
    host.silent.discard(made["id"])
    api.delete_sandbox(made["id"])


def test_sessions_are_closed_to_pages_of_other_origins(api):
    url = api.base_url.replace("http", "ws") + "/api/sessions"
    header = [f"Authorization: Bearer {api.api_key}"]
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(url, subprotocols=[SUBPROTOCOL], header=header, origin="https://elsewhere.example", http_no_proxy=["*"])
    assert refused.value.status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:  # its own as well: nothing is allowed by default
        websocket.create_connection(url, subprotocols=[SUBPROTOCOL], header=header, origin=api.base_url, http_no_proxy=["*"])
    assert refused.value.status_code == 403
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(url, header=header, http_no_proxy=["*"], suppress_origin=True)
    assert refused.value.status_code == 400
