"""Which host a sandbox lands on, and what is said when none fits."""

import pytest

from harness.archives import Image, layer
from harness.stack import Stack


@pytest.fixture(scope="module")
def pool(docker, busybox_archive):
    """Two hosts of one cluster: `plain`, and `special` with a trait and a tag."""
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        stack.special = stack.add_agent(env={"AGENT_TRAITS": "gpu, Fast-Disk"})
        stack.wait_connected()
        host = stack.api.host(stack.special.host_id)
        stack.api.patch(f"/api/hosts/{host['id']}", {"tags": {"zone": "rack-3", "empty": ""}}, host["version"])
        yield stack


@pytest.fixture
def place(pool):
    """place(**members) creates a sandbox and returns the host's id; it is deleted afterwards."""
    made = []

    def create(**members):
        sandbox = pool.api.create_sandbox("busybox", wait=False, resources={"memoryBytes": 32 << 20}, **members)
        made.append(sandbox["id"])
        return sandbox["hostId"]

    yield create
    for sandbox_id in made:
        pool.api.delete_sandbox(sandbox_id)


def refusal(stack, **members):
    """{host id: why not} of a refused creation."""
    problem = stack.api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "busybox", **members})
    assert problem["detail"] and problem["fix"]
    return {error["pointer"].removeprefix("/hosts/"): error["detail"] for error in problem["errors"]}


def test_configured_traits_are_listed_in_lower_case_beside_the_detected_ones(pool):
    traits = pool.api.host(pool.special.host_id)["traits"]
    assert {"gpu", "fast-disk", "linux", "docker"} <= set(traits) and traits == sorted(traits)
    assert not {"gpu", "fast-disk"} & set(pool.api.host(pool.agent.host_id)["traits"])


def test_a_required_trait_decides(pool, place):
    assert place(requiredTraits=["gpu", "docker"]) == pool.special.host_id


def test_a_required_tag_decides(pool, place):
    assert place(requiredTags={"zone": "rack-3"}) == pool.special.host_id
    assert place(requiredTags={"empty": ""}) == pool.special.host_id


def test_a_host_that_is_named_is_the_one(pool, place):
    for agent in (pool.agent, pool.special):
        assert place(hostId=agent.host_id) == agent.host_id


def test_sandboxes_spread_over_the_hosts_that_fit(pool, place):
    assert {place() for _ in range(4)} == {pool.agent.host_id, pool.special.host_id}


def test_each_host_that_does_not_fit_says_why(pool):
    reasons = refusal(pool, requiredTraits=["no-such-trait"])
    assert set(reasons) == {pool.agent.host_id, pool.special.host_id}
    assert all("no-such-trait" in reason for reason in reasons.values())
    reasons = refusal(pool, requiredTags={"zone": "rack-4"})
    assert "rack-3" in reasons[pool.special.host_id] and "zone" in reasons[pool.agent.host_id]


def test_a_named_host_must_still_fit(pool):
    assert list(refusal(pool, hostId=pool.agent.host_id, requiredTraits=["gpu"])) == [pool.agent.host_id]


def test_more_than_a_host_has_is_refused(pool):
    assert all("memory" in reason.lower() for reason in refusal(pool, resources={"memoryBytes": 1 << 40}).values())
    assert all("cpu" in reason.lower() for reason in refusal(pool, resources={"cpuMillis": 64_000}).values())


def test_an_unknown_host_cluster_or_blueprint_is_404_with_the_member(pool):
    for member, value in (("hostId", "hst_" + "0" * 20), ("clusterId", "clu_" + "0" * 20), ("blueprint", "no-such-blueprint")):
        problem = pool.api.problem("POST", "/api/sandboxes", 404, "not_found", json={"blueprint": "busybox", member: value})
        assert problem["errors"][0]["pointer"] == f"/{member}"


def test_a_cluster_without_hosts_is_refused_with_what_to_do(pool):
    cluster = pool.api.post("/api/clusters", {"name": "empty-cluster", "kind": "byo"})
    problem = pool.api.problem("POST", "/api/sandboxes", 409, "failed_precondition",
                               json={"blueprint": "busybox", "clusterId": cluster["id"]})
    assert "no hosts" in problem["detail"] and "enroll" in problem["fix"]


def test_a_host_outside_the_cluster_is_refused(pool):
    cluster = pool.api.post("/api/clusters", {"name": "another-cluster", "kind": "byo"})
    pool.api.problem("POST", "/api/sandboxes", 409, "failed_precondition",
                     json={"blueprint": "busybox", "clusterId": cluster["id"], "hostId": pool.agent.host_id})


def test_a_blueprint_for_another_architecture_fits_nowhere(pool):
    other = "arm64" if pool.api.host(pool.agent.host_id)["architecture"] == "amd64" else "amd64"
    archive = Image([layer({"a": b"b"})], architecture=other).oci()
    response = pool.api.raw("POST", "/api/blueprints?name=foreign", data=archive, headers={"Content-Type": "application/x-tar"})
    assert response.status_code == 201, response.text
    problem = pool.api.problem("POST", "/api/sandboxes", 409, "failed_precondition", json={"blueprint": "foreign"})
    assert all(other in error["detail"] for error in problem["errors"])


def test_a_host_with_sandboxes_is_removed_only_by_force_and_its_sandboxes_are_failed(docker, busybox_archive):
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        sandbox = stack.api.create_sandbox("busybox")
        problem = stack.api.problem("DELETE", f"/api/hosts/{stack.agent.host_id}", 409, "failed_precondition")
        assert [error["pointer"] for error in problem["errors"]] == [f"/sandboxes/{sandbox['id']}"]
        with stack.api.open_exec(sandbox, ["sleep", "1000"]) as session:
            session.wait_opened()
            stack.api.delete(f"/api/hosts/{stack.agent.host_id}?force=true", expect=204)
            assert session.finish().error["code"] == "unavailable", "its sessions are cut as well"
        failed = stack.api.sandbox(sandbox["id"])
        assert (failed["state"], failed["reason"]) == ("failed", "host_removed")
        stack.api.problem("POST", f"/api/sandboxes/{sandbox['id']}/start", 409, "failed_precondition")
        stack.api.delete(f"/api/sandboxes/{sandbox['id']}", expect=202)
        stack.api.problem("GET", f"/api/sandboxes/{sandbox['id']}", 404, "not_found")
        # The machine itself is not touched.
        assert [c["State"] for c in stack.engine.containers(gstacks_sandbox=sandbox["id"])] == ["running"]
