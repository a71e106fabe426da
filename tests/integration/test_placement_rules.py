"""Capacity that is never promised twice, hosts that leave the rotation and come back, and placement shown beforehand."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.archives import Image, layer
from harness.contract import CheckedClient, Contract
from harness.puppet_host import PuppetHost
from harness.stack import Stack

MIB = 1 << 20
CONTRACT = Contract()


@pytest.fixture(scope="module")
def stack():
    with Stack(agents=0, server_args=["--cpu-overcommit", "2", "--max-sandboxes-per-host", "40"]) as stack:
        api = CheckedClient(stack.server.base_url, stack.server.api_key, contract=CONTRACT)
        api.call("POST", "/api/blueprints", params={"name": "base"}, data=Image([layer({"marker": b"x"})]).oci(),
                 headers={"Content-Type": "application/x-tar"})
        stack.checked = api
        yield stack


@pytest.fixture
def pool(stack, request):
    """A cluster of its own for each test; add(name, **facts) enrolls and connects a host in it."""
    api, hosts = stack.checked, []
    cluster = api.post("/api/clusters", {"name": f"pool-{abs(hash(request.node.name)) % 10**9}", "kind": "byo"})["id"]

    class Pool:
        cluster_id = cluster

        def add(self, name, **facts):
            host = PuppetHost(stack.server, api.create_token(cluster)["token"], f"{name}-{cluster[-6:]}", **facts)
            hosts.append(host)
            return host.connect()

        def body(self, **members):
            resources = {"memoryBytes": 16 * MIB, "cpuMillis": 100, **members.pop("resources", {})}
            return {"blueprint": "base", "clusterId": cluster, "resources": resources, **members}

        def create(self, **members):
            return api.post("/api/sandboxes", self.body(**members), expect=201)

        def refused(self, **members):
            problem = api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json=self.body(**members))
            return {error["pointer"].removeprefix("/hosts/"): error["detail"] for error in problem.get("errors", [])}

        def explain(self, **members):
            return api.post("/api/placements", self.body(**members), expect=200)

    yield Pool()
    for host in hosts:
        host.disconnect()
        host.agent.close()
        api.delete(f"/api/hosts/{host.host_id}?force=true", expect=204)


@pytest.mark.parametrize("resources,fits,word", [
    ({"memoryBytes": 1024 * MIB}, 8, "memory"),  # of 8 GiB
    ({"cpuMillis": 500}, 8, "CPUs"),             # of 2 CPUs, each promised twice
    ({}, 40, "sandboxes"),                       # by count
])
def test_a_burst_does_not_oversubscribe(stack, pool, resources, fits, word):
    host = pool.add("burst", memory_bytes=8 << 30, cpu_count=2)
    host.silent = type("Everything", (), {"__contains__": lambda *_: True})()  # nothing is ever confirmed
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: stack.client(stack.server.api_key).raw(
            "POST", "/api/sandboxes", json=pool.body(resources=resources)), range(fits + 12)))
    assert sorted(answer.status_code for answer in answers) == [201] * fits + [409] * 12
    assert word in pool.refused(resources=resources)[host.host_id]
    for sandbox in stack.checked.list_all("/api/sandboxes", hostId=host.host_id):
        stack.checked.delete(f"/api/sandboxes/{sandbox['id']}", expect=202)


def test_a_cordoned_host_takes_nothing_new_and_keeps_what_it_has(stack, pool):
    api, host = stack.checked, pool.add("cordoned")
    before = pool.create()
    cli = stack.cli()
    cli.run("host", "cordon", host.host_id)
    assert api.host(host.host_id)["cordoned"]
    assert "cordoned" in pool.refused()[host.host_id] and "cordoned" in pool.refused(hostId=host.host_id)[host.host_id]
    assert api.wait_sandbox(before["id"], "running")
    assert "Cordoned" in cli.run("host", "info", host.host_id)
    cli.run("host", "uncordon", host.host_id)
    assert pool.create()["hostId"] == host.host_id
    lines = json.loads(cli.run("-o", "json", "audit", "list", "--last", "200"))["items"]
    assert "cordoned" in [line["detail"] for line in lines if line["subject"] == host.host_id]
    assert len(cli.run("audit", "list", "--last", "2").splitlines()) == 3


def test_a_drained_host_stops_what_runs_there(stack, pool):
    api, host, other = stack.checked, pool.add("drained"), pool.add("stays")
    on_host = [pool.create(hostId=host.host_id) for _ in range(3)]
    elsewhere = pool.create(hostId=other.host_id)
    for sandbox in on_host:
        api.wait_sandbox(sandbox["id"], "running")
    stack.cli().run("host", "drain", host.host_id, "--grace", "1s")
    for sandbox in on_host:
        assert api.wait_sandbox(sandbox["id"], "stopped")["desiredState"] == "stopped"
    assert api.wait_sandbox(elsewhere["id"], "running")
    assert pool.create()["hostId"] == other.host_id
    assert api.start_sandbox(on_host[0]["id"])["state"] == "running", "it lives there and may be started"


def test_a_host_that_keeps_failing_leaves_the_rotation(stack, pool):
    api, bad, good = stack.checked, pool.add("bad"), pool.add("good")
    for _ in range(3):
        sandbox = pool.create(hostId=bad.host_id, command=["x"])
        api.wait_sandbox(sandbox["id"], "running") if sandbox["id"] not in bad.silent else None
        api.delete_sandbox(sandbox["id"])
    bad.silent = type("Everything", (), {"__contains__": lambda *_: True})()
    for _ in range(3):
        sandbox = pool.create(hostId=bad.host_id)
        bad.say(sandbox["id"], 1, "FAILED", reason="runtime_error")
        api.wait_sandbox(sandbox["id"], "failed")
    shown = api.host(bad.host_id)
    assert shown["failedCreations"] == 3 and shown["restsUntil"] > shown["lastSeenAt"]
    assert {pool.create()["hostId"] for _ in range(4)} == {good.host_id}
    reasons = {line["hostId"]: line.get("reason") for line in pool.explain()["hosts"]}
    assert reasons == {good.host_id: None, bad.host_id: "resting"}
    assert pool.create(hostId=bad.host_id)["hostId"] == bad.host_id, "who names it gets it"
    stack.cli().run("host", "uncordon", bad.host_id)
    assert "failedCreations" not in api.host(bad.host_id)
    assert all(line["fits"] for line in pool.explain()["hosts"])


def test_a_host_that_has_the_blueprint_is_preferred(stack, pool):
    hosts = [pool.add("one"), pool.add("two"), pool.add("three")]
    seed = pool.create(hostId=hosts[1].host_id)
    stack.checked.wait_sandbox(seed["id"], "running")
    assert pool.create()["hostId"] == hosts[1].host_id


def test_a_dry_run_shows_every_host_and_records_nothing(stack, pool):
    api, fits, lacks = stack.checked, pool.add("fits", traits=["linux", "amd64", "docker", "gpu"]), pool.add("lacks")
    cli = stack.cli()
    base = ("sandbox", "create", "--dry-run", "--blueprint", "base", "--cluster", pool.cluster_id)
    shown = json.loads(cli.run("-o", "json", *base, "--trait", "gpu"))
    assert shown["hostId"] == fits.host_id and shown["hostCount"] == 2 and shown["fittingCount"] == 1
    assert shown["hosts"][1]["hostId"] == lacks.host_id and shown["hosts"][1]["reason"] == "missing_trait"
    assert cli.run("-q", *base).strip() in (fits.host_id, lacks.host_id)
    none = cli.try_run(*base, "--trait", "no-such")
    assert none.returncode == 5 and none.stdout.count("missing_trait") == 2 and "no host fits" in none.stderr
    assert not api.list_all("/api/sandboxes", hostId=fits.host_id)
