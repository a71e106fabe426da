"""`gstacks-agent doctor --leaks`: what does not belong on a host, by comparing journal, containers and files both ways."""

import json

import pytest

from harness.processes import run_tool
from harness.stack import Stack
from harness.waiting import wait_until


@pytest.fixture(scope="module")
def host(docker, busybox_archive):
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(busybox_archive)
        yield stack


def look(agent, *options):
    """(exit code, {kind: {what…}} of leaks, the same of notes)."""
    done = run_tool([agent.binary, "doctor", "--config", agent.config_file, "--state-dir", agent.state_dir, "--run-dir", agent.run_dir,
                     "--docker-socket", agent.docker_socket, "--guest", agent.binary.parent / "gstacks-guest", "--leaks", "--json",
                     *(options or ("--min-age", "0"))], check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    report = json.loads(done.stdout)

    def by_kind(entries):
        return {entry["kind"]: {e["what"] for e in entries if e["kind"] == entry["kind"]} for entry in entries}
    return done.returncode, by_kind(report["leaks"]), by_kind(report["notes"])


def test_a_host_at_work_has_no_leaks(host):
    running = host.api.create_sandbox("busybox")
    stopped = host.api.create_sandbox("busybox")
    host.api.stop_sandbox(stopped["id"])
    assert look(host.agent)[:2] == (0, {})
    for sandbox in (running, stopped):
        host.api.delete_sandbox(sandbox["id"])
    assert look(host.agent)[:2] == (0, {})


def test_folders_downloads_and_old_guests_of_nobody_are_found_and_left(host):
    folder = host.agent.run_dir / "sandboxes" / "sbx_00000000000000000000"
    half = host.agent.state_dir / "cache" / "tmp" / "aa.half"
    guest = host.agent.state_dir / "guest" / ("0" * 64) / "gstacks-guest"
    for path in (folder, guest.parent):
        path.mkdir()
    half.write_text("x")
    guest.write_text("x")
    try:
        code, leaks, notes = look(host.agent)
        assert (code, leaks) == (1, {"run_dir_without_record": {folder.name}, "cache_leftover": {half.name}})
        assert notes["unused_guest_binary"] == {str(guest)}
        assert look(host.agent, "--min-age", "3600")[:2] == (0, {}), "what is young may be on its way"
        assert folder.exists() and half.exists() and guest.exists(), "looking changes nothing"
    finally:
        folder.rmdir()
        half.unlink()
        guest.unlink()
        guest.parent.rmdir()


def test_a_container_that_the_journal_lost_is_reported_and_adoptable(host):
    """While the control plane cannot be heard, so that nobody assigns it again."""
    sandbox = host.api.create_sandbox("busybox")
    host.agent.kill()
    host.server.stop()
    for path in host.agent.state_dir.glob("agent.db*"):
        path.unlink()
    offset = host.agent.process.log_size()
    host.agent.start()
    try:
        host.agent.process.wait_for_log("agent_ready", offset=offset)
        code, leaks, _ = look(host.agent)
        assert (code, leaks) == (1, {"container_without_record": {sandbox["id"]}})
    finally:
        host.server.start()
    host.wait_connected()
    assert host.api.exec(sandbox, ["echo", "adopted"], waitMs=20_000).check() == "adopted\n"
    assert look(host.agent)[:2] == (0, {})


def test_a_container_that_nobody_assigns_shows_as_a_condition_of_the_host_and_is_left_alone(host):
    """The control plane lost the record (it was restored from a backup, say); here: a container made by hand, of this host."""
    sandbox = host.api.create_sandbox("busybox")
    image = host.engine.inspect(f"gstacks-{sandbox['id']}")["Image"]
    stranger = "sbx_0000000000000000000z"
    labels = {"gstacks.managed": "1", "gstacks.sandbox": stranger, "gstacks.host": host.agent.host_id, "gstacks.generation": "1"}
    made = host.engine.request("POST", f"/containers/create?name=gstacks-{stranger}", {
        "Image": image, "Entrypoint": ["sleep", "1000"], "Labels": labels, "HostConfig": {"NetworkMode": "none"}})
    host.engine.request("POST", f"/containers/{made['Id']}/start")
    try:
        host.agent.restart("stop")
        host.wait_connected()

        def condition():
            found = [c for c in host.api.host(host.agent.host_id)["conditions"] if c["code"] == "unknown_sandboxes"]
            return found and stranger in found[0]["message"]
        wait_until(condition, 15, "the condition")
        assert host.engine.inspect(made["Id"])["State"]["Running"]
        assert look(host.agent)[1] == {"container_without_record": {stranger}}
    finally:
        host.engine.remove(made["Id"])
    host.api.delete_sandbox(sandbox["id"])


def test_the_agent_may_open_as_many_files_as_the_host_lets_it(host):
    with open(f"/proc/{host.agent.process.pid}/limits") as limits:
        soft, hard = next(line for line in limits if line.startswith("Max open files")).split()[3:5]
    assert soft == hard
