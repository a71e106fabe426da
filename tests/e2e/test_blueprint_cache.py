"""How blueprints reach a host: downloaded once, verified, never pulled; and what happens when the cache is damaged or full."""

import os
import re

import pytest

from harness.archives import Image, layer
from harness.docker_proxy import DockerProxy
from harness.small_disk import SmallDisk
from harness.stack import Stack
from harness.waiting import wait_until


@pytest.fixture
def cached(docker, unique_image, tmp_path):
    """A stack with a blueprint of its own, whose agent talks to the engine through a proxy that writes everything down."""
    proxy = DockerProxy(tmp_path / "p.sock", docker.socket_path)
    try:
        with Stack(agents=1, engine=proxy.socket_path) as stack:
            stack.proxy = proxy
            stack.blueprint = stack.import_blueprint(unique_image(tmp_path / "image.tar", os.urandom(8).hex()), "unique")
            stack.reference = stack.image_reference(stack.blueprint)
            yield stack
    finally:
        proxy.close()


def blobs(stack):
    return sorted((stack.agent.state_dir / "cache" / "blobs").iterdir())


def unfinished(stack):
    return sorted((stack.agent.state_dir / "cache" / "tmp").iterdir())


def remove_image(stack):
    wait_until(lambda: stack.engine.remove_image(stack.reference) and not stack.engine.find_image(stack.reference), 10)


def test_the_engine_is_only_asked_for_what_a_sandbox_needs_and_never_to_pull(cached):
    sandbox = cached.api.create_sandbox("unique")
    cached.api.exec(sandbox, ["true"]).check()
    cached.api.stop_sandbox(sandbox["id"])
    cached.api.delete_sandbox(sandbox["id"])
    requests = cached.proxy.requests
    assert cached.proxy.matching(r"POST .*/images/load")
    for request in requests:
        assert not re.search(r"/images/create|/build|/archive|/exec|/commit|/plugins|/(networks|volumes)/create|/attach", request), request


def test_a_second_sandbox_costs_no_second_download_and_no_second_load(cached):
    first = cached.api.create_sandbox("unique")
    loads = len(cached.proxy.matching("/images/load"))
    written = {path: path.stat().st_mtime_ns for path in blobs(cached)}
    cached.api.create_sandbox("unique")
    assert len(cached.proxy.matching("/images/load")) == loads == 1
    assert {path: path.stat().st_mtime_ns for path in blobs(cached)} == written
    assert {path.name for path in blobs(cached)} == digests(cached)
    assert first["state"] == "running" and unfinished(cached) == []


def digests(stack):
    """Of the layers and the configuration, which is the engine's image id."""
    return {part["digest"][7:] for part in stack.blueprint["layers"]} | {stack.engine.find_image(stack.reference)["Id"][7:]}


def test_ten_sandboxes_of_a_new_blueprint_share_one_download(cached):
    sandboxes = [cached.api.create_sandbox("unique", wait=False, resources={"memoryBytes": 32 << 20}) for _ in range(10)]
    for sandbox in sandboxes:
        cached.api.wait_sandbox(sandbox["id"], "running")
    assert len(cached.proxy.matching("/images/load")) == 1


def test_an_image_that_was_removed_from_the_engine_is_loaded_from_the_cache_again(cached):
    sandbox = cached.api.create_sandbox("unique")
    cached.api.delete_sandbox(sandbox["id"])
    remove_image(cached)
    written = [path.stat().st_mtime_ns for path in blobs(cached)]
    again = cached.api.create_sandbox("unique")
    assert cached.api.exec(again, ["cat", "/etc/marker"]).code == 0
    assert [path.stat().st_mtime_ns for path in blobs(cached)] == written, "nothing was downloaded anew"
    assert len(cached.proxy.matching("/images/load")) == 2 and not cached.proxy.matching("/images/create")


def test_an_image_under_our_name_that_is_not_ours_is_not_used(cached):
    """Somebody tags another image with the blueprint's reference: the image id decides, not the name."""
    sandbox = cached.api.create_sandbox("unique")
    image_id = cached.engine.find_image(cached.reference)["Id"]
    cached.api.delete_sandbox(sandbox["id"])
    cached.engine.load_image(_other_image(cached))
    repository, tag = cached.reference.split(":")
    cached.engine.request("POST", f"/images/gs-e2e-other:{os.getpid()}/tag?repo={repository}&tag={tag}")
    try:
        again = cached.api.create_sandbox("unique")
        container = cached.engine.inspect(f"gstacks-{again['id']}")
        assert container["Image"] == image_id
    finally:
        cached.engine.remove_image(f"gs-e2e-other:{os.getpid()}")


def _other_image(stack):
    path = stack.directory / "other.tar"
    path.write_bytes(Image([layer({"other": os.urandom(8)})]).docker_save(f"gs-e2e-other:{os.getpid()}"))
    return path


def flip_a_byte(path, offset=1000):
    path.chmod(0o600)
    with open(path, "r+b") as blob:
        blob.seek(offset)
        byte = blob.read(1)
        blob.seek(offset)
        blob.write(bytes([byte[0] ^ 1]))


def test_a_damaged_blob_is_a_clear_failure_and_the_next_start_fetches_it_anew(cached):
    sandbox = cached.api.create_sandbox("unique")
    cached.api.delete_sandbox(sandbox["id"])
    remove_image(cached)
    damaged = max(blobs(cached), key=lambda path: path.stat().st_size)
    flip_a_byte(damaged)
    failed = cached.api.create_sandbox("unique", wait=False)
    failed = cached.api.wait_sandbox(failed["id"], "failed")
    assert failed["reason"] == "blueprint_damaged" and "start" in failed["message"], failed
    assert not damaged.exists(), "the damaged bytes are out of the way"
    assert not cached.proxy.matching("/images/create")
    running = cached.api.start_sandbox(failed["id"])
    assert cached.api.exec(running, ["cat", "/etc/marker"]).code == 0
    assert damaged.exists()


def test_a_damaged_blob_is_noticed_after_an_agent_restart_too(cached):
    sandbox = cached.api.create_sandbox("unique")
    cached.api.delete_sandbox(sandbox["id"])
    cached.agent.stop()
    remove_image(cached)
    flip_a_byte(max(blobs(cached), key=lambda path: path.stat().st_size))
    cached.agent.start()
    cached.wait_connected()
    failed = cached.api.create_sandbox("unique", wait=False)
    assert cached.api.wait_sandbox(failed["id"], "failed")["reason"] == "blueprint_damaged"
    cached.api.start_sandbox(failed["id"])


def test_a_blob_that_is_gone_from_the_cache_is_downloaded_again(cached):
    sandbox = cached.api.create_sandbox("unique")
    cached.api.delete_sandbox(sandbox["id"])
    remove_image(cached)
    for blob in blobs(cached):
        blob.unlink()
    again = cached.api.create_sandbox("unique")
    assert cached.api.exec(again, ["true"]).code == 0


def test_a_damaged_blob_on_the_server_is_refused_by_the_host_and_nothing_of_it_is_kept(cached):
    largest = max(cached.blueprint["layers"], key=lambda part: part["sizeBytes"])["digest"][7:]
    stored = cached.server.data_dir / "blobs" / "sha256" / largest[:2] / largest
    good = stored.read_bytes()
    flip_a_byte(stored)
    failed = cached.api.create_sandbox("unique", wait=False)
    failed = cached.api.wait_sandbox(failed["id"], "failed")
    assert failed["reason"] == "blueprint_damaged", failed
    assert largest not in {path.name for path in blobs(cached)} and unfinished(cached) == []
    stored.write_bytes(good)
    cached.api.start_sandbox(failed["id"])


def test_a_server_that_goes_away_in_the_middle_of_a_download_is_waited_for(docker, unique_image, tmp_path):
    with Stack(agents=1, engine=docker) as stack:
        blueprint = stack.import_blueprint(unique_image(tmp_path / "big.tar", "download", megabytes=128), "big")
        sandbox = stack.api.create_sandbox("big", wait=False)
        tmp = stack.agent.state_dir / "cache" / "tmp"
        wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in tmp.iterdir()), 20, "the download being under way")
        stack.server.kill()
        stack.server.start()
        stack.wait_connected(timeout=20)
        running = stack.api.wait_sandbox(sandbox["id"], "running")
        assert stack.api.exec(running, ["cat", "/etc/marker"]).check() == "download"
        assert list(tmp.iterdir()) == [] and blueprint["sizeBytes"] > 128 << 20


def test_an_agent_killed_in_the_middle_of_a_download_starts_it_again_and_leaves_no_rest(docker, unique_image, tmp_path):
    with Stack(agents=1, engine=docker) as stack:
        stack.import_blueprint(unique_image(tmp_path / "big.tar", "kill", megabytes=128), "big")
        sandbox = stack.api.create_sandbox("big", wait=False)
        tmp = stack.agent.state_dir / "cache" / "tmp"
        wait_until(lambda: any(path.stat().st_size > 1 << 20 for path in tmp.iterdir()), 20, "the download being under way")
        stack.agent.kill()
        left = {path.name for path in tmp.iterdir()}
        stack.agent.start()
        running = stack.api.wait_sandbox(sandbox["id"], "running")
        assert stack.api.exec(running, ["cat", "/etc/marker"]).check() == "kill"
        assert not left & {path.name for path in tmp.iterdir()}


# Full disks of the host, for real


def full_disk_stack(docker, unique_image, tmp_path, megabytes, reserve):
    stack = Stack(agents=0, engine=docker)
    stack.import_blueprint(unique_image(tmp_path / "big.tar", os.urandom(8).hex(), megabytes=48), "big")
    agent = stack.new_agent()
    agent.config_file.write_text(f"diskReserveBytes: {reserve}\n")
    disk = SmallDisk(agent.state_dir / "cache", megabytes)
    agent.enroll(stack.api.create_token()["token"])
    agent.start()
    stack.wait_connected()
    return stack, disk


@pytest.mark.parametrize("megabytes, reserve", [(24, 0), (100, 80 << 20)], ids=["no space left on device", "the reserve would be used up"])
def test_a_download_that_does_not_fit_is_refused_cleanly_and_works_when_there_is_room(docker, unique_image, tmp_path, megabytes, reserve):
    stack, disk = full_disk_stack(docker, unique_image, tmp_path, megabytes, reserve)
    with stack, disk:
        free = disk.free_bytes()
        sandbox = stack.api.create_sandbox("big", wait=False)
        failed = stack.api.wait_sandbox(sandbox["id"], "failed")
        assert failed["reason"] == "disk_full", failed
        assert unfinished(stack) == [] and blobs_total(stack) < 24 << 20
        assert disk.free_bytes() >= free - (8 << 20), "nothing half-done takes up room"
        assert stack.host_state() == "connected" and stack.agent.process.alive
        assert stack.agent.containers() == []
        os.system(f"mount -o remount,size=400m {disk.path}")
        stack.api.start_sandbox(sandbox["id"])
        assert stack.api.exec(sandbox, ["test", "-e", "/bulk"]).code == 0


def blobs_total(stack):
    return sum(path.stat().st_size for path in blobs(stack))


# Blueprints in use


def test_a_blueprint_in_use_is_not_deleted_and_names_who_uses_it(cached):
    sandbox = cached.api.create_sandbox("unique", wait=False)
    problem = cached.api.problem("DELETE", f"/api/blueprints/{cached.blueprint['id']}", 409, "failed_precondition")
    assert [error["pointer"] for error in problem["errors"]] == [f"/sandboxes/{sandbox['id']}"]
    assert sandbox["name"] in problem["detail"] + problem["errors"][0]["detail"]
    cached.api.wait_sandbox(sandbox["id"], "running")
    cached.api.delete_sandbox(sandbox["id"])
    cached.api.delete(f"/api/blueprints/{cached.blueprint['id']}", expect=204)
    cached.api.problem("POST", "/api/sandboxes", 404, "not_found", json={"blueprint": "unique"})
    cached.api.problem("DELETE", f"/api/blueprints/{cached.blueprint['id']}", 404, "not_found")


def test_a_name_is_free_again_after_its_blueprint_was_deleted(cached, unique_image, tmp_path):
    cached.api.delete(f"/api/blueprints/{cached.blueprint['id']}", expect=204)
    second = cached.import_blueprint(unique_image(tmp_path / "second.tar", "second"), "unique")
    assert second["id"] != cached.blueprint["id"]
    assert cached.api.exec(cached.api.create_sandbox("unique"), ["cat", "/etc/marker"]).check() == "second"


def test_the_image_decides_environment_directory_and_user_where_nobody_else_does(docker, unique_image, tmp_path):
    with Stack(agents=1, engine=docker) as stack:
        says = dict(Env=["PATH=/bin", "FROM_IMAGE=1", "BOTH=image"], WorkingDir="/var/tmp", User="user")
        archive = unique_image(tmp_path / "i.tar", "config", **says)
        stack.import_blueprint(archive, "configured")
        sandbox = stack.api.create_sandbox("configured", env={"BOTH": "sandbox"})
        assert stack.api.exec(sandbox, ["sh", "-c", "echo $FROM_IMAGE $BOTH $(pwd) $(id -un)"]).check() == "1 sandbox /var/tmp user\n"
        other = stack.api.create_sandbox("configured", user="root", workingDir="/tmp")
        assert stack.api.exec(other, ["sh", "-c", "echo $(pwd) $(id -un)"]).check() == "/tmp root\n"
