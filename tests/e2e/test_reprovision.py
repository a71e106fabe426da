"""A fresh root file system: same sandbox, everything else new."""

import time

import pytest

from harness.archives import Image, layer
from harness.waiting import wait_until


def settled(stack, sandbox, state="running"):
    def look():
        now = stack.api.sandbox(sandbox["id"])
        return now["observedGeneration"] == now["generation"] and now["state"] == state and now
    return wait_until(look, 30, f"{sandbox['name']} being {state}")


def test_the_root_is_new_and_the_rest_is_as_it_was(stack, container_of):
    sandbox = stack.api.create_sandbox("busybox", name="fresh-root", env={"COLOUR": "blue"}, command=["sleep", "inf"])
    stack.api.exec(sandbox, ["sh", "-c", "echo old > /file; rm /bin/vi"]).check()
    before = container_of(stack, sandbox)
    answer = stack.api.reprovision_sandbox(sandbox["id"], wait=False)
    assert (answer["generation"], answer["rootGeneration"], answer["desiredState"]) == (2, 2, "running")
    now = settled(stack, sandbox)
    assert (now["id"], now["name"], now["hostId"], now["blueprint"]) == (sandbox["id"], "fresh-root", sandbox["hostId"], sandbox["blueprint"])
    assert "reason" not in now
    after = container_of(stack, sandbox)
    assert after["Id"] != before["Id"] and after["Config"]["Labels"]["gstacks.generation"] == "2"
    seen = stack.api.exec(sandbox, ["sh", "-c", "ls /file; ls /bin/vi; echo $COLOUR; hostname"])
    assert seen.out == "/bin/vi\nblue\nfresh-root\n"
    again = stack.api.reprovision_sandbox(sandbox["id"])
    assert again["rootGeneration"] == 3, "each call is another fresh root"


def test_another_blueprint(stack, unique_image, tmp_path):
    stack.import_blueprint(unique_image(tmp_path / "other.tar", "the other one"), "other-root")
    sandbox = stack.api.create_sandbox("busybox")
    stack.api.reprovision_sandbox(sandbox["id"], blueprint="other-root", wait=False)
    assert settled(stack, sandbox)["blueprint"]["name"] == "other-root"
    assert stack.api.exec(sandbox, ["cat", "/etc/marker"]).check() == "the other one"
    in_use = stack.api.problem("DELETE", f"/api/blueprints/{stack.api.sandbox(sandbox['id'])['blueprint']['id']}", 409, "failed_precondition")
    assert in_use["errors"][0]["pointer"] == f"/sandboxes/{sandbox['id']}"
    stack.api.reprovision_sandbox(sandbox["id"], blueprint="busybox", wait=False)
    settled(stack, sandbox)
    assert stack.api.exec(sandbox, ["cat", "/etc/marker"]).code != 0


def test_the_workload_gets_its_grace(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
    stack.api.exec(sandbox, ["true"])
    with stack.api.open_exec(sandbox, ["sleep", "1000"]) as session:
        session.wait_opened()
        started = time.monotonic()
        stack.api.reprovision_sandbox(sandbox["id"], graceMs=1500, wait=False)
        assert session.finish().signal in ("TERM", "KILL")
        assert 1.5 <= time.monotonic() - started < 8
    settled(stack, sandbox)


def test_from_stopped_and_from_failed_and_while_nobody_listens(stack):
    sandbox = stack.api.create_sandbox("busybox", command=["sh", "-c", "test ! -e /spent && touch /spent && exec sleep 1000"])
    stack.api.stop_sandbox(sandbox["id"])
    failed = stack.api.start_sandbox(sandbox["id"], wait=False)
    stack.api.wait_sandbox(failed["id"], "failed")
    stack.api.reprovision_sandbox(sandbox["id"], wait=False)
    settled(stack, sandbox)
    stack.api.stop_sandbox(sandbox["id"])
    stack.agent.process.pause()
    try:
        stack.api.reprovision_sandbox(sandbox["id"], wait=False)
        stack.api.stop_sandbox(sandbox["id"], wait=False)
        stack.api.start_sandbox(sandbox["id"], wait=False)
    finally:
        stack.agent.process.resume()
    settled(stack, sandbox)


def test_a_blueprint_that_cannot_be_had_leaves_the_old_root_until_the_next_word(stack, unique_image, tmp_path, container_of):
    broken = stack.import_blueprint(unique_image(tmp_path / "broken.tar", "broken"), "broken-root")
    blobs = stack.server.data_dir / "blobs" / "sha256"
    digest = broken["layers"][-1]["digest"].removeprefix("sha256:")
    path = blobs / digest[:2] / digest
    kept = path.read_bytes()
    sandbox = stack.api.create_sandbox("busybox")
    before = container_of(stack, sandbox)["Id"]
    path.unlink()
    try:
        stack.api.reprovision_sandbox(sandbox["id"], blueprint="broken-root", wait=False)
        failed = stack.api.wait_sandbox(sandbox["id"], "failed")
        assert failed["reason"] in ("blueprint_unavailable", "blueprint_damaged"), failed
        container = wait_until(lambda: (c := container_of(stack, sandbox)) and not c["State"]["Running"] and c, 20)
        assert container["Id"] == before
    finally:
        path.write_bytes(kept)
    stack.api.start_sandbox(sandbox["id"], wait=False)
    settled(stack, sandbox)
    assert stack.api.exec(sandbox, ["cat", "/etc/marker"]).check() == "broken"


def test_repeats_with_a_key_and_refusals(stack):
    sandbox = stack.api.create_sandbox("busybox")
    path = f"/api/sandboxes/{sandbox['id']}/reprovision"
    key = {"Idempotency-Key": f"fresh-{sandbox['id']}"}
    for _ in range(3):
        answer = stack.api.raw("POST", path, json={"graceMs": 0}, headers=key)
        assert answer.status_code == 202 and answer.json()["rootGeneration"] == 2
    settled(stack, sandbox)
    reused = stack.api.problem("POST", path, 409, "failed_precondition", json={"graceMs": 1}, headers=key)
    assert reused["reason"] == "repeat_key_reused"
    unknown = stack.api.problem("POST", path, 404, "not_found", json={"blueprint": "no-such"})
    assert unknown["errors"][0]["pointer"] == "/blueprint"
    assert stack.api.sandbox(sandbox["id"])["generation"] == 2, "what was refused changed nothing"
    stack.api.delete_sandbox(sandbox["id"], wait=False)
    answer = stack.api.raw("POST", path, json={})
    assert answer.status_code in (404, 409)


def test_another_architecture_is_refused(stack, tmp_path):
    archive = tmp_path / "arm.tar"
    archive.write_bytes(Image([layer({"marker": b"arm"})], architecture="arm64").oci())
    stack.import_blueprint(archive, "arm-root")
    sandbox = stack.api.create_sandbox("busybox")
    refused = stack.api.problem("POST", f"/api/sandboxes/{sandbox['id']}/reprovision", 409, "failed_precondition", json={"blueprint": "arm-root"})
    assert refused["reason"] == "cannot_reprovision" and "arm64" in refused["detail"]
    assert stack.api.sandbox(sandbox["id"])["generation"] == 1


@pytest.mark.parametrize("point", ["stop.after", "remove.before", "remove.after", "create.after"])
def test_a_crash_on_the_way_ends_in_one_fresh_root(stack, point, container_of):
    sandbox = stack.api.create_sandbox("busybox")
    stack.api.exec(sandbox, ["touch", "/old"]).check()
    stack.agent.stop()
    stack.agent.start_with_crash_point(point)
    stack.wait_connected()
    stack.api.reprovision_sandbox(sandbox["id"], wait=False)
    assert stack.agent.process.wait_exit(30) == -9
    stack.agent.start()
    settled(stack, sandbox)
    assert container_of(stack, sandbox)["Config"]["Labels"]["gstacks.generation"] == "2"
    assert stack.api.exec(sandbox, ["ls", "/old"], waitMs=10_000).code != 0


def test_from_the_command_line(stack):
    cli = stack.cli()
    sandbox = stack.api.create_sandbox("busybox", name="cli-fresh")
    stack.api.exec(sandbox, ["touch", "/old"]).check()
    assert "runs with a fresh root" in cli.run("sandbox", "reprovision", "cli-fresh", "--grace", "0s", "--blueprint", "busybox")
    assert stack.api.exec(sandbox, ["ls", "/old"]).code != 0
