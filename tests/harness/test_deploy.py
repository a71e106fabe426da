"""The scripts in deploy/, and the archives that they make, read back by tools that are not ours."""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.processes import REPOSITORY, run_tool
from harness.requirements import require_tool

sys.path.insert(0, str(REPOSITORY / "deploy" / "demo-blueprint"))

import pack_image  # noqa: E402


SCRIPTS = sorted(path for path in [*REPOSITORY.glob("deploy/**/*.sh"), REPOSITORY / ".ci" / "run"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_shell_scripts_are_clean(script):
    require_tool("shellcheck")
    run_tool(["bash", "-n", script])
    run_tool(["shellcheck", "--external-sources", "--source-path", REPOSITORY, script])


def test_install_deps_refuses_unknown_groups_and_lists_known_ones():
    install = REPOSITORY / "deploy" / "install-deps.sh"
    assert run_tool([install, "nonsense"], check=False).returncode == 2
    build, test = (run_tool([install, "--list", group]).stdout.split() for group in ("build", "test"))
    assert "clang-19" in build and set(build) < set(test)


def make_tree(root):
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o4755)
    os.link(root / "bin" / "tool", root / "bin" / "again")
    (root / "link").symlink_to("/etc/passwd")
    (root / "a.txt").write_text("a")
    (root / "ü").write_text("name beyond ASCII")
    os.mkfifo(root / "pipe")
    return root


def members(layer_path):
    with tarfile.open(layer_path) as tar:
        return {member.name: member for member in tar.getmembers()}


def extract_archive(archive, directory):
    with tarfile.open(archive) as tar:
        tar.extractall(directory)
    return directory


def test_same_tree_gives_same_bytes(tmp_path):
    outputs = []
    for name in ("one", "two"):
        root = make_tree(tmp_path / name)
        for path in root.rglob("*"):
            os.utime(path, (1e9 + len(outputs), 1e9 + len(outputs)), follow_symlinks=False)
        for extra in ([], ["--gzip-layers"], ["--format", "docker-save"]):
            out = tmp_path / f"{name}{len(extra)}{extra[-1:]}.tar"
            pack_image.pack(["--root", str(root), "--output", str(out), *extra])
            outputs.append(hashlib.sha256(out.read_bytes()).hexdigest())
    assert outputs[:3] == outputs[3:]
    assert len(set(outputs)) == 3


def test_oci_layout_is_consistent(tmp_path):
    root = make_tree(tmp_path / "root")
    image_id = pack_image.pack(["--root", str(root), "--output", str(tmp_path / "i.tar"), "--gzip-layers", "--user", "1000",
                                "--working-dir", "/w", "--env", "PATH=/bin", "--cmd", "/bin/tool", "x"])
    layout = extract_archive(tmp_path / "i.tar", tmp_path / "layout")
    for blob in (layout / "blobs" / "sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    index = json.loads((layout / "index.json").read_text())
    manifest = json.loads((layout / "blobs" / "sha256" / index["manifests"][0]["digest"][7:]).read_text())
    assert manifest["config"]["digest"] == image_id
    config = json.loads((layout / "blobs" / "sha256" / image_id[7:]).read_text())
    assert config["config"] == {"Env": ["PATH=/bin"], "WorkingDir": "/w", "User": "1000", "Cmd": ["/bin/tool", "x"]}
    layer = layout / "blobs" / "sha256" / manifest["layers"][0]["digest"][7:]
    assert "sha256:" + hashlib.sha256(gzip.decompress(layer.read_bytes())).hexdigest() == config["rootfs"]["diff_ids"][0]
    entries = members(layer)
    assert set(entries) == {"bin", "bin/tool", "bin/again", "link", "a.txt", "ü"}
    assert entries["bin/again"].isfile() and entries["bin/tool"].islnk() and entries["bin/tool"].linkname == "bin/again"
    assert entries["bin/again"].mode == 0o4755 and entries["link"].linkname == "/etc/passwd"


def test_clamping_keeps_older_times(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    for name, when in (("old", 1000), ("new", 2_000_000_000)):
        (root / name).write_text(name)
        os.utime(root / name, (when, when))
    pack_image.pack(["--root", str(root), "--output", str(tmp_path / "i.tar"), "--format", "docker-save", "--clamp-after", "1500000000"])
    layout = extract_archive(tmp_path / "i.tar", tmp_path / "layout")
    entries = members(next(layout.glob("*/layer.tar")))
    assert (entries["old"].mtime, entries["new"].mtime) == (1000, pack_image.DEFAULT_EPOCH)


def test_two_roots_are_two_layers(tmp_path):
    for name in ("lower", "upper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text(name)
    pack_image.pack(["--root", str(tmp_path / "lower"), "--root", str(tmp_path / "upper"), "--output", str(tmp_path / "i.tar"),
                     "--format", "docker-save"])
    layout = extract_archive(tmp_path / "i.tar", tmp_path / "layout")
    layers = json.loads((layout / "manifest.json").read_text())[0]["Layers"]
    assert [list(members(layout / layer)) for layer in layers] == [["lower"], ["upper"]]


@pytest.mark.parametrize("options, transport", [
    ((), "oci-archive"), (("--gzip",), "oci-archive"), (("--format", "docker-save", "--tag", "gs-harness:save"), "docker-archive")])
def test_skopeo_reads_our_archives(build_archive, options, transport):
    require_tool("skopeo")
    described = json.loads(run_tool(["skopeo", "inspect", f"{transport}:{build_archive(*options)}"]).stdout)
    assert described["Os"] == "linux" and len(described["Layers"]) == 1


def test_the_engine_loads_our_docker_save_archive(docker, build_archive):
    reference = f"gs-harness-{os.getpid()}:load"
    docker.load_image(build_archive("--format", "docker-save", "--tag", reference))
    try:
        image = docker.find_image(reference)
        assert image["Config"]["Cmd"] == ["/bin/sh"] and image["Architecture"] == pack_image.parse_arguments(
            ["--root", ".", "--output", "x"]).architecture
        container = docker.create(f"gs-harness-{os.getpid()}", {
            "Image": reference, "Cmd": ["sh", "-c", "test $(id -u) = 0 && test -L /bin/ls"], "HostConfig": {"NetworkMode": "none"}})
        try:
            docker.start(container)
            assert docker.request("POST", f"/containers/{container}/wait")["StatusCode"] == 0
        finally:
            docker.remove(container)
    finally:
        assert docker.remove_image(reference)


def test_busybox_archive_is_built_once(build_archive, tmp_path):
    environment = {**os.environ, "GS_BLUEPRINT_CACHE": str(tmp_path / "cache")}
    build = REPOSITORY / "deploy" / "demo-blueprint" / "build.sh"
    first = subprocess.run([build, "--busybox", tmp_path / "b.tar"], env=environment, capture_output=True, text=True, check=True)
    second = subprocess.run([build, "--busybox", tmp_path / "b.tar"], env=environment, capture_output=True, text=True, check=True)
    assert "packing" in first.stdout and "up to date" in second.stdout
    assert not list((tmp_path / "cache").glob("work.*")), "the build leaves its work directory behind"
    assert shutil.copyfile(tmp_path / "b.tar", tmp_path / "c.tar").read_bytes() == build_archive().read_bytes()


def test_private_engine_can_be_killed_and_comes_back(private_dockerd):
    assert private_dockerd.engine.version()["ApiVersion"]
    private_dockerd.kill()
    assert private_dockerd.engine.why_not_usable()
    private_dockerd.start()
    assert private_dockerd.engine.containers() == []


def test_private_engine_killed_with_a_running_container_leaves_nothing(private_dockerd, build_archive):
    private_dockerd.engine.load_image(build_archive("--format", "docker-save", "--tag", "gs-harness:private"))
    container = private_dockerd.engine.create("outlives-its-engine", {
        "Image": "gs-harness:private", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}})
    private_dockerd.engine.start(container)
    private_dockerd.kill()
    assert private_dockerd._running_shims(), "the container is meant to outlive its engine"
    private_dockerd.cleanup()
    assert not private_dockerd._running_shims() and not private_dockerd.directory.exists()
    assert str(private_dockerd.directory) not in Path("/proc/mounts").read_text()
