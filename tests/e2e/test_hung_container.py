"""One container that the engine never finishes with delays nothing but itself."""

import time

import pytest

from harness.docker_proxy import DockerProxy
from harness.stack import Stack
from harness.waiting import hold, wait_until


@pytest.fixture(scope="module")
def proxied(docker, busybox_archive, tmp_path_factory):
    """A stack whose agent reaches the engine through a proxy that can swallow single requests."""
    proxy = DockerProxy(tmp_path_factory.mktemp("proxy") / "p.sock", docker.socket_path)
    try:
        with Stack(agents=1, engine=proxy.socket_path) as stack:
            stack.proxy = proxy
            stack.import_blueprint(busybox_archive)
            yield stack
    finally:
        proxy.close()


@pytest.fixture
def hung(proxied):
    """A sandbox whose start the engine never answers."""
    sandbox = proxied.api.create_sandbox("busybox")
    proxied.api.stop_sandbox(sandbox["id"])
    container = proxied.engine.inspect(f"gstacks-{sandbox['id']}")["Id"]
    proxied.proxy.hang(f"POST .*/containers/({container}|gstacks-{sandbox['id']})/start")
    proxied.api.start_sandbox(sandbox["id"], wait=False)
    wait_until(lambda: proxied.proxy.matching(rf"POST .*/{container}/start"), 10, "the start being asked for")
    yield sandbox
    proxied.proxy.release()
    if proxied.api.find_sandbox(sandbox["id"]):
        proxied.api.delete_sandbox(sandbox["id"])


def test_other_sandboxes_go_on_as_if_nothing_was(proxied, hung):
    started = time.monotonic()
    other = proxied.api.create_sandbox("busybox")
    assert proxied.api.exec(other, ["echo", "here"]).check() == "here\n"
    proxied.api.stop_sandbox(other["id"])
    proxied.api.start_sandbox(other["id"])
    proxied.api.delete_sandbox(other["id"])
    assert time.monotonic() - started < 10
    assert proxied.host_state() == "connected"
    assert proxied.api.sandbox(hung["id"])["state"] == "starting"


def test_it_goes_on_when_the_engine_answers_again(proxied, hung):
    hold(0.3)  # long enough to be no accident of timing
    proxied.proxy.release()
    proxied.api.wait_sandbox(hung["id"], "running")
    assert proxied.api.exec(hung, ["echo", "up"]).check() == "up\n"


def test_it_can_be_deleted_and_is_gone_when_the_engine_answers_again(proxied, hung):
    proxied.api.delete_sandbox(hung["id"], wait=False)
    assert proxied.api.sandbox(hung["id"])["state"] == "deleting"
    proxied.proxy.release()
    wait_until(lambda: proxied.api.find_sandbox(hung["id"]) is None, 20, "the deletion")
    assert proxied.agent.containers() == []
