"""Fixtures for tests that need a control plane and play the agent themselves."""

import pytest

from harness.agent_protocol import Door, FakeAgent
from harness.archives import Image, layer
from harness.contract import CheckedClient
from harness.stack import Stack


@pytest.fixture(scope="session")
def control_plane():
    """One server without any agent, for tests that leave it serving. Tests add clusters, tokens and hosts of their own."""
    with Stack(agents=0) as stack:
        yield stack


@pytest.fixture
def fresh_stack():
    """A server of its own, without any agent, for tests that stop it or look at all that it has."""
    with Stack(agents=0) as stack:
        yield stack


@pytest.fixture
def fresh_api(fresh_stack):
    """The API of fresh_stack, every answer held against the contract, with a blueprint `base` that a PuppetHost can run."""
    api = CheckedClient(fresh_stack.server.base_url, fresh_stack.server.api_key)
    api.call("POST", "/api/blueprints", params={"name": "base"}, data=Image([layer({"a": b"b"})]).oci(), expect=201,
             headers={"Content-Type": "application/x-tar"})
    return api


@pytest.fixture
def door(control_plane):
    """The agent listener of control_plane."""
    return Door(control_plane.server)


@pytest.fixture
def fake_agent(control_plane):
    """An enrolled host of control_plane that the test plays; removed afterwards."""
    agent = FakeAgent.enroll(control_plane.server, control_plane.api.create_token()["token"])
    yield agent
    agent.close()
    control_plane.api.delete(f"/api/hosts/{agent.host_id}?force=true", expect=(204, 404))
