"""A second tenant's key finds nothing of the first tenant, by whatever id or name, and cannot tell it from what does not exist."""

import pytest

from harness.archives import Image, layer
from harness.contract import CheckedClient, Contract
from harness.puppet_host import PuppetHost
from harness.sessions import ExecSession
from harness.stack import Stack

CONTRACT = Contract()
# Another tenant's id where the contract takes one: (operation, body). Each must be 404, and change nothing.
BY_ID = [
    ("getCluster", None), ("updateCluster", {"name": "stolen"}), ("deleteCluster", None),
    ("listAdoptable", None), ("adoptSandbox", {}), ("confirmDeletions", {"fence": "0123456789abcdef" * 2}),
    ("rejectDeletions", {"fence": "0123456789abcdef" * 2}),
    ("getHost", None), ("updateHost", {"name": "stolen"}), ("drainHost", {"graceMs": 0}), ("deleteHost", None),
    ("getToken", None), ("revokeToken", None), ("revokeApiKey", None),
    ("getBlueprint", None), ("deleteBlueprint", None),
    ("getSandbox", None), ("setSandboxLifetime", {"ttlSeconds": 60}), ("startSandbox", None), ("stopSandbox", {}),
    ("reprovisionSandbox", {}), ("archiveSandbox", {}), ("restoreSandbox", {}), ("deleteSandbox", None), ("listSandboxEvents", None),
    ("streamSandboxLogs", None), ("readFile", None), ("writeFile", None), ("removeFile", None), ("statFile", None), ("listFiles", None),
    ("makeDirectory", None), ("readFileTree", None), ("writeFileTree", None),
    ("listSessions", None), ("closeSession", None), ("createAttachTicket", {}),
]
LISTS = ["listClusters", "listHosts", "listTokens", "listApiKeys", "listBlueprints", "listSandboxes"]


@pytest.fixture(scope="module")
def stack():
    with Stack(agents=0) as stack:
        yield stack


@pytest.fixture(scope="module")
def ours(stack):
    return CheckedClient(stack.server.base_url, stack.server.api_key, contract=CONTRACT)


@pytest.fixture(scope="module")
def theirs(stack, ours):
    return ours.with_key(stack.server.create_tenant("second"))


@pytest.fixture(scope="module")
def world(stack, ours):
    """One of everything in the first tenant; parameter name → id, and the objects by name."""
    token = ours.create_token(maxUses=5)
    with PuppetHost(stack.server, token["token"], "ours") as host:
        blueprint = ours.call("POST", "/api/blueprints", params={"name": "ours"}, data=Image([layer({"a": b"b"})]).oci(), expect=201,
                              headers={"Content-Type": "application/x-tar"})
        sandbox = ours.create_sandbox("ours", name="ours", hostId=host.host_id)
        key = ours.post("/api/api-keys", {"name": "ours"}, expect=201)
        yield {"clusterId": host.cluster_id, "hostId": host.host_id, "tokenId": token["id"], "apiKeyId": key["id"],
               "blueprintId": blueprint["id"], "sandboxId": sandbox["id"], "sessionId": "ses_0123456789abcdefghjk", "digest": blueprint["digest"]}


def snapshot(api):
    """All that a tenant owns, without what changes by itself."""
    moving = {"lastSeenAt", "lastUsedAt", "memoryAvailableBytes", "diskFreeBytes", "uptimeSeconds", "load1", "load5", "load15"}
    return {name: [{k: v for k, v in item.items() if k not in moving} for item in api.list_all(CONTRACT.path(name))] for name in LISTS}


def test_covers_every_operation_that_takes_an_id():
    with_id = {name for name, operation in CONTRACT.operations.items() if "{" in operation["template"]}
    assert {name for name, _ in BY_ID} == with_id


@pytest.mark.parametrize("name,body", BY_ID, ids=[name for name, _ in BY_ID])
def test_an_id_of_another_tenant_does_not_exist(ours, theirs, world, name, body):
    operation = CONTRACT.operations[name]
    before = snapshot(ours)
    path = operation["template"].format(**world)
    headers = {"If-Match": '"1"'} if operation["method"] == "PATCH" else {}
    content = {"writeFile": "application/octet-stream", "writeFileTree": "application/x-tar"}.get(name)
    headers.update({"Content-Type": content} if content else {})
    # What a file operation is about is a parameter.
    base = {"path": "/etc/hostname"} if "/files" in operation["template"] else {}
    for query in ({}, {"force": "true"}) if name == "deleteHost" else (base,):
        foreign = theirs.problem(operation["method"], path, 404, "not_found", json=body, headers=headers, params=query)
        member = operation["template"].split("{")[1].split("}")[0]
        made_up = world[member][:4] + "0" * 20
        unknown = theirs.problem(operation["method"], operation["template"].format(**{**world, member: made_up}), 404, "not_found",
                                 json=body, headers=headers, params=query)
        told = {key: value for key, value in foreign.items() if key not in ("requestId", "instance")}
        expected = {key: value for key, value in unknown.items() if key not in ("requestId", "instance")}
        assert str(told).replace(world[member], made_up) == str(expected), "the two cases must read the same"
    assert snapshot(ours) == before


@pytest.mark.parametrize("name", LISTS)
def test_lists_show_the_own_tenant_only(ours, theirs, world, name):
    path = CONTRACT.path(name)
    seen = {item["id"] for item in ours.list_all(path)} & {item["id"] for item in theirs.list_all(path)}
    assert not seen


def test_filters_with_another_tenants_ids_find_nothing(theirs, world):
    assert theirs.list_all("/api/hosts", clusterId=world["clusterId"]) == []
    assert theirs.list_all("/api/sandboxes", hostId=world["hostId"]) == []


def test_a_cursor_of_another_tenant_is_none(ours, theirs, world):
    ours.post("/api/clusters", {"name": "one-more", "kind": "byo"})
    cursor = ours.get("/api/clusters", params={"limit": 1})["nextCursor"]
    theirs.problem("GET", "/api/clusters", 400, "invalid_argument", params={"cursor": cursor})


@pytest.mark.parametrize("body,pointer", [
    ({"blueprint": "ours"}, "/blueprint"), ({"blueprint": "{blueprintId}"}, "/blueprint"), ({"blueprint": "{digest}"}, "/blueprint"),
    ({"blueprint": "own", "hostId": "{hostId}"}, "/hostId"), ({"blueprint": "own", "clusterId": "{clusterId}"}, "/clusterId"),
], ids=["blueprint by name", "blueprint by id", "blueprint by digest", "host", "cluster"])
def test_a_sandbox_cannot_be_made_from_what_is_another_tenants(ours, theirs, world, body, pointer):
    if not theirs.list_all("/api/blueprints"):
        theirs.call("POST", "/api/blueprints", params={"name": "own"}, data=Image([layer({"c": b"d"})]).oci(), expect=201,
                    headers={"Content-Type": "application/x-tar"})
    filled = {key: value.format(**world) for key, value in body.items()}
    before = snapshot(ours)
    problem = theirs.problem("POST", "/api/sandboxes", 404, "not_found", json=filled)
    assert problem["errors"][0]["pointer"] == pointer
    assert snapshot(ours) == before


def test_a_token_cannot_be_made_for_another_tenants_cluster(theirs, world):
    theirs.problem("POST", "/api/provisioning-tokens", 404, "not_found", json={"clusterId": world["clusterId"]})


def test_the_same_names_are_free_in_another_tenant(theirs, world):
    theirs.post("/api/clusters", {"name": "one-more", "kind": "byo"}, expect=201)
    theirs.post("/api/api-keys", {"name": "ours"}, expect=201)


@pytest.mark.parametrize("reference", ["ours", "{sandboxId}"])
def test_a_session_does_not_find_another_tenants_sandbox(stack, theirs, world, reference):
    with ExecSession(stack.server.base_url, theirs.api_key, reference.format(**world), ["true"]) as session:
        result = session.run()
    assert result.close_code == 4404 and result.error["code"] == "not_found"
