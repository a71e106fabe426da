"""Archive on one host, restore on another: the same files, and nothing left behind."""

import json

import pytest

from harness.archives import Image, busybox_layer, layer
from harness.processes import find_binary, run_tool
from harness.stack import Stack
from harness.waiting import wait_until

# What is told of every file that the sandbox or its blueprint has: kind, mode, owner, size, target, contents.
LOOK = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /.gstacks \) -prune -o -print | sort | while read -r f; do
  case "$f" in /etc/hosts|/etc/hostname|/etc/resolv.conf|/.dockerenv) continue;; esac
  s=$(stat -c '%f %u:%g' "$f"); t=$(readlink "$f"); c=''
  [ -f "$f" ] && [ ! -L "$f" ] && c=$(sha256sum "$f" | cut -d' ' -f1)
  echo "$f $s $t $c"
done
"""
WRITE = r"""
set -e
mkdir -p /home/app/deep && echo hello > /home/app/deep/file && chmod 640 /home/app/deep/file && chown 1000:1001 /home/app/deep/file
cp /bin/busybox /home/app/suid && chmod 4755 /home/app/suid
ln -s ../deep/file /home/app/link && ln /home/app/deep/file /home/app/hard && mkfifo /home/app/pipe
rm /bin/vi && rm -r /etc/opt-dir && mkdir /etc/opt-dir && echo new > /etc/opt-dir/new
echo changed >> /etc/passwd && touch "/home/app/with space" && chmod 1777 /home/app
dd if=/dev/urandom of=/home/app/bulk bs=1M count=3 2> /dev/null
n=/home/app/$(printf 'long%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30); echo long > "$n"
"""


@pytest.fixture(scope="module")
def two_hosts(docker, busybox_archive):
    with Stack(agents=2, engine=docker) as stack:
        base = busybox_layer(busybox_archive)
        path = stack.directory / "base.tar"
        path.write_bytes(Image([base, layer({"etc/opt-dir/old": b"old", "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n"})]).oci())
        stack.import_blueprint(path, "base")
        yield stack


def look(stack, sandbox):
    return stack.api.exec(sandbox, ["sh", "-c", LOOK], waitMs=20_000).check()


def leaks(agent):
    done = run_tool([agent.binary, "doctor", "--config", agent.config_file, "--state-dir", agent.state_dir, "--run-dir", agent.run_dir,
                     "--docker-socket", agent.docker_socket, "--guest", find_binary("gstacks-guest"), "--leaks", "--json", "--min-age", "0"],
                    check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)["leaks"]


def no_trace(stack, sandbox):
    for agent in stack.agents:
        assert sandbox["id"] not in [c["Labels"]["gstacks.sandbox"] for c in agent.containers()]
        assert list((agent.state_dir / "layers").iterdir()) == []
        assert leaks(agent) == []
    return True


def remember(stack, sandbox):
    stack.remember_blueprint(stack.api.sandbox(sandbox["id"])["archive"])


def test_every_file_is_there_again_on_another_host(two_hosts):
    stack, (first, second) = two_hosts, two_hosts.agents
    sandbox = stack.api.create_sandbox("base", name="traveller", hostId=first.host_id, env={"COLOUR": "blue"}, command=["sleep", "inf"])
    stack.api.exec(sandbox, ["sh", "-c", WRITE]).check()
    before = look(stack, sandbox)
    assert "/home/app/suid" in before and "/bin/vi" not in before
    away = stack.api.archive_sandbox(sandbox["id"])
    remember(stack, sandbox)
    assert away["name"] == "traveller" and "hostId" not in away and away["archive"]["layerBytes"] > 3 << 20
    wait_until(lambda: not first.containers(), 20)
    wait_until(lambda: list((first.state_dir / "layers").iterdir()) == [], 10)
    assert no_trace(stack, sandbox)

    back = stack.api.restore_sandbox(sandbox["id"], hostId=second.host_id)
    assert (back["hostId"], back["name"], back["env"]) == (second.host_id, "traveller", {"COLOUR": "blue"})
    assert look(stack, sandbox) == before
    assert stack.api.exec(sandbox, ["sh", "-c", "echo $COLOUR; hostname"]).check() == "blue\ntraveller\n"

    # Again from there, back to where it came from: on top of what was archived before.
    stack.api.exec(sandbox, ["sh", "-c", "echo second > /second; rm /home/app/link"]).check()
    before = look(stack, sandbox)
    stack.api.archive_sandbox(sandbox["id"])
    remember(stack, sandbox)
    stack.api.restore_sandbox(sandbox["id"], hostId=first.host_id)
    assert look(stack, sandbox) == before
    # A fresh root goes back to the blueprint.
    fresh = stack.api.reprovision_sandbox(sandbox["id"], wait=False)
    assert "archive" not in fresh
    wait_until(lambda: stack.api.sandbox(sandbox["id"])["observedGeneration"] == fresh["generation"]
               and stack.api.sandbox(sandbox["id"])["state"] == "running", 20)
    assert "/home/app" not in look(stack, sandbox)
    stack.api.delete_sandbox(sandbox["id"])
    assert no_trace(stack, sandbox)


def test_start_brings_it_back_also_to_the_host_that_has_not_removed_it_yet(two_hosts):
    stack, first = two_hosts, two_hosts.agents[0]
    sandbox = stack.api.create_sandbox("base", hostId=first.host_id)
    stack.api.exec(sandbox, ["sh", "-c", "echo kept > /kept"]).check()
    stack.api.archive_sandbox(sandbox["id"])
    remember(stack, sandbox)
    back = stack.api.start_sandbox(sandbox["id"], wait=False)
    assert back["hostId"] == first.host_id
    wait_until(lambda: stack.api.sandbox(sandbox["id"])["observedGeneration"] == back["generation"]
               and stack.api.sandbox(sandbox["id"])["state"] == "running", 30)
    assert stack.api.exec(sandbox, ["cat", "/kept"]).check() == "kept\n"
    stack.api.delete_sandbox(sandbox["id"])
    assert no_trace(stack, sandbox)


def test_a_second_call_changes_nothing_and_deletion_wins(two_hosts):
    stack, first = two_hosts, two_hosts.agents[0]
    sandbox = stack.api.create_sandbox("base", hostId=first.host_id)
    stack.api.exec(sandbox, ["sh", "-c", "dd if=/dev/urandom of=/bulk bs=1M count=64 2> /dev/null"]).check()
    assert stack.api.archive_sandbox(sandbox["id"], wait=False)["generation"] == 2
    assert stack.api.archive_sandbox(sandbox["id"], wait=False)["generation"] in (2, 3)
    stack.api.delete_sandbox(sandbox["id"])
    wait_until(lambda: [leak for leak in leaks(first) if leak["kind"] != "layer_leftover"] == [], 20)
    assert sandbox["id"] not in [c["Labels"]["gstacks.sandbox"] for c in first.containers()]
    # The engine finishes what it was asked for although nobody waits; the agent's sweep removes that (here: at once).
    for image in stack.engine.images_with_label("gstacks.layer"):
        if sandbox["id"] in image["Labels"]["gstacks.layer"]:
            stack.engine.remove_image(image["Id"])


def test_start_ends_the_archiving_and_what_was_taken_is_dropped(two_hosts):
    stack, first = two_hosts, two_hosts.agents[0]
    sandbox = stack.api.create_sandbox("base", hostId=first.host_id, command=["sleep", "inf"])
    stack.api.exec(sandbox, ["sh", "-c", "echo kept > /kept"]).check()
    stack.api.archive_sandbox(sandbox["id"], wait=False)
    started = stack.api.start_sandbox(sandbox["id"], wait=False)
    wait_until(lambda: stack.api.sandbox(sandbox["id"])["observedGeneration"] >= started["generation"]
               and stack.api.sandbox(sandbox["id"])["state"] == "running", 30)
    assert stack.api.exec(sandbox, ["cat", "/kept"]).check() == "kept\n"
    stack.api.delete_sandbox(sandbox["id"])
    assert no_trace(stack, sandbox)


def test_a_sandbox_with_volumes_of_its_image_is_kept_and_says_why(two_hosts, unique_image, tmp_path):
    stack = two_hosts
    stack.import_blueprint(unique_image(tmp_path / "volume.tar", "volume", Volumes={"/data": {}}), "with-volume")
    sandbox = stack.api.create_sandbox("with-volume")
    stack.api.archive_sandbox(sandbox["id"], wait=False)
    failed = stack.api.wait_sandbox(sandbox["id"], "failed")
    assert failed["reason"] == "archive_failed" and "VOLUME" in failed["message"]
    stack.api.start_sandbox(sandbox["id"], wait=False)
    wait_until(lambda: stack.api.sandbox(sandbox["id"])["state"] == "running", 30)
    stack.api.delete_sandbox(sandbox["id"])


def test_from_the_command_line(two_hosts):
    stack = two_hosts
    cli = stack.cli()
    sandbox = stack.api.create_sandbox("base", name="cli-away")
    stack.api.exec(sandbox, ["sh", "-c", "echo kept > /kept"]).check()
    assert "is archived" in cli.run("sandbox", "archive", "cli-away", "--grace", "0s")
    remember(stack, sandbox)
    assert "Archived" in cli.run("sandbox", "info", "cli-away")
    assert "restored and runs" in cli.run("sandbox", "restore", "cli-away")
    assert stack.api.exec(sandbox, ["cat", "/kept"]).check() == "kept\n"
    stack.api.delete_sandbox(sandbox["id"])


POINTS = ["assign.after", "stop.after", "take_layer.before", "take_layer.committed", "take_layer.spooled", "take_layer.after",
          "send_layer.before", "send_layer.after", "remove.before", "remove.after"]


@pytest.mark.parametrize("point", POINTS)
def test_an_agent_that_dies_on_the_way_loses_nothing(two_hosts, point):
    stack, first = two_hosts, two_hosts.agents[0]
    sandbox = stack.api.create_sandbox("base", hostId=first.host_id)
    stack.api.exec(sandbox, ["sh", "-c", f"echo {point} > /kept"]).check()
    first.stop()
    first.start_with_crash_point(point)
    stack.wait_connected()
    stack.api.archive_sandbox(sandbox["id"], wait=False)
    assert first.process.wait_exit(30) == -9
    first.start()
    stack.api.wait_sandbox(sandbox["id"], "archived")
    remember(stack, sandbox)
    wait_until(lambda: not first.containers(), 20)
    wait_until(lambda: leaks(first) == [] and list((first.state_dir / "layers").iterdir()) == [], 20)
    stack.api.restore_sandbox(sandbox["id"], hostId=two_hosts.agents[1].host_id)
    assert stack.api.exec(sandbox, ["cat", "/kept"], waitMs=10_000).check() == f"{point}\n"
    stack.api.delete_sandbox(sandbox["id"])
    assert no_trace(stack, sandbox)
