"""What a sandbox can see and do, looked at from inside."""

import pytest

# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID NET_BIND_SERVICE SYS_CHROOT: nothing that reaches the host.
ALLOWED_CAPABILITIES = sum(1 << bit for bit in (0, 1, 3, 4, 5, 6, 7, 10, 18))


@pytest.fixture(scope="module")
def box(shared_stack):
    shared_stack.wait_connected()
    sandbox = shared_stack.api.create_sandbox("busybox", name="isolation-box")
    yield sandbox
    shared_stack.api.delete_sandbox(sandbox["id"])


@pytest.fixture
def sh(shared_stack, box):
    """sh("commands") as root inside."""
    def run(commands, **members):
        return shared_stack.api.exec(box, ["sh", "-c", commands], **members)
    return run


def status_members(text):
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_root_has_few_capabilities_no_way_to_more_and_a_seccomp_filter(sh):
    for process in ("self", "1"):
        status = status_members(sh(f"cat /proc/{process}/status").check())
        for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            assert int(status[kind], 16) & ~ALLOWED_CAPABILITIES == 0, f"{kind} of {process} is {status[kind]}"
        assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"


def test_there_is_no_network_but_loopback(sh):
    assert sh("ls /sys/class/net").check().split() == ["lo"]
    assert sh("cat /proc/net/route").check().count("\n") <= 1, "no route leads anywhere"
    result = sh("nc -w 2 192.0.2.1 80 < /dev/null")
    assert result.code != 0 and "unreachable" in result.err.lower()


def test_packets_cannot_be_made_by_hand(sh):
    assert sh("ping -c 1 -w 1 192.0.2.1").code != 0


def test_no_socket_of_the_host_is_in_reach(sh):
    assert sh("ls /var/run/docker.sock /run/docker.sock /run/containerd").code != 0
    sockets = sh("find / -xdev -type s 2>/dev/null; find /.gstacks -type s").check().split()
    assert [path for path in sockets if not path.startswith("/.gstacks/run/")] == []


def test_the_guest_and_its_directory_cannot_be_changed(sh):
    assert sh("ls /.gstacks").check().split() == ["guest", "run"]
    for command in ("touch /.gstacks/run/x", "rm /.gstacks/run/agent.sock", "echo > /.gstacks/guest", "rm /.gstacks/guest",
                    "chmod 777 /.gstacks/guest", "mount -o remount,rw /.gstacks/run", "umount /.gstacks/run"):
        assert sh(command).code != 0, command
    assert sh("grep ' /.gstacks/' /proc/mounts").check().count(" ro,") == 2


@pytest.mark.parametrize("command", [
    "mount -t tmpfs none /mnt", "mount -t proc none /tmp", "mknod /tmp/disk b 8 0", "unshare -m true", "unshare -U true",
    "chroot /proc/1/root true && nsenter -t 1 -m true", "echo 1 > /proc/sys/kernel/sysrq", "echo b > /proc/sysrq-trigger", "cat /dev/mem",
    "insmod /tmp/x.ko", "swapoff -a", "! date -s 2000-01-01 2>&1 | grep permitted", "hostname other", "echo x > /sys/kernel/mm/ksm/run",
    "dmesg -c", "nice -n -5 true"])
def test_what_would_reach_beyond_the_sandbox_is_refused(sh, command):
    assert sh(command).code != 0


def test_only_its_own_processes_are_there(sh):
    assert sh("cat /proc/1/cmdline").out.startswith("/.gstacks/guest")
    names = set(sh("for p in /proc/[0-9]*; do cat $p/comm 2>/dev/null; done").check().split())
    assert not {"dockerd", "containerd", "gstacks-agent", "gstacks-server"} & names


def test_secrets_of_the_agent_are_not_in_the_guests_environment_or_arguments(sh):
    text = sh("cat /proc/1/environ /proc/1/cmdline | tr '\\0' '\\n'").out
    assert "gsk_" not in text and "gsp_" not in text and "hst_" not in text


def test_the_first_process_cannot_be_ended_or_stopped_from_inside(sh, shared_stack, box, container_of):
    before = container_of(shared_stack, box)["State"]["Pid"]
    for name in ("KILL", "TERM", "INT", "STOP", "HUP", "QUIT", "PWR", "SEGV"):
        sh(f"kill -{name} 1")
    assert sh("echo still here").check() == "still here\n"
    assert container_of(shared_stack, box)["State"]["Pid"] == before


def test_whoever_moves_the_guests_directory_away_does_not_cut_the_sandbox_off(stack):
    """Root inside may rename what lies in his own file system; the mounts in it move along."""
    sandbox = stack.api.create_sandbox("busybox")
    assert stack.api.exec(sandbox, ["mv", "/.gstacks", "/tmp/away"]).code == 0
    assert stack.api.exec(sandbox, ["echo", "in touch"]).check() == "in touch\n"
    stack.api.stop_sandbox(sandbox["id"])
    stack.api.start_sandbox(sandbox["id"])
    assert stack.api.exec(sandbox, ["ls", "/.gstacks"]).check().split() == ["guest", "run"]


def test_a_setuid_program_gives_nothing(sh):
    sh("mkdir /tmp/setuid; cp /bin/busybox /tmp/setuid/busybox; chmod 4755 /tmp/setuid/busybox").check()
    assert sh("/tmp/setuid/busybox id -u", user="user").check().strip() == "1000"


def test_the_host_name_is_the_sandboxes_name(sh, box):
    assert sh("hostname; cat /etc/hostname").check().split() == [box["name"]] * 2


def test_the_engine_was_told_what_the_sandbox_shall_not_have(shared_stack, box, container_of):
    container = container_of(shared_stack, box)
    host = container["HostConfig"]
    assert host["NetworkMode"] == "none" and host["Privileged"] is False and host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"] and not any("unconfined" in option for option in host["SecurityOpt"])
    assert host["RestartPolicy"]["Name"] == "no" and host["LogConfig"]["Type"] == "none"
    assert not host["PidMode"] and not host["Devices"]
    assert all(mount["RW"] is False for mount in container["Mounts"]) and len(container["Mounts"]) == 2
