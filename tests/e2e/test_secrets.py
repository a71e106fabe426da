"""Secrets are nowhere but where they must be: not in logs, not in arguments, not in a database."""

from pathlib import Path

import pytest

from harness.agent_protocol import Door, split_token
from harness.stack import Stack


@pytest.fixture(scope="module")
def used(docker, busybox_archive):
    """A stack that has seen secrets in every way: good, wrong, revoked, in the wrong place. `secrets` are all of them."""
    with Stack(agents=0, engine=docker) as stack:
        tokens = [stack.api.create_token()["token"] for _ in range(3)]
        agent = stack.new_agent()
        agent.enroll(tokens[0])
        agent.start()
        stack.wait_connected()
        agent.try_enroll(tokens[1])
        door = Door(stack.server)
        door.enroll(tokens[0])
        stack.api.delete(f"/api/provisioning-tokens/tok_{split_token(tokens[2])[0]}", expect=204)
        door.enroll(tokens[2])
        member = stack.api.post("/api/api-keys", {"name": "member", "role": "member"})
        key = member["key"]
        client = stack.client(key)
        stack.import_blueprint(busybox_archive, "busybox")
        sandbox = client.create_sandbox("busybox", env={"PASSWORD": "not-a-secret-of-ours"})
        client.exec(sandbox, ["true"]).check()
        client.problem("POST", "/api/clusters", 403, "permission_denied", json={"name": "x", "kind": "byo"})
        stack.api.delete(f"/api/api-keys/{member['id']}", expect=204)
        client.problem("GET", "/api/whoami", 401, "unauthenticated")
        # In places where they do not belong: a wrong header, a query, a body.
        for place in (dict(params={"cursor": key}), dict(headers={"Authorization": key}), dict(headers={"Authorization": f"Basic {key}"})):
            stack.api.raw("GET", "/api/hosts", **place)
        stack.api.raw("POST", "/api/provisioning-tokens", json={"clusterId": tokens[0]})
        stack.cli().try_run("whoami")
        stack.cli(stack.server.api_key).try_run("token", "create")
        agent.restart()
        stack.wait_connected()
        stack.secrets = {"the admin's key": stack.server.api_key.split("_", 2)[2], "the member's key": key.split("_", 2)[2],
                         **{f"token {i}": split_token(token)[1] for i, token in enumerate(tokens)}}
        pem = (agent.state_dir / "identity" / "credential.pem").read_text().splitlines()
        ca = (stack.server.data_dir / "ca" / "ca.key").read_text().splitlines()
        stack.secrets["the agent's private key"], stack.secrets["the CA's private key"] = pem[1], ca[1]
        yield stack


def assert_without_secrets(stack, what, data):
    for name, secret in stack.secrets.items():
        assert secret.encode() not in data, f"{name} is in {what}"


def test_no_secret_is_in_a_log(used):
    for process in (used.server.process, used.agent.process):
        text = process.log_path.read_bytes()
        assert text, process.log_path
        assert_without_secrets(used, process.log_path, text)


def test_no_secret_is_in_a_database_or_its_side_files(used):
    files = [*used.server.data_dir.glob("server.db*"), *used.agent.state_dir.glob("agent.db*")]
    assert len(files) >= 2
    for path in files:
        assert_without_secrets(used, path, path.read_bytes())
        assert b"gsd_" not in path.read_bytes(), "a download credential is never stored"


def test_no_secret_is_in_the_arguments_or_environment_of_a_process_of_ours(used):
    for process in (used.server.process, used.agent.process):
        for kind in ("cmdline", "environ"):
            assert_without_secrets(used, f"{kind} of {process.name}", Path(f"/proc/{process.pid}/{kind}").read_bytes())


def test_no_secret_reaches_a_container(used):
    for container in used.agent.containers():
        text = str(used.engine.inspect(container["Id"])).encode()
        assert_without_secrets(used, container["Names"], text)


def test_no_secret_is_readable_by_others(used):
    for path in (used.server.data_dir / "ca" / "ca.key", used.server.api_key_file, used.agent.state_dir / "identity" / "credential.pem",
                 used.server.database()):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0, f"{path} is {mode:o}"
    assert (used.server.data_dir / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert used.server.api_key_file.stat().st_mode & 0o777 == 0o600


def test_lists_never_show_a_secret(used):
    for path in ("/api/api-keys", "/api/provisioning-tokens", "/api/hosts", "/api/sandboxes"):
        text = used.api.raw("GET", path).content
        assert_without_secrets(used, path, text)
        assert b"gsk_" not in text and b"gsp_" not in text
